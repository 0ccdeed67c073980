"""``certmgr client``: add, list, show, edit, retire and erase clients."""

from __future__ import annotations

from typing import Any

import click

from certmgr.cli.inventory.contacts import CONTACT_COLUMNS
from certmgr.cli.known_words import require_known
from certmgr.cli.output import cell, echo_json, pairs, paragraph, show
from certmgr.cli.shared import (
    PARTIES,
    CommandContext,
    change_tags,
    changed,
    format_option,
    given,
    party_options,
    pass_app,
    retired_option,
    tag_filter,
    tag_option,
    untag_option,
)
from inventory.db import maintenance
from inventory.names import display
from inventory.store import clients, contacts, domains, editing, erase, search


@click.group()
def client() -> None:
    """Manage clients. Data of one client never appears in the output for another."""


@client.command("add")
@click.argument("number")
@click.argument("name")
@click.option("--account-manager", metavar="NAME", help="Account manager at the provider.")
@click.option("--reseller", metavar="NUMBER", help="Client that resells to this client.")
@click.option("--note", metavar="TEXT", help="Free text.")
@party_options
@tag_option
@pass_app
def client_add(
    app: CommandContext, /, number: str, name: str, tags: tuple[str, ...], **values: Any
) -> None:
    """Add the client NUMBER with the name NAME.

    \b
    certmgr client add 1001 'Example Ltd'
    """

    # A client is usually the first record, so this command may create the database file.
    with app.open(create=True).write(app.now()) as tx:
        clients.add(tx, given(number=number, name=name, **values), tags)
    click.echo(f"Client {number} added.")


@client.command("list")
@tag_filter
@retired_option
@format_option
@pass_app
def client_list(app: CommandContext, tag: str | None, retired: bool, output_format: str) -> None:
    """List clients."""

    with app.open().read() as conn:
        # A misspelt tag would list nothing, which is read as "no such clients".
        require_known(conn, tag=tag)
        rows = clients.listing(conn, retired=retired, tag=tag)
    columns = ("number", "name", "account_manager", "reseller", "domains", "state", "tags")
    show(
        "clients",
        columns,
        rows,
        output_format,
        "There are no clients. Add one: certmgr client add 1001 'Example Ltd'.",
    )


@client.command("show")
@click.argument("number")
@format_option
@pass_app
def client_show(app: CommandContext, number: str, output_format: str) -> None:
    """Show one client with its contacts and domains.

    NUMBER may be a part of its name, if only one client has it.
    """

    with app.open().read() as conn:
        row = clients.find(conn, search.client_number(conn, number))
        client_contacts = contacts.listing(conn, client_id=row.id)
        names = domains.listing(conn, client_id=row.id)
        tags = editing.tags_of(conn, "client", [row.id]).get(row.id, ())
    # The document holds records of this client only.
    document = {
        k: getattr(row, k) for k in ("number", "name", "account_manager", "note", "state", *PARTIES)
    } | {
        "tags": list(tags),
        "contacts": [{k: getattr(p, k) for k in CONTACT_COLUMNS} for p in client_contacts],
        "domains": [
            {k: getattr(d, k) for k in ("name", "purpose", "state", "server")} for d in names
        ],
    }
    if output_format == "json":
        echo_json({"schema": "certmgr.client/1"} | document)
        return
    # CSV holds one row per client; contacts and domains have their own listings.
    if output_format == "csv":
        show("clients", ("number", "name", "account_manager", "state"), [row], output_format)
        return
    pairs(
        [
            (k.replace("_", " "), document[k])
            for k in ("number", "name", "account_manager", "state", *PARTIES, "tags", "note")
        ]
    )
    for contact in client_contacts:
        # A contact without a method gets no notices, so that is stated.
        ways = cell(", ".join(contact.ways), 300) or "no contact method"
        paragraph(f"{cell(contact.name)} ({contact.role}): {ways}", " " * 9, "contact  ")
    for domain in names:
        text = f"{display(domain.name)} ({domain.purpose}, {domain.state})"
        paragraph(text, " " * 9, "domain   ")


@client.command("edit")
@click.argument("number")
@click.option("--number", "new_number", metavar="NUMBER", help="New client number.")
@click.option("--name", metavar="NAME", help="New name.")
@click.option("--account-manager", metavar="NAME", help="Account manager at the provider.")
@click.option(
    "--reseller", metavar="NUMBER", help="Client that resells to this client. Empty: none."
)
@click.option("--note", metavar="TEXT", help="Free text.")
@party_options
@tag_option
@untag_option
@pass_app
def client_edit(
    app: CommandContext,
    /,
    number: str,
    new_number: str | None,
    tags: tuple[str, ...],
    untags: tuple[str, ...],
    **values: Any,
) -> None:
    """Change a client."""

    # The message is printed after the commit: a wrong tag undoes the whole change.
    with app.open().write(app.now()) as tx:
        row_id = clients.find(tx.conn, number).id
        message = changed(
            f"Client {number}", clients.edit(tx, number, given(number=new_number, **values))
        )
        message += change_tags(tx, "client", row_id, tags, untags)
    click.echo(message)


@client.command("retire")
@click.argument("number")
@pass_app
def client_retire(app: CommandContext, number: str) -> None:
    """Retire a client with its domains. The records stay, but scans and notices omit them."""

    with app.open().write(app.now()) as tx:
        count = clients.retire(tx, number)
    click.echo(f"Client {number} retired, with {count} domain(s).")


@client.command("erase")
@click.argument("number")
@click.option(
    "--yes", is_flag=True, help="Erase the data. Default: only report what would be erased."
)
@pass_app
def client_erase(app: CommandContext, number: str, yes: bool) -> None:
    """Erase the personal data of a client permanently.

    This deletes contacts, domains, observations, and the texts of notices. The audit log stays
    valid. Backups are not changed.
    """

    database = app.open()
    with database.read() as conn:
        row = clients.find(conn, number)
        counts = {
            # Retired records hold personal data too.
            "domains": len(domains.listing(conn, client_id=row.id, retired=True)),
            "contacts": len(contacts.listing(conn, client_id=row.id, retired=True)),
        }
    summary = (
        f"client {row.number} with {counts['domains']} domain(s) and {counts['contacts']}"
        " contact(s)"
    )
    # Erasing cannot be undone, so the default only counts the records.
    if not yes:
        click.echo(
            f"This would permanently erase {summary}. Nothing was changed. To erase: certmgr client"
            f" erase {row.number} --yes"
        )
        return
    with database.write(app.now()) as tx:
        erase.erase(tx, row.number)
    # Deleted rows may survive in free pages of the file until the database is compacted.
    # It follows the commit, since SQLite cannot compact a file within a transaction.
    maintenance.purge_deleted_data(database)
    # certmgr does not know where copies of the backups are kept.
    click.echo(f"Erased {summary}. Delete the backups too, or let them expire.")
