"""``certmgr deadline``: the provider's dated rules, and the milestones that ship with certmgr."""

from __future__ import annotations

from typing import Any

import click

from certmgr.cli.output import epoch_text, local_time, show
from certmgr.cli.shared import (
    CommandContext,
    changed,
    format_option,
    needs,
    pass_app,
    retired_option,
)
from certmgr.compliance import milestones as shipped
from certmgr.compliance.milestones import milestones
from certmgr.compliance.rules import RULES
from inventory.errors import Conflict, UsageError
from inventory.store import deadlines

_COLUMNS = (
    "name",
    "date",
    "rule",
    "title",
    "for",
    "source",
    "confidence",
    "confirmed",
    "purchase",
    "validation",
    "installation",
)


@click.group()
def deadline() -> None:
    """Manage dated rules: milestones of browsers and CAs, and your deadlines for clients."""


def _options(command: Any) -> Any:
    """Add the options that ``add`` and ``edit`` share."""
    days = click.IntRange(0, 730)
    # In reverse order: click lists the option that was added last first.
    for option in (
        click.option(
            "--installation-days",
            type=days,
            metavar="DAYS",
            help="Days that the installation takes. Default: 7.",
        ),
        click.option(
            "--validation-days",
            type=days,
            metavar="DAYS",
            help="Days that validation by the CA takes. Default: 7.",
        ),
        click.option(
            "--purchase-days",
            type=days,
            metavar="DAYS",
            help="Days that the purchase takes. Default: 7.",
        ),
        click.option(
            "--tag",
            "tags",
            multiple=True,
            metavar="TAG",
            help="Apply to domains and clients with this tag; may be repeated.",
        ),
        click.option(
            "--client",
            "for_clients",
            multiple=True,
            metavar="NUMBER",
            help="Apply to this client; may be repeated.",
        ),
        click.option("--text", metavar="TEXT", help="Explanation for clients."),
        click.option("--title", metavar="TEXT", help="Title, in one line."),
        click.option(
            "--rule",
            metavar="RULE",
            help="Rule to check: https-only, valid-certificate, ... (certmgr help compliance).",
        ),
        click.option(
            "--date", metavar="DATE", help="Last day on which a domain need not comply yet."
        ),
    ):
        command = option(command)
    return command


