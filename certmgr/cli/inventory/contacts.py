"""``certmgr contact``: add, list, show, edit and retire contacts."""

from __future__ import annotations

from typing import Any

import click

from certmgr.cli.output import local_day, local_time, pairs, show
from certmgr.cli.shared import (
    CommandContext,
    changed,
    client_filter,
    format_option,
    given,
    pass_app,
    retired_option,
)
from inventory.errors import UsageError
from inventory.store import clients, contacts

# JSON keys and CSV columns; `client show` uses them too.
CONTACT_COLUMNS = (
    "id",
    "client",
    "name",
    "role",
    # Older than the term "contact methods"; programs read this key.
    "ways",
    "bad",
    "language",
    "time_zone",
    "country",
    "fallback",
    "away",
    "state",
)
role_option = click.option(
    "--role",
    type=click.Choice(["owner", "technical", "billing", "administrator", "level2"]),
    help="Role of the contact.",
)
method_option = click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="METHOD",
    help="Contact method: email:a@b.c, phone:+49... or channel:NAME. May be repeated, preferred one"
    " first.",
)


@click.group()
def contact() -> None:
    """Manage people and mailboxes of clients, and the staff of the provider."""


def _contact_options(command: Any) -> Any:
    """Add the options that ``add`` and ``edit`` share."""
    # In reverse order: click lists the option that was added last first.
    for option in (
        click.option(
            "--fallback", metavar="CONTACT", help="Contact to notify if this one does not answer."
        ),
        click.option("--time-zone", metavar="ZONE", help="Such as Europe/Berlin."),
        click.option("--language", metavar="CODE", help="Such as en or de."),
        click.option(
            "--country", metavar="CODE", help="Country or region for public holidays: DE, or DE-BY."
        ),
        click.option(
            "--away-until", metavar="DATE", help="Notify the fallback until DATE. Empty: not away."
        ),
        method_option,
        role_option,
    ):
        command = option(command)
    return command


def _given(app: CommandContext, /, away_until: str | None = None, **values: Any) -> dict[str, Any]:
    """Return the given values, with ``away_until`` as a time."""
    fields = given(**values)
    if away_until is not None:
        fields["away_until"] = until = app.ahead(away_until) if away_until else None
        # A date in the past would be stored, and have no effect.
        if until is not None and until <= app.now():
            raise UsageError(
                f"{local_day(until)} has passed",
                "an absence must end in the future",
                "Give a later date, or an empty one to end the absence.",
            )
    return fields


@contact.command("add")
@click.argument("name")
@click.option(
    "--client",
    metavar="NUMBER",
    help="Client of the contact. Without it, the contact is staff of the provider.",
)
@_contact_options
@pass_app
def contact_add(
    app: CommandContext, /, name: str, client: str | None, methods: tuple[str, ...], **values: Any
) -> None:
    """Add a contact.

    \b
    certmgr contact add 'Ada Meier' --client 1001 --method email:ada@example.com
    """

    with app.open(create=True).write(app.now()) as tx:
        row_id = contacts.add(tx, client, _given(app, name=name, **values), methods)
    click.echo(f"Contact {row_id} {name} added.")


@contact.command("list")
@client_filter
@retired_option
@format_option
@pass_app
def contact_list(
    app: CommandContext, client: str | None, retired: bool, output_format: str
) -> None:
    """List contacts."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        rows = contacts.listing(conn, client_id=client_id, retired=retired)
    show("contacts", CONTACT_COLUMNS, rows, output_format)


@contact.command("show")
@click.argument("contact")
@format_option
@pass_app
def contact_show(app: CommandContext, contact: str, output_format: str) -> None:
    """Show one contact, by id, name or address."""

    with app.open().read() as conn:
        # A notice of the past may name a retired contact, so retired ones are shown too.
        row_id = contacts.find(conn, contact).id
        # The listing adds the client's number and the contact methods to the row.
        row = next(r for r in contacts.listing(conn, retired=True) if r.id == row_id)
    # One contact is easier to read as labelled lines than as a wide row.
    if output_format == "table":
        pairs([(k.replace("_", " "), getattr(row, k)) for k in CONTACT_COLUMNS])
    else:
        show("contacts", CONTACT_COLUMNS, [row], output_format)


@contact.command("edit")
@click.argument("contact")
@click.option("--name", metavar="NAME", help="New name.")
@_contact_options
@pass_app
def contact_edit(
    app: CommandContext, /, contact: str, methods: tuple[str, ...], **values: Any
) -> None:
    """Change a contact. --method replaces all contact methods."""

    with app.open().write(app.now()) as tx:
        changes = contacts.edit(tx, contact, _given(app, **values), methods)
        # The database holds seconds; the message shows dates.
        if "away_until" in changes:
            changes["away_until"] = [local_time(v) for v in changes["away_until"]]
        # Printed after the commit: until then the change may be undone.
        message = changed(f"Contact {contact}", changes)
    click.echo(message)


@contact.command("retire")
@click.argument("contact")
@pass_app
def contact_retire(app: CommandContext, contact: str) -> None:
    """Retire a contact."""

    with app.open().write(app.now()) as tx:
        contacts.retire(tx, contact)
    click.echo(f"Contact {contact} retired.")
