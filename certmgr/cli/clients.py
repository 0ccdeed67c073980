"""``certmgr client``: add, list, show, edit, retire."""

from __future__ import annotations

from typing import Any

import click

from certmgr.cli.contacts import CONTACT_COLUMNS
from certmgr.cli.output import echo_json, pairs, show
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
from inventory.store import clients, contacts, domains, erase, records


@click.group()
def client() -> None:
    """Customers: who owns domains, and the border that no data crosses."""


@client.command("add")
@click.argument("number")
@click.argument("name")
@click.option("--account-manager", metavar="NAME", help="Who of us looks after them.")
@click.option(
    "--reseller", metavar="NUMBER", help="The client in whose place they are our client's client."
)
@click.option("--note", metavar="TEXT", help="Anything worth knowing.")
@party_options
@tag_option
@pass_app
def client_add(
    app: CommandContext, /, number: str, name: str, tags: tuple[str, ...], **values: Any
) -> None:
    """Add the client NUMBER called NAME."""

    with app.open().write(app.now()) as tx:
        clients.add(tx, given(number=number, name=name, **values), tags)
    click.echo(f"Client {number} added.")


@client.command("list")
@tag_filter
@retired_option
@format_option
@pass_app
def client_list(app: CommandContext, tag: str | None, retired: bool, form: str) -> None:
    """Show clients."""

    with app.open().read() as conn:
        rows = clients.listing(conn, retired=retired, tag=tag)
    columns = ("number", "name", "account_manager", "reseller", "domains", "state", "tags")
    show(
        "clients",
        columns,
        rows,
        form,
        "There are no clients. Add one: certmgr client add 1001 'Example Ltd'.",
    )


@client.command("show")
@click.argument("number")
@format_option
@pass_app
def client_show(app: CommandContext, number: str, form: str) -> None:
    """Show one client with its contacts and domains."""

    with app.open().read() as conn:
        row = clients.find(conn, number)
        people = contacts.listing(conn, client_id=row["id"])
        names = domains.listing(conn, client_id=row["id"])
        tags = records.tags_of(conn, "client", [row["id"]]).get(row["id"], ())
    document = {
        k: row[k] for k in ("number", "name", "account_manager", "note", "state", *PARTIES)
    } | {
        "tags": list(tags),
        "contacts": [{k: p[k] for k in CONTACT_COLUMNS} for p in people],
        "domains": [{k: d[k] for k in ("name", "purpose", "state", "server")} for d in names],
    }
    if form == "json":
        echo_json({"schema": "certmgr.client/1"} | document)
        return
    if form == "csv":
        show("clients", ("number", "name", "account_manager", "state"), [row], form)
        return
    pairs(
        [
            (k.replace("_", " "), document[k])
            for k in ("number", "name", "account_manager", "state", *PARTIES, "tags", "note")
        ]
    )
    for person in people:
        click.echo(
            f"contact  {person['name']} ({person['role']}):"
            f" {', '.join(person['ways']) or 'no way to reach them'}"
        )
    for found in names:
        click.echo(f"domain   {display(found['name'])} ({found['purpose']}, {found['state']})")


@client.command("edit")
@click.argument("number")
@click.option("--number", "new_number", metavar="NUMBER", help="A new customer number.")
@click.option("--name", metavar="NAME")
@click.option("--account-manager", metavar="NAME")
@click.option("--reseller", metavar="NUMBER", help="Empty: none.")
@click.option("--note", metavar="TEXT")
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
    """Change what is known of a client."""

    with app.open().write(app.now()) as tx:
        row_id = clients.find(tx.conn, number)["id"]
        said = changed(
            f"Client {number}", clients.edit(tx, number, given(number=new_number, **values))
        )
        said += change_tags(tx, "client", row_id, tags, untags)
    click.echo(said)


@client.command("retire")
@click.argument("number")
@pass_app
def client_retire(app: CommandContext, number: str) -> None:
    """Retire a client with its domains: kept for the record, and silent."""

    with app.open().write(app.now()) as tx:
        count = clients.retire(tx, number)
    click.echo(f"Client {number} retired, with {count} domain(s).")


@client.command("erase")
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do it; without this the command says what would go.")
@pass_app
def client_erase(app: CommandContext, number: str, yes: bool) -> None:
    """Delete the personal data of a client: contacts, domains, what was seen there, the texts of
    notices. The audit log stays valid; backups keep what they hold.
    """

    database = app.open()
    with database.read() as conn:
        row = clients.find(conn, number)
        counts = {
            "domains": len(domains.listing(conn, client_id=row["id"], retired=True)),
            "contacts": len(contacts.listing(conn, client_id=row["id"], retired=True)),
        }
    said = (
        f"client {row['number']} with {counts['domains']} domain(s) and {counts['contacts']}"
        " contact(s)"
    )
    if not yes:
        click.echo(
            f"This would erase {said}, for good. Nothing was changed; to do it: certmgr client"
            f" erase {row['number']} --yes"
        )
        return
    with database.write(app.now()) as tx:
        erase.erase(tx, row["number"])
    maintenance.forget(database)
    click.echo(f"Erased {said}. Erase or age out the backups too.")
