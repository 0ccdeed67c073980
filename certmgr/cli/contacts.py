"""``certmgr contact``: add, list, show, edit, retire."""

from __future__ import annotations

from typing import Any

import click

from certmgr.cli.output import epoch_text, pairs, show
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

CONTACT_COLUMNS = (
    "id",
    "client",
    "name",
    "role",
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
    "--role", type=click.Choice(["owner", "technical", "billing", "administrator", "level2"])
)
way_option = click.option(
    "--way",
    "ways",
    multiple=True,
    metavar="WAY",
    help="email:a@b.c, phone:+49..., channel:NAME; in order of preference, may be repeated.",
)


@click.group()
def contact() -> None:
    """People and mailboxes of clients, and the provider's own staff."""


def _contact_options(command: Any) -> Any:
    for option in (
        click.option(
            "--fallback", metavar="CONTACT", help="Who is asked when this one does not answer."
        ),
        click.option("--time-zone", metavar="ZONE", help="Such as Europe/Berlin."),
        click.option("--language", metavar="CODE", help="Such as en or de."),
        click.option(
            "--country", metavar="CODE", help="Whose holidays are no working days: DE, or DE-BY."
        ),
        click.option(
            "--away-until", metavar="DATE", help="Until then the fallback stands in; empty: back."
        ),
        way_option,
        role_option,
    ):
        command = option(command)
    return command


def _given(app: CommandContext, /, away_until: str | None = None, **values: Any) -> dict[str, Any]:
    made = given(**values)
    if away_until is not None:
        made["away_until"] = until = app.moment(away_until) if away_until else None
        if until is not None and until <= app.now():
            raise UsageError(
                f"{until:%Y-%m-%d} has passed",
                "nobody is away until then",
                "Give a later date, or an empty one for: back.",
            )
    return made


@contact.command("add")
@click.argument("name")
@click.option(
    "--client",
    metavar="NUMBER",
    help="Whose contact it is; without it, one of the provider's staff.",
)
@_contact_options
@pass_app
def contact_add(
    app: CommandContext, /, name: str, client: str | None, ways: tuple[str, ...], **values: Any
) -> None:
    """Add a contact."""

    with app.open().write(app.now()) as tx:
        row_id = contacts.add(tx, client, _given(app, name=name, **values), ways)
    click.echo(f"Contact {row_id} {name} added.")


@contact.command("list")
@client_filter
@retired_option
@format_option
@pass_app
def contact_list(app: CommandContext, client: str | None, retired: bool, form: str) -> None:
    """Show contacts."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        rows = contacts.listing(conn, client_id=client_id, retired=retired)
    show("contacts", CONTACT_COLUMNS, rows, form)


@contact.command("show")
@click.argument("contact")
@format_option
@pass_app
def contact_show(app: CommandContext, contact: str, form: str) -> None:
    """Show one contact, by id, name or address."""

    with app.open().read() as conn:
        row_id = contacts.find(conn, contact)["id"]
        row = next(r for r in contacts.listing(conn, retired=True) if r["id"] == row_id)
    if form == "table":
        pairs([(k.replace("_", " "), row[k]) for k in CONTACT_COLUMNS])
    else:
        show("contacts", CONTACT_COLUMNS, [row], form)


@contact.command("edit")
@click.argument("contact")
@click.option("--name", metavar="NAME")
@_contact_options
@pass_app
def contact_edit(
    app: CommandContext, /, contact: str, ways: tuple[str, ...], **values: Any
) -> None:
    """Change a contact. --way replaces all ways."""

    with app.open().write(app.now()) as tx:
        changes = contacts.edit(tx, contact, _given(app, **values), ways)
        if "away_until" in changes:
            changes["away_until"] = [epoch_text(v) for v in changes["away_until"]]
        said = changed(f"Contact {contact}", changes)
    click.echo(said)


@contact.command("retire")
@click.argument("contact")
@pass_app
def contact_retire(app: CommandContext, contact: str) -> None:
    """Retire a contact."""

    with app.open().write(app.now()) as tx:
        contacts.retire(tx, contact)
    click.echo(f"Contact {contact} retired.")
