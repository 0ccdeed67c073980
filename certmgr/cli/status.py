"""``certmgr status``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from certmgr.cases.states import overdue
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
from certmgr.purchases import load as purchases
from certmgr.purchases.terms import due_soon
from inventory.store import cases, clients
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
    help="The past shows what was known then; the future applies today's knowledge.",
)
@click.option(
    "--causes", is_flag=True, help="Fold findings by what one action would fix, largest first."
)
@click.option("--all", "everything", is_flag=True, help="Also what is well.")
@click.option(
    "--limit", type=click.IntRange(1), default=200, show_default=True, help="Rows of the table."
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 in spite of findings.")
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
    form: str,
) -> int:
    """Show what needs attention, soonest first, from what scans have stored.

    Exit code 1 where something is at fault.
    """

    moment = app.now()
    at = app.moment(as_of)
    database = app.open()
    troubled = at is None and not everything
    standings = load(database, moment, as_of=at, client=client, tag=tag, troubled=troubled)
    total = (
        totals(database, standings, client=client, tag=tag)
        if troubled
        else counts(s.verdict for s in standings)
    )
    code = 1 if total["fault"] and not exit_zero else 0
    if causes:
        show_causes(fold(standings), form, limit)
        return code
    shown = standings if everything else [s for s in standings if s.verdict != "ok"]
    if form == "json":
        rows = [standing_row(s, at or moment) for s in (standings if everything else shown)]
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
    elif form == "csv":
        show("endpoints", _COLUMNS, [standing_row(s, at or moment) for s in shown], form)
    else:
        if shown:
            standing_table(shown[:limit], at or moment, verbose)
        if len(shown) > limit:
            click.echo(
                f"... and {len(shown) - limit:,} more: --limit, --causes, --client, or --format"
                " csv."
            )
        said = ", ".join(
            f"{total[v]:,} {v}" for v in ("ok", "attention", "fault", "unknown") if total[v]
        )
        click.echo(f"{total['endpoints']:,} endpoint(s): {said or 'none'}.")
        if tag is None:
            _show_ahead(
                work_ahead(app, database, at or moment, client), app.settings.provider.time_zone
            )
    return code


ORDERS_AHEAD = timedelta(days=60)


def work_ahead(
    app: CommandContext, database: Database, moment: datetime, client: str | None
) -> dict[str, Any]:
    """Dates of orders within 60 days, soonest first, and how many cases are open."""
    with database.read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        soon = due_soon(
            purchases.load(conn, client_id, ended=False),
            purchases.leads_of(app.settings),
            moment,
            ORDERS_AHEAD,
        )
        rows = cases.listing(conn, client_id=client_id, states=cases.OPEN)
    return {
        "orders": [
            {
                "order": f"#{o.id}",
                "client": o.client,
                "vendor": o.vendor,
                "number": o.number or None,
                "what": c.what,
                "at": instant(c.at),
                "due": instant(c.due),
                "actor": c.actor,
                "names": list(o.names),
            }
            for o, c in soon
        ],
        "cases": {"open": len(rows), "overdue": sum(overdue(r, moment) for r in rows)},
    }


_CLOCKS = {
    "order": "buy again, the order ends",
    "certificate": "reissue and install, the certificate ends",
    "dcv": "validate the domains again, good until",
    "organisation": "validate the organisation again, good until",
}


def _show_ahead(ahead: dict[str, Any], zone: str) -> None:
    if ahead["orders"]:
        click.echo(
            f"Orders: {len(ahead['orders'])} date(s) to act on within {ORDERS_AHEAD.days} days."
        )
    for one in ahead["orders"][:20]:
        what = f"{_CLOCKS[one['what']]} {day_in(one['at'], zone)}"
        click.echo(
            f"  by {day_in(one['due'], zone)}  {cell(one['client'])}, {cell(one['vendor'])}"
            f" {cell(one['number'] or one['order'])} ({one['actor']}): {what}"
        )
    if len(ahead["orders"]) > 20:
        click.echo("  ... and more: certmgr purchase list --due 60")
    if ahead["cases"]["open"]:
        click.echo(
            f"Cases: {ahead['cases']['open']} open, {ahead['cases']['overdue']} overdue (certmgr"
            " case list)."
        )


def standing_row(standing: EndpointStatus, moment: datetime) -> dict[str, Any]:
    """One endpoint of ``certmgr.status/1``."""

    return {
        "target": standing.target.key,
        "client": standing.client,
        "server": standing.server,
        "verdict": str(standing.verdict),
        "days_left": standing.days_left(moment),
        "not_after": epoch_text(standing.not_after),
        "issuer": standing.issuer,
        "last_good": epoch_text(standing.last_good),
        "last_attempt": epoch_text(standing.last_attempt),
        "error": standing.error,
        "codes": [f.code for f in standing.findings],
        "detail": [sentence(f, standing.target) for f in standing.findings],
        "findings": [
            {
                "code": f.code,
                "severity": f.severity,
                "actor": f.actor,
                "outcome": f.outcome,
                "addresses": list(f.addresses),
            }
            for f in standing.findings
        ],
        "accepted": [
            {"code": f.code, "until": instant(a.until), "by": a.by, "reason": a.reason}
            for f, a in standing.accepted
        ],
    }


def standing_table(standings: Sequence[EndpointStatus], moment: datetime, verbose: bool) -> None:
    lines, styles = [], []
    for s in standings:
        said = [short(f, s.target) for f in s.findings if f.severity != "info"]
        said += [f"{short(f, s.target)} (accepted until {a.until:%Y-%m-%d})" for f, a in s.accepted]
        words = "; ".join(said) or (s.error if s.verdict != "ok" else "") or ""
        lines.append(
            [
                VERDICTS[s.verdict],
                s.target,
                s.client,
                s.days_left(moment),
                issuer_name(s.issuer),
                words,
            ]
        )
        styles.append(STYLES.get(s.verdict))
    table(["VERDICT", "HOST", "CLIENT", "DAYS LEFT", "ISSUER", "WHAT IS WRONG"], lines, styles)
    if verbose:
        for s in standings:
            if s.findings:
                click.echo(f"\n{s.target}")
            for f in s.findings:
                click.echo(
                    f"  {f.severity} {f.code} ({f.actor}): {cell(sentence(f, s.target), 400)}\n   "
                    f" evidence: {cell(f.evidence, 400)}"
                )


def cause_row(cause: Cause) -> dict[str, Any]:
    first = cause.endpoints[0]
    return {
        "endpoints": len(cause.endpoints),
        "clients": len(cause.clients),
        "kind": cause.kind,
        "where": cause.where,
        "severity": cause.severity,
        "code": cause.code,
        "actor": cause.actor,
        "detail": sentence(cause.example, first),
        "do": instruction(cause.example, first),
        "targets": [t.key for t in cause.endpoints],
    }


def show_causes(found: Sequence[Cause], form: str, limit: int) -> None:
    if form == "json":
        echo_json({"schema": "certmgr.causes/1", "causes": [cause_row(c) for c in found]})
        return
    if form == "csv":
        show("causes", _CAUSE_COLUMNS, [cause_row(c) for c in found], form)
        return
    if not found:
        click.echo("There is nothing to mend.")
        return
    for cause in found[:limit]:
        row = cause_row(cause)
        where = f"{cause.kind} {cell(cause.where)}"
        severity = (
            click.style(str(cause.severity), fg=STYLES.get(cause.severity))
            if colours()
            else cause.severity
        )
        click.echo(
            f"{row['endpoints']:6,} x {cause.code} ({severity}), {where}; who:"
            f" {ACTORS[cause.actor]}"
        )
        more = f" The same for {row['endpoints'] - 1:,} more." if row["endpoints"] > 1 else ""
        click.echo(f"         {cell(row['do'], 400)}{more}")
    if len(found) > limit:
        click.echo(f"... and {len(found) - limit:,} more causes: --limit, or --format csv.")
    click.echo(f"{sum(len(c.endpoints) for c in found):,} finding(s) from {len(found):,} cause(s).")
