"""``certmgr report``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from certmgr.cli.output import show
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.compliance.assessment import all_deadlines
from certmgr.files import write_whole
from certmgr.operations.support_statistics import measure, read
from certmgr.purchases.load import leads_of
from certmgr.report import html, pdf, tabular
from certmgr.report.html import render_index
from certmgr.report.load import material
from certmgr.report.view import build
from certmgr.report.write import file_name, folder
from inventory.errors import UsageError
from inventory.store import clients
from notifiers.wording.catalogue import require

if TYPE_CHECKING:
    from certmgr.compliance.milestones import Deadline
    from certmgr.report.model import ClientReport
    from inventory.db.database import Database
    from notifiers.wording.catalogue import Language


@click.command()
@click.option("--client", metavar="NUMBER", help="For this client.")
@click.option(
    "--all", "everybody", is_flag=True, help="For every client, with an index page for yourself."
)
@click.option(
    "--support",
    is_flag=True,
    help="For the coordinating team: notices, acknowledgements and resolutions per day.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=30,
    show_default=True,
    metavar="N",
    help="With --support: so many days.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "pdf", "table", "csv", "json"]),
    default=None,
    help="html; with --support table, csv or json.",
)
@click.option(
    "--output",
    metavar="PATH",
    help="The file; with --all the folder. Without it, html, csv and json go to standard output.",
)
@click.option(
    "--as-of", metavar="DATE", help="The report of that day, from the observations of that day."
)
@click.option(
    "--language",
    "chosen",
    metavar="CODE",
    help="A language of the catalogues, such as en or de; else that of the client's contact.",
)
@pass_app
def report(
    app: CommandContext,
    client: str | None,
    everybody: bool,
    support: bool,
    days: int,
    form: str | None,
    output: str | None,
    as_of: str | None,
    chosen: str | None,
) -> None:
    """Write the report that a client reads: what to do, by when, the dates ahead, and each site
    with its evidence in words.
    """

    if support:
        _support(app, days, form or "table", client or everybody or output or as_of or chosen)
        return
    form = form or "html"
    if form == "table":
        raise UsageError("A report for a client is no table", "", "Choose html, pdf, csv or json.")
    if (client is None) == (not everybody):
        raise UsageError(
            "It is not said whom the report is for",
            "it needs one client, or all of them",
            "Give --client NUMBER or --all --output FOLDER.",
        )
    if output is None and (everybody or form == "pdf"):
        raise UsageError(
            "--output is missing",
            "",
            "Give --output FOLDER." if everybody else "Give --output FILE.",
        )
    moment, at = app.now(), app.moment(as_of)
    chosen = None if chosen is None else require(chosen)
    database = app.open()
    dues = all_deadlines(database, at if at is not None and at <= moment else None)
    if everybody:
        _everybody(app, database, dues, form, Path(str(output)), moment, at, chosen)
        return
    made, language = _one(app, database, dues, str(client), moment, at, chosen)
    data = _rendered(made, language, form)
    if output is None:
        click.echo(data.decode(), nl=False)
    else:
        write_whole(Path(output), data)
        click.echo(f"{output}: {made.summary}")


_SUPPORT = (
    "day",
    "sent",
    "acknowledged",
    "opened",
    "resolved",
    "hours_to_acknowledge",
    "hours_to_resolve",
)


def _support(app: CommandContext, days: int, form: str, other: object) -> None:
    if other:
        raise UsageError(
            "--support is about all clients",
            "it goes to standard output",
            "Leave the other options out.",
        )
    if form in ("html", "pdf"):
        raise UsageError(f"There is no {form} of the measures", "", "Choose table, csv or json.")
    last = app.now().astimezone(ZoneInfo(app.settings.provider.time_zone))
    first = (last - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    with app.open().read() as conn:
        sent, told = read(conn, first)
    rows = [
        {c: getattr(d, c) for c in _SUPPORT} | {"day": d.day.isoformat()}
        for d in measure(sent, told, first, last)
    ]
    show("support", _SUPPORT, rows, form)


def _one(
    app: CommandContext,
    database: Database,
    dues: tuple[Deadline, ...],
    client: str,
    moment: datetime,
    at: datetime | None,
    chosen: str | None,
) -> tuple[ClientReport, Language]:
    provider = app.settings.provider
    read = material(
        database,
        client,
        moment,
        as_of=at,
        provider=provider.name,
        dues=dues,
        default_language=provider.language,
        default_zone=provider.time_zone,
        chosen=chosen,
        leads=leads_of(app.settings),
    )
    return build(read), read.language


def _rendered(made: ClientReport, language: Language, form: str) -> bytes:
    if form == "json":
        return tabular.to_json(made).encode()
    if form == "csv":
        return tabular.to_csv(made).encode()
    page = html.render(made, language)
    if form == "pdf":
        return pdf.render(page, made, language)
    return page.encode()


def _everybody(
    app: CommandContext,
    database: Database,
    dues: tuple[Deadline, ...],
    form: str,
    target: Path,
    moment: datetime,
    at: datetime | None,
    chosen: str | None,
) -> None:
    """One client after the other, so that memory does not grow with their number."""

    folder(target)
    with database.read() as conn:
        numbers = clients.with_domains(conn)
    lines: list[dict[str, Any]] = []
    for number in _progress(numbers):
        made, language = _one(app, database, dues, number, moment, at, chosen)
        name = file_name(number, form)
        write_whole(target / name, _rendered(made, language, form))
        lines.append(
            {
                "file": name,
                "number": made.client,
                "name": made.client_name,
                "state": made.state,
                "state_text": _STATES[made.state],
                "sites": made.counts["sites"],
                "you": len(made.you_act),
                "we": len(made.we_act),
                "escalated": len(made.escalated),
                "unknown": made.counts["unknown"],
            }
        )
    counts = {s: sum(x["state"] == s for x in lines) for s in _STATES}
    summary = f"{len(lines)} client(s): " + ", ".join(
        f"{counts[s]} {w[2:]}" for s, w in _STATES.items() if counts[s]
    )
    worst = next((s for s in ("fault", "unknown", "attention") if counts[s]), "ok")
    index = render_index(
        lines,
        f"{(at or moment):%Y-%m-%d %H:%M} UTC",
        summary if lines else "There are no clients with domains.",
        worst,
    )
    write_whole(target / "index.html", index.encode())
    click.echo(
        f"{target}: {summary if lines else 'no client has a domain'}. Open {target / 'index.html'}."
    )


_STATES = {
    "fault": "✗ must act",
    "attention": "! with us, or soon",
    "unknown": "? not determined",
    "ok": "✓ in order",
}


def _progress(numbers: list[str]) -> Iterator[str]:
    if not sys.stderr.isatty():
        yield from numbers
        return
    with click.progressbar(numbers, file=sys.stderr, label="Reports") as bar:
        yield from bar
