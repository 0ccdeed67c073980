"""``certmgr status``: what needs attention, from stored scan results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from certmgr.cases.states import is_overdue
from certmgr.cli.output import (
    STYLES,
    cell,
    colours,
    day_in,
    echo_json,
    epoch_text,
    instant,
    show,
    table,
)
from certmgr.cli.scan_report import issuer_name
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.inspection.status import causes as fold
from certmgr.inspection.status import counts, load, totals
from certmgr.inspection.trust_ends import StoredTrust, trust_row, trust_text
from certmgr.purchases import load as purchases
from certmgr.purchases.terms import due_soon
from inventory.store import cases, clients, findings
from notifiers.wording.english import ACTORS, VERDICTS
from notifiers.wording.sentences import instruction, sentence, short

if TYPE_CHECKING:
    from certmgr.inspection.status import Cause, EndpointStatus
    from inventory.db.database import Database

_COLUMNS = (
    "target",
    "client",
    "server",
    "verdict",
    "days_left",
    "not_after",
    "issuer",
    "last_good",
    "last_attempt",
    "codes",
    "detail",
    "trust",
)
_CAUSE_COLUMNS = (
    "endpoints",
    "clients",
    "kind",
    "where",
    "severity",
    "code",
    "actor",
    "detail",
    "do",
)


@click.command()
@client_filter
@tag_filter
@click.option(
    "--as-of",
    metavar="DATE",
    help="Status as of a past date, or the expected status at a future date.",
)
@click.option(
    "--causes", is_flag=True, help="Group findings by common cause, the largest group first."
)
@click.option("--all", "everything", is_flag=True, help="Include endpoints without findings.")
@click.option(
    "--limit", type=click.IntRange(1), default=200, show_default=True, help="Rows of the table."
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 even if there are findings.")
@click.option("-v", "--verbose", is_flag=True, help="Show evidence.")
@format_option
@pass_app
def status(
    app: CommandContext,
    client: str | None,
    tag: str | None,
    as_of: str | None,
    causes: bool,
    everything: bool,
    limit: int,
    exit_zero: bool,
    verbose: bool,
    output_format: str,
) -> int:
    """Show what needs attention, soonest first, from stored scan results.

    Exits 1 if an endpoint has a fault.
    """

    moment = app.now()
    at = app.moment(as_of)
    database = app.open()
    # Endpoints without findings are counted by the database and not loaded: most are fine.
    # A past or future status has to be computed from all of them.
    skip_healthy = at is None and not everything
    statuses = load(database, moment, as_of=at, client=client, tag=tag, skip_healthy=skip_healthy)
    total = (
        totals(database, statuses, client=client, tag=tag)
        if skip_healthy
        else counts(s.verdict for s in statuses)
    )
    code = 1 if total["fault"] and not exit_zero else 0
    if causes:
        with database.read() as conn:
            taken = findings.acceptances(conn, at or moment, kind="take")
        show_causes(fold(statuses, taken, at or moment), output_format, limit)
        return code
    shown = statuses if everything else [s for s in statuses if s.verdict != "ok"]
    if output_format == "json":
        until = trusted_until(app, database, shown, moment, at)
        rows = [status_row(s, at or moment, until.get(s.id)) for s in shown]
        ahead = work_ahead(app, database, at or moment, client) if tag is None else {}
        echo_json(
            {
                "schema": "certmgr.status/1",
                "as_of": instant(at or moment),
                "endpoints": rows,
                "summary": total,
                **ahead,
            }
        )
    elif output_format == "csv":
        until = trusted_until(app, database, shown, moment, at)
        rows = [status_row(s, at or moment, until.get(s.id)) for s in shown]
        show("endpoints", _COLUMNS, rows, output_format)
    else:
        if shown:
            until = trusted_until(app, database, shown[:limit], moment, at)
            status_table(shown[:limit], at or moment, verbose, until)
        if len(shown) > limit:
            click.echo(
                f"... and {len(shown) - limit:,} more: --limit, --causes, --client, or --format"
                " csv."
            )
        verdict_counts = ", ".join(
            f"{total[v]:,} {v}" for v in ("ok", "attention", "fault", "unknown") if total[v]
        )
        click.echo(f"{total['endpoints']:,} endpoint(s): {verdict_counts or 'none'}.")
        if tag is None:
            _show_ahead(
                work_ahead(app, database, at or moment, client), app.settings.provider.time_zone
            )
    return code


def trusted_until(
    app: CommandContext,
    database: Database,
    statuses: Sequence[EndpointStatus],
    now: datetime,
    as_of: datetime | None,
) -> dict[int, dict[str, Any]]:
    """Return until when browsers trust the certificate of each endpoint, by its id.

    It is not known for the past: the rules of that day are not kept.
    """
    if not statuses or (as_of is not None and as_of < now):
        return {}
    with database.read() as conn:
        stored = StoredTrust.of(conn, app.settings)
        found = stored.endpoints(endpoint_ids=[s.id for s in statuses])
    rows = {i: trust_row(t.ends, as_of or now, stored.rules.version) for i, t in found.items()}
    return {i: row for i, row in rows.items() if row is not None}


AHEAD = timedelta(days=60)


def work_ahead(
    app: CommandContext, database: Database, moment: datetime, client: str | None
) -> dict[str, Any]:
    """Return the due dates of purchases within 60 days, soonest first, and counts of open cases."""
    with database.read() as conn:
        client_id = clients.find(conn, client).id if client else None
        soon = due_soon(
            purchases.load(conn, client_id, ended=False),
            purchases.lead_times(app.settings),
            moment,
            AHEAD,
        )
        rows = cases.listing(conn, client_id=client_id, states=cases.OPEN)
    return {
        "orders": [
            {
                "order": f"#{o.id}",
                "client": o.client,
                "vendor": o.vendor,
                "number": o.number or None,
                "what": c.kind,
                "at": instant(c.at),
                "due": instant(c.due),
                "actor": c.actor,
                "names": list(o.names),
            }
            for o, c in soon
        ],
        "cases": {"open": len(rows), "overdue": sum(is_overdue(r, moment) for r in rows)},
    }


_DEADLINES = {
    "order": "buy again, the purchase ends",
    "certificate": "reissue and install, the certificate ends",
    "dcv": "validate the domains again, good until",
    "organisation": "validate the organisation again, good until",
}


def _show_ahead(ahead: dict[str, Any], zone: str) -> None:
    if ahead["orders"]:
        click.echo(f"Purchases: {len(ahead['orders'])} date(s) to act on within {AHEAD.days} days.")
    for deadline in ahead["orders"][:20]:
        what = f"{_DEADLINES[deadline['what']]} {day_in(deadline['at'], zone)}"
        click.echo(
            f"  by {day_in(deadline['due'], zone)}  {cell(deadline['client'])},"
            f" {cell(deadline['vendor'])} {cell(deadline['number'] or deadline['order'])}"
            f" ({deadline['actor']}): {what}"
        )
    if len(ahead["orders"]) > 20:
        click.echo("  ... and more: certmgr purchase list --due 60")
    if ahead["cases"]["open"]:
        click.echo(
            f"Cases: {ahead['cases']['open']} open, {ahead['cases']['overdue']} overdue (certmgr"
            " case list)."
        )


def status_row(
    endpoint: EndpointStatus, moment: datetime, until: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return one endpoint as a row of ``certmgr.status/1``.

    Args:
        until: Until when browsers trust its certificate.
    """

    return {
        "target": endpoint.target.key,
        "client": endpoint.client,
        "server": endpoint.server,
        "verdict": str(endpoint.verdict),
        "days_left": endpoint.days_left(moment),
        "not_after": epoch_text(endpoint.not_after),
        "trusted_until": until,
        "trust": trust_text(until),
        "issuer": endpoint.issuer,
        "last_good": epoch_text(endpoint.last_good),
        "last_attempt": epoch_text(endpoint.last_attempt),
        "error": endpoint.error,
        "codes": [f.code for f in endpoint.findings],
        "detail": [sentence(f, endpoint.target) for f in endpoint.findings],
        "findings": [
            {
                "code": f.code,
                "severity": f.severity,
                "actor": f.actor,
                "outcome": f.outcome,
                "addresses": list(f.addresses),
            }
            for f in endpoint.findings
        ],
        "accepted": [
            {"code": f.code, "until": instant(a.until), "by": a.by, "reason": a.reason}
            for f, a in endpoint.accepted
        ],
    }


