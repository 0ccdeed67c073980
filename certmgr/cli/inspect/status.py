"""``certmgr status``: what needs attention, from stored scan results."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from certmgr.cli.inspect.cause_list import show_causes
from certmgr.cli.inspect.status_ahead import show_ahead, work_ahead
from certmgr.cli.inspect.status_table import (
    COLUMNS,
    NEXT_STEP,
    client_names,
    show_totals,
    status_row,
    status_table,
    trusted_until,
)
from certmgr.cli.known_words import require_codes, require_known
from certmgr.cli.output import (
    echo_json,
    instant,
    local_time,
    paragraph,
    show,
)
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.inspection.causes import causes as fold
from certmgr.inspection.client_scope import scoped
from certmgr.inspection.status import (
    counts,
    load,
    totals,
    urgency,
)
from inventory.errors import UsageError
from inventory.store import clients, findings, servers
from inventory.vocabulary import FindingDecision, Severity

if TYPE_CHECKING:
    from certmgr.inspection.status import EndpointStatus
    from inventory.db.database import Database

MOST_UNSCANNED = 5
"""Up to this number, endpoints that were never checked have a row each."""
SORTS: dict[str, Callable[[EndpointStatus], Any]] = {
    "severity": urgency,
    # An endpoint without a certificate has no date. It comes last, because 0 would be the earliest.
    "date": lambda s: (s.not_after is None, s.not_after or 0, *urgency(s)),
    "client": lambda s: (s.client, *urgency(s)),
    "server": lambda s: (s.server or "", *urgency(s)),
    "host": lambda s: (s.target.host, s.target.port),
}


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """What of the inventory is shown.

    Attributes:
        as_of: A past or future date; None: now.
        severities: Only endpoints with a finding of one of these; empty: all.
        codes: Only endpoints with a finding of one of these codes; empty: all.
        everything: Whether endpoints without a fault are shown too.
        sort: A key of :data:`SORTS`.
        limit: The rows of the table.
    """

    client: str | None
    tag: str | None
    server: str | None
    as_of: datetime | None
    severities: frozenset[str]
    codes: frozenset[str]
    everything: bool
    sort: str
    limit: int

    def selects(self, status: EndpointStatus) -> bool:
        """Return whether the table shows an endpoint."""
        if not self.severities and not self.codes:
            # Without a filter, an endpoint that is ok is left out. With one, a remark can be what
            # is asked for, so the verdict does not count.
            return self.everything or status.verdict != "ok"
        return any(
            (not self.severities or f.severity in self.severities)
            and (not self.codes or f.code in self.codes)
            for f in status.findings
        )


@click.command()
@client_filter
@tag_filter
@click.option("--server", metavar="NAME", help="Only domains on this server.")
@click.option(
    "--severity",
    "severities",
    multiple=True,
    type=click.Choice([s.value for s in Severity]),
    help="Only endpoints with a finding of this severity; may be repeated.",
)
@click.option(
    "--code",
    "codes",
    multiple=True,
    metavar="CODE",
    help="Only endpoints with this finding; may be repeated.",
)
@click.option(
    "--as-of",
    metavar="DATE",
    help="Status as of a past date, or the expected status at a future date.",
)
@click.option("--causes", is_flag=True, help="Group findings by common cause, the worst first.")
@click.option("--all", "everything", is_flag=True, help="Include endpoints that are ok.")
@click.option(
    "--sort",
    type=click.Choice(list(SORTS)),
    default="severity",
    show_default=True,
    help="Order of the rows; within it, by severity and then by date.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=200, show_default=True, help="Rows of the table."
)
@click.option(
    "--watch",
    type=click.IntRange(1, 86_400),
    metavar="SECONDS",
    help="Show it again every SECONDS, until Ctrl-C.",
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 even if there are findings.")
@click.option("-v", "--verbose", is_flag=True, help="Show evidence.")
@format_option
@pass_app
def status(
    app: CommandContext,
    /,
    client: str | None,
    tag: str | None,
    server: str | None,
    severities: tuple[str, ...],
    codes: tuple[str, ...],
    as_of: str | None,
    causes: bool,
    everything: bool,
    sort: str,
    limit: int,
    watch: int | None,
    exit_zero: bool,
    verbose: bool,
    output_format: str,
) -> int:
    """Show what needs attention, worst and soonest first, from stored scan results.

    Findings of severity low are remarks, with which an endpoint is ok. Exits 1 if an endpoint has
    a fault.

    \b
    certmgr status --causes               what to fix first
    certmgr status --client 1001
    certmgr status --as-of 2027-03-15
    """
    # A misspelt code would select nothing, which reads as "no findings".
    require_codes(codes)
    # Several documents in one stream are not valid JSON, and a CSV has one header.
    if watch is not None and output_format != "table":
        raise UsageError(
            "--watch has no " + output_format, "a document is written once", "Remove one of them."
        )
    query = StatusQuery(
        client=client,
        tag=tag,
        server=server,
        as_of=app.moment(as_of),
        severities=frozenset(severities),
        codes=frozenset(codes),
        everything=everything,
        sort=sort,
        limit=limit,
    )
    database = app.open()
    while True:
        if watch is not None:
            # The screen is cleared before the query, so the old rows are not taken for new ones.
            click.clear()
            click.echo(f"{local_time(app.now())}, again every {watch} s")
        fault = _show(app, database, query, causes, verbose, output_format)
        if watch is None:
            return 1 if fault and not exit_zero else 0
        # Without --watch the loop has ended. With it, Ctrl-C ends the command, and guard() sets the
        # exit code.
        time.sleep(watch)


def _show(
    app: CommandContext,
    database: Database,
    query: StatusQuery,
    causes: bool,
    verbose: bool,
    output_format: str,
) -> bool:
    """Print the status once. Return whether an endpoint has a fault."""
    now = app.now()
    at = query.as_of or now
    with ProgressLine().waiting("status"):
        statuses, total = _load(database, now, query)
    shown = [s for s in statuses if query.selects(s)]
    if causes:
        # A filter by code or severity selects findings here, and not endpoints.
        # Assigned causes are shown with their assignee, so that two people do not work on the same
        # one.
        with database.read() as conn:
            taken = findings.acceptances(conn, at, kind=FindingDecision.ASSIGN)
        groups = [
            c
            for c in fold(statuses, taken, at)
            if (not query.codes or c.code in query.codes)
            and (not query.severities or c.severity in query.severities)
        ]
        show_causes(groups, output_format, query.limit, client_names(database))
    elif output_format != "table":
        shown.sort(key=SORTS[query.sort])
        # The trust of browsers costs a search for paths, so it is calculated for shown endpoints
        # only.
        until = trusted_until(app, database, shown, now, query.as_of)
        rows = [status_row(s, at, until.get(s.id)) for s in shown]
        if output_format == "csv":
            show("endpoints", COLUMNS, rows, output_format)
            return bool(total["fault"])
        # Purchases have no tags, so a status by tag has no work ahead.
        ahead = work_ahead(app, database, at, query.client) if query.tag is None else {}
        echo_json(
            {
                "schema": "certmgr.status/1",
                "as_of": instant(at),
                "endpoints": rows,
                "summary": total,
                **ahead,
            }
        )
    else:
        _show_table(app, database, query, shown, verbose)
        show_totals(database, statuses, total)
        # The work ahead is about all records of the scope, so a filtered table does not show it.
        if query.tag is None and query.server is None and not query.codes | query.severities:
            ahead = work_ahead(app, database, at, query.client)
            show_ahead(ahead, app.settings.provider.time_zone)
        if total["endpoints"] > total["ok"]:
            # In one piece, so that it can be pasted.
            click.echo(_next_step(query))
    return bool(total["fault"])


def _next_step(query: StatusQuery) -> str:
    """Return the command that shows what to do, for the same part of the inventory."""
    scope = (("--client", query.client), ("--server", query.server), ("--tag", query.tag))
    return " ".join((NEXT_STEP, *(f"{o} {shlex.quote(v)}" for o, v in scope if v is not None)))


def _load(
    database: Database, now: datetime, query: StatusQuery
) -> tuple[list[EndpointStatus], dict[str, int]]:
    """Return the endpoints, and the number of endpoints by verdict."""
    with database.read() as conn:
        require_known(conn, tag=query.tag, server=query.server)
    # Endpoints without findings are counted by the database and not loaded: most are fine.
    # A past or future status has to be computed from all of them.
    skip_healthy = query.as_of is None and not query.everything and query.server is None
    statuses = load(
        database,
        now,
        as_of=query.as_of,
        client=query.client,
        tag=query.tag,
        skip_healthy=skip_healthy,
    )
    if query.client is not None:
        # A client sees only its part of a shared certificate or host.
        with database.read() as conn:
            statuses = scoped(conn, clients.find(conn, query.client).id, statuses)
    if query.server is not None:
        with database.read() as conn:
            name = servers.find(conn, query.server).name
        statuses = [s for s in statuses if s.server == name]
    # Healthy endpoints were not loaded, so the database counts them.
    if skip_healthy:
        return statuses, totals(database, statuses, client=query.client, tag=query.tag)
    return statuses, counts(s.verdict for s in statuses)


def _show_table(
    app: CommandContext,
    database: Database,
    query: StatusQuery,
    shown: Sequence[EndpointStatus],
    verbose: bool,
) -> None:
    now = app.now()
    unscanned = [s for s in shown if s.never and s.last_attempt is None]
    # Before the first scan, a row per endpoint would repeat one sentence hundreds of times. Single
    # new endpoints keep their rows.
    if len(unscanned) > MOST_UNSCANNED:
        shown = [s for s in shown if not s.never or s.last_attempt is not None]
    else:
        unscanned = []
    # Whatever the order is, a row that is left out is never worse than one that is shown.
    rows = sorted(shown, key=urgency)[: query.limit]
    left = len(shown) - len(rows)
    if rows:
        rows.sort(key=SORTS[query.sort])
        until = trusted_until(app, database, rows, now, query.as_of)
        # A filter by severity or code may ask for remarks, so they are shown then.
        remarks = bool(query.severities or query.codes)
        status_table(rows, query.as_of or now, verbose, until, remarks=remarks)
    if left:
        paragraph(f"... and {left:,} more: --limit, --causes, --client, or --format csv.")
    if unscanned:
        paragraph(f"{len(unscanned):,} endpoint(s) were not checked yet: certmgr scan")
