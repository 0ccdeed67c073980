"""``certmgr deadline``: the provider's own dated rules, beside those that ship with certmgr."""

from __future__ import annotations

from typing import Any

import click

from certmgr.cli.output import epoch_text, show
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
    """Dated rules: what browsers and CAs have announced, and your own policy for clients."""


def _options(command: Any) -> Any:
    days = click.IntRange(0, 730)
    for option in (
        click.option(
            "--installation-days",
            type=days,
            metavar="DAYS",
            help="How long the installation takes; 7.",
        ),
        click.option(
            "--validation-days",
            type=days,
            metavar="DAYS",
            help="How long the CA's validation takes; 7.",
        ),
        click.option(
            "--purchase-days", type=days, metavar="DAYS", help="How long the purchase takes; 7."
        ),
        click.option(
            "--tag",
            "tags",
            multiple=True,
            metavar="TAG",
            help="For domains and clients with this tag; may be repeated.",
        ),
        click.option(
            "--client",
            "for_clients",
            multiple=True,
            metavar="NUMBER",
            help="For this client; may be repeated.",
        ),
        click.option("--text", metavar="TEXT", help="What clients read about it, in your words."),
        click.option("--title", metavar="TEXT", help="What happens, in one line."),
        click.option(
            "--rule",
            metavar="RULE",
            help="What is checked: https-only, valid-certificate, ... (docs/compliance.md).",
        ),
        click.option(
            "--date", metavar="DATE", help="The last day on which a domain may still not comply."
        ),
    ):
        command = option(command)
    return command


def _given(app: CommandContext, date: str | None, values: dict[str, Any]) -> dict[str, Any]:
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
    """Add a deadline of your own. Without --client and --tag it is for everybody."""

    needs(date, "--date")
    values["rule"] = values["rule"] or "https-only"
    values["title"] = values["title"] or name
    for step in ("purchase", "validation", "installation"):
        if values[f"{step}_days"] is None:
            values[f"{step}_days"] = getattr(shipped, f"{step.upper()}_DAYS")
    if name in {m.name for m in shipped.milestones()}:
        raise Conflict(
            f"'{name}' is the name of a milestone that ships with certmgr",
            "",
            "Choose another name.",
        )
    given = _given(app, date, values)
    with app.open().write(app.now()) as tx:
        deadlines.add(tx, name, given, tuple(RULES), for_clients=for_clients, tags=tags)
    click.echo(f"Deadline {name} added: {given['at']:%Y-%m-%d %H:%M} UTC, rule {values['rule']}.")
    if given["at"] < app.now():
        click.echo("Note: that date has passed.", err=True)


@deadline.command("list")
@click.option("--own", is_flag=True, help="Only your own.")
@retired_option
@format_option
@pass_app
def list_(app: CommandContext, own: bool, retired: bool, form: str) -> None:
    """Show your own deadlines and the milestones of browsers and CAs, with source and confidence.

    Confidence: V read in the primary source, S seen as an excerpt of it, M from memory. What is
    announced and not known to have taken effect is shown as not confirmed.
    """

    rows: list[dict[str, Any]] = []
    with app.open().read() as conn:
        for row in deadlines.listing(conn, retired=retired):
            rows.append(
                {
                    "name": row["name"],
                    "date": epoch_text(row["at"]),
                    "rule": row["rule"],
                    "title": row["title"],
                    "for": [*row["clients"], *(f"tag {t}" for t in row["tags"])] or "everybody",
                    "source": "own",
                    "confirmed": True,
                    "text": row["text"],
                    "purchase": row["purchase_days"],
                    "validation": row["validation_days"],
                    "installation": row["installation_days"],
                    "state": row["state"],
                }
            )
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
    rows.sort(key=lambda r: str(r["date"]))
    columns = (
        ("name", "date", "rule", "confidence", "confirmed", "for", "title")
        if form == "table"
        else _COLUMNS
    )
    show(
        "deadlines",
        columns,
        rows,
        form,
        "There are no deadlines of your own.",
        (*_COLUMNS, "text", "state"),
    )


def shown_date(day: str, precision: str) -> str:
    """As far as the date is known: 2018-07 for a month."""
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
    """Change a deadline. --client and --tag replace whom it is for; --client '' empties the
    clients, --tag '' the tags.
    """

    with app.open().write(app.now()) as tx:
        changes = deadlines.edit(
            tx,
            name,
            _given(app, date, values),
            tuple(RULES),
            for_clients=[c for c in for_clients if c] if for_clients else None,
            tags=[t for t in tags if t] if tags else None,
        )
    if "at" in changes:
        changes["date"] = [epoch_text(v) for v in changes.pop("at")]
    click.echo(changed(f"Deadline {name}", changes))


@deadline.command("retire")
@click.argument("name")
@pass_app
def retire(app: CommandContext, name: str) -> None:
    """Retire a deadline of your own; the record stays."""

    if name in {m.name for m in milestones()}:
        raise UsageError(
            f"'{name}' ships with certmgr",
            "a milestone of browsers or CAs cannot be retired",
            "To leave it out: certmgr finding accept, or compliance --deadline.",
        )
    with app.open().write(app.now()) as tx:
        deadlines.retire(tx, name)
    click.echo(f"Deadline {name} retired.")