def _given(app: CommandContext, date: str | None, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with the date as a time in the provider's time zone."""
    # Clients may comply until the end of that day, so a bare date is its last second.
    return {"at": app.moment(date), **values}


@deadline.command("add")
@click.argument("name")
@_options
@pass_app
def add(
    app: CommandContext,
    /,
    name: str,
    date: str | None,
    for_clients: tuple[str, ...],
    tags: tuple[str, ...],
    **values: Any,
) -> None:
    """Add a deadline. Without --client and --tag it applies to all clients.

    \b
    certmgr deadline add https-2027 --rule https-only --date 2027-06-30
    """

    # `edit` shares the options, so click cannot mark --date as required.
    needs(date, "--date")
    values["rule"] = values["rule"] or "https-only"
    values["title"] = values["title"] or name
    # The default lead times are those of the milestones.
    for step in ("purchase", "validation", "installation"):
        if values[f"{step}_days"] is None:
            values[f"{step}_days"] = getattr(shipped, f"{step.upper()}_DAYS")
    # `compliance --deadline NAME` selects by name among deadlines and milestones.
    if name in {m.name for m in shipped.milestones()}:
        raise Conflict(
            f"'{name}' is the name of a milestone that ships with certmgr",
            "names must be unique",
            "Choose another name.",
        )
    fields = _given(app, date, values)
    with app.open(create=True).write(app.now()) as tx:
        deadlines.add(tx, name, fields, tuple(RULES), for_clients=for_clients, tags=tags)
    click.echo(f"Deadline {name} added: {local_time(fields['at'])}, rule {values['rule']}.")
    # A past date is allowed: the rule then applies from the start.
    if fields["at"] < app.now():
        click.echo("Note: this date has passed.", err=True)


@deadline.command("list")
@click.option("--own", is_flag=True, help="Only the deadlines of the provider.")
@retired_option
@format_option
@pass_app
def list_(app: CommandContext, own: bool, retired: bool, output_format: str) -> None:
    """List your deadlines, and the milestones of browsers and CAs with source and confidence.

    Confidence: V verified in the primary source, S seen as an excerpt of it, M from memory. A
    milestone that is announced, but not known to have taken effect, is not confirmed.
    """

    rows: list[dict[str, Any]] = []
    with app.open().read() as conn:
        for row in deadlines.listing(conn, retired=retired):
            rows.append(
                {
                    "name": row.name,
                    "date": epoch_text(row.at),
                    "rule": row.rule,
                    "title": row.title,
                    # No client and no tag means all clients. An empty cell could be read as none.
                    "for": [*row.clients, *(f"tag {t}" for t in row.tags)] or "all clients",
                    "source": "own",
                    "confirmed": True,
                    "text": row.text,
                    "purchase": row.purchase_days,
                    "validation": row.validation_days,
                    "installation": row.installation_days,
                    "state": row.state,
                }
            )
    # Milestones ship with the program; they are not in the database.
    if not own:
        for m in milestones():
            rows.append(
                {
                    "name": m.name,
                    "date": shown_date(m.at.date().isoformat(), m.precision),
                    "rule": m.rule or None,
                    "title": m.title,
                    "for": m.affects,
                    "source": m.source,
                    "confidence": m.confidence,
                    "confirmed": m.confirmed,
                    "state": "active",
                }
            )
    # Dates are ISO 8601, so that their text sorts by time.
    rows.sort(key=lambda r: str(r["date"]))
    columns = (
        ("name", "date", "rule", "confidence", "confirmed", "for", "title")
        if output_format == "table"
        else _COLUMNS
    )
    show(
        "deadlines",
        columns,
        rows,
        output_format,
        "There are no deadlines. Add one: certmgr deadline add.",
        (*_COLUMNS, "text", "state"),
    )


def shown_date(day: str, precision: str) -> str:
    """Return a date as precisely as it is known: 2018-07 for a month."""
    # The beginning is unknown, so the stored day means nothing.
    if precision == "in-force":
        return "in force"
    return day[: {"day": 10, "month": 7, "year": 4}[precision]]


@deadline.command("edit")
@click.argument("name")
@_options
@pass_app
def edit(
    app: CommandContext,
    /,
    name: str,
    date: str | None,
    for_clients: tuple[str, ...],
    tags: tuple[str, ...],
    **values: Any,
) -> None:
    """Change a deadline.

    --client and --tag replace the clients and tags it applies to; '' removes all of them.
    """

    with app.open().write(app.now()) as tx:
        # None leaves the clients or tags unchanged; an empty list removes them.
        changes = deadlines.edit(
            tx,
            name,
            _given(app, date, values),
            tuple(RULES),
            # An empty text removes all, and is not the number of a client.
            for_clients=[c for c in for_clients if c] if for_clients else None,
            tags=[t for t in tags if t] if tags else None,
        )
    if "at" in changes:
        # The column is called differently from the option that the user gave.
        changes["date"] = [local_time(v) for v in changes.pop("at")]
    click.echo(changed(f"Deadline {name}", changes))


@deadline.command("retire")
@click.argument("name")
@pass_app
def retire(app: CommandContext, name: str) -> None:
    """Retire a deadline. The record stays."""

    # Without this check the error would be that no such deadline exists.
    if name in {m.name for m in milestones()}:
        raise UsageError(
            f"'{name}' ships with certmgr",
            "milestones of browsers and CAs cannot be retired",
            "To exclude it, accept its findings (certmgr finding accept), or select another with"
            " certmgr compliance --deadline NAME.",
        )
    with app.open().write(app.now()) as tx:
        deadlines.retire(tx, name)
    click.echo(f"Deadline {name} retired.")