def status_table(
    statuses: Sequence[EndpointStatus],
    moment: datetime,
    verbose: bool,
    until: Mapping[int, dict[str, Any]] | None = None,
) -> None:
    """Print one row per endpoint, and the evidence if ``verbose``.

    Args:
        until: Until when browsers trust the certificate, by endpoint id.
    """
    trust = [trust_text((until or {}).get(s.id)) for s in statuses]
    # Most certificates are trusted to their end, so the column is usually left out.
    extra = ["TRUSTED"] if any(trust) else []
    lines, styles = [], []
    for s, trusted in zip(statuses, trust, strict=True):
        texts = [short(f, s.target) for f in s.findings if f.severity != "info"]
        texts += [
            f"{short(f, s.target)} (accepted until {a.until:%Y-%m-%d})" for f, a in s.accepted
        ]
        words = "; ".join(texts) or (s.error if s.verdict != "ok" else "") or ""
        lines.append(
            [
                VERDICTS[s.verdict],
                s.target,
                s.client,
                s.days_left(moment),
                issuer_name(s.issuer),
                *([trusted] if extra else []),
                words,
            ]
        )
        styles.append(STYLES.get(s.verdict))
    columns = ["VERDICT", "HOST", "CLIENT", "DAYS LEFT", "ISSUER", *extra, "WHAT IS WRONG"]
    table(columns, lines, styles)
    if verbose:
        for s in statuses:
            if s.findings:
                click.echo(f"\n{s.target}")
            for f in s.findings:
                click.echo(
                    f"  {f.severity} {f.code} ({f.actor}): {cell(sentence(f, s.target), 400)}\n   "
                    f" evidence: {cell(f.evidence, 400)}"
                )


def cause_row(cause: Cause) -> dict[str, Any]:
    """Return one cause as a row of ``certmgr.causes/1``, explained by its first endpoint."""
    first = cause.endpoints[0]
    return {
        "endpoints": len(cause.endpoints),
        "clients": len(cause.clients),
        "kind": cause.kind,
        "where": cause.location,
        "severity": cause.severity,
        "code": cause.code,
        "actor": cause.actor,
        "detail": (
            sentence(cause.example, first)
            if cause.down is None
            else cause.down.sentence(len(cause.endpoints))
        ),
        "do": (
            instruction(cause.example, first) if cause.down is None else cause.down.instruction()
        ),
        "assigned": [{"by": by, "until": instant(until)} for by, until in cause.assigned],
        "targets": [t.key for t in cause.endpoints],
    }


def show_causes(causes: Sequence[Cause], output_format: str, limit: int) -> None:
    """Print findings grouped by cause."""
    if output_format == "json":
        echo_json({"schema": "certmgr.causes/1", "causes": [cause_row(c) for c in causes]})
        return
    if output_format == "csv":
        show("causes", _CAUSE_COLUMNS, [cause_row(c) for c in causes], output_format)
        return
    if not causes:
        click.echo("There is nothing to fix.")
        return
    for cause in causes[:limit]:
        row = cause_row(cause)
        where = f"{cause.kind} {cell(cause.location)}"
        severity = (
            click.style(str(cause.severity), fg=STYLES.get(cause.severity))
            if colours()
            else cause.severity
        )
        click.echo(
            f"{row['endpoints']:6,} x {cause.code} ({severity}), {where}; who:"
            f" {ACTORS[cause.actor]}"
        )
        for person in row["assigned"]:
            click.echo(f"         {cell(person['by'])} fixes it until {person['until']}.")
        more = f" The same for {row['endpoints'] - 1:,} more." if row["endpoints"] > 1 else ""
        if cause.down is not None:
            more = ""
            click.echo(f"         {cell(row['detail'], 400)}.")
        click.echo(f"         {cell(row['do'], 400)}{more}")
    if len(causes) > limit:
        click.echo(f"... and {len(causes) - limit:,} more causes: --limit, or --format csv.")
    click.echo(
        f"{sum(len(c.endpoints) for c in causes):,} finding(s) from {len(causes):,} cause(s)."
    )
