"""``certmgr scan`` of the inventory: its progress, and what it found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from certmgr.cli.inspect.run_document import run_endpoints
from certmgr.cli.inspect.scan_document import ScannedEndpoint, csv_row
from certmgr.cli.inspect.scan_report import CSV_COLUMNS, note_families
from certmgr.cli.inspect.scan_spool import ScanSpool
from certmgr.cli.inspect.status_table import NEXT_STEP, status_table
from certmgr.cli.output import csv_text, instant, paragraph
from certmgr.cli.progress import progress_line
from certmgr.cli.queues import queues_of, spread_scan
from certmgr.cli.shared import CommandContext
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.status import (
    changes,
    count_findings,
    counts,
    findings_text,
    load,
    totals,
    urgency,
)
from inventory.store import findings
from inventory.vocabulary import Verdict

if TYPE_CHECKING:
    from certmgr.config.settings import Settings
    from certmgr.inspection.report import EndpointReport
    from certmgr.inspection.scan_options import ScanOptions
    from certmgr.inspection.scan_summary import ScanSummary
    from certmgr.inspection.status import EndpointStatus


def page_rate(settings: Settings) -> str:
    """Return what limits the speed of a scan with pages, in a few words."""
    http = settings.http
    # Without pages nothing is limited by their rate.
    if not http.enabled or not http.rate:
        return ""
    return f"at most {http.rate:g} pages/s per address ([http] rate)"


def scan_inventory(
    app: CommandContext, options: ScanOptions, output_format: str, verbose: bool, *, here: bool
) -> int:
    """Scan the inventory, print what was found, and return the exit code.

    Args:
        here: Whether this process scans, although workers are configured.
    """
    # 100,000 reports do not fit into memory, so they are kept in a file until the run ends.
    with ScanSpool.opened() as spool:

        def keep(key: int, report: EndpointReport) -> None:
            spool.add(key, ScannedEndpoint.of(report))

        with progress_line() as line:
            waits = page_rate(app.settings) if options.http else ""

            def count(done: int, planned: int) -> None:
                line.counted("scan", done, planned, waits)

            line.text(f"scan ... {waits}")
            # Complete reports stay in this process: they are output, and not stored.
            if app.settings.workers.enabled and not (here or options.full):
                with queues_of(app) as (context, queues):
                    summary = spread_scan(context, options, queues, count)
            else:
                keep_all = keep if options.full else None
                summary = ScanRun(app.context(), options, count, keep_all).run()
        note_families(summary.no_route)
        if output_format == "table":
            code = _show_run(app, summary, verbose)
        else:
            code = _write_run(app, summary, spool, output_format)
    if summary.not_resumed:
        click.echo(
            f"certmgr: run {summary.run_id} began anew, because {summary.not_resumed}.", err=True
        )
    if summary.state != "complete":
        # A suspect run may be our own outage, so clients are not notified of its findings.
        opened = (
            f"{summary.opened:,} finding(s) that a handshake proved were opened, none was closed,"
            " and clients are notified of nothing else"
            if summary.opened
            else "no finding was opened or closed, and no client is notified"
        )
        consequence = (
            opened
            if summary.state == "suspect"
            else "its findings take effect only if it is resumed within an hour (certmgr scan"
            " --resume)"
        )
        click.echo(
            f"certmgr: run {summary.run_id} is {summary.state}: {summary.reason}; {consequence}.",
            err=True,
        )
        # An interrupted run keeps the exit code of the signal. 3 stands for a run that cannot be
        # trusted.
        return app.stop.exit_code if summary.interrupted else 3
    for note in summary.notes:
        click.echo(f"certmgr: run {summary.run_id}: {note}.", err=True)
    return 3 if (summary.too_undetermined or summary.notes) and code == 0 else code


def _write_run(
    app: CommandContext, summary: ScanSummary, spool: ScanSpool, output_format: str
) -> int:
    """Write all endpoints of a run as JSON or CSV, one at a time.

    Those that an earlier process of the run checked are written too, from what is stored.
    """
    statuses = load(app.open(), app.now(), run_id=summary.run_id)
    verdicts: list[str] = []
    if output_format == "json":
        head = {
            "schema": "certmgr.scan/1",
            "started_at": instant(summary.started_at),
            "finished_at": instant(summary.finished_at),
        }
        # The document is written in pieces, so its last brace is left out until the end.
        click.echo(json.dumps(head)[:-1] + ', "endpoints": [', nl=False)
    else:
        click.echo(csv_text(CSV_COLUMNS, []), nl=False)
    for index, endpoint in enumerate(run_endpoints(app.context(), summary, statuses, spool)):
        verdicts.append(endpoint.verdict)
        if output_format == "json":
            text = json.dumps(endpoint.as_row(), default=str)
            click.echo((",\n" if index else "\n") + text, nl=False)
        else:
            # csv_text() writes a header each time, which only the first part may have.
            click.echo(csv_text(CSV_COLUMNS, [csv_row(endpoint)]).split("\n", 1)[1], nl=False)
    if output_format == "json":
        run = {
            "id": summary.run_id,
            "state": summary.state,
            "reason": summary.reason,
            "planned": summary.planned,
            "looked": summary.checked,
            # Endpoints that another process had checked before the interruption.
            "resumed": summary.resumed,
        }
        click.echo(f'\n], "summary": {json.dumps(counts(verdicts))}, "run": {json.dumps(run)}}}')
    if summary.resumed:
        paragraph(
            f"certmgr: run {summary.run_id} went on: {summary.resumed:,} endpoints had been checked"
            " before the interruption. Their rows have what is stored of them: no addresses without"
            " an answer, and no pages if they did not answer.",
            err=True,
        )
    return _code(statuses)


def _code(statuses: Sequence[EndpointStatus]) -> int:
    """Return the exit code of a run for its findings, which is the same for all formats."""
    return 1 if any(s.verdict == Verdict.FAULT for s in statuses) else 0


def _show_run(app: CommandContext, summary: ScanSummary, verbose: bool) -> int:
    moment, database = app.now(), app.open()
    # A small inventory is shown completely; of a large one, only endpoints with findings.
    everything = verbose or summary.checked <= 30
    statuses = load(database, moment, run_id=summary.run_id, skip_healthy=not everything)
    shown = statuses if everything else [s for s in statuses if s.verdict != "ok"]
    # Sorted here, because the order of the database is that of the endpoints.
    shown.sort(key=urgency)
    if shown:
        status_table(shown, moment, verbose)
    total = totals(database, statuses, run_id=summary.run_id)
    verdict_counts = ", ".join(
        f"{total[v]:,} {v}" for v in ("fault", "unknown", "attention", "ok") if total[v]
    )
    numbers = count_findings(statuses)
    with database.read() as conn:
        opened, closed = changes(statuses, *findings.of_run(conn, summary.run_id))
    found = f"; {findings_text(numbers)}" if numbers else ""
    # The numbers of a resumed run include earlier results, which must be stated.
    if summary.resumed:
        paragraph(
            f"Run {summary.run_id} went on: {summary.resumed:,} endpoints had been checked before"
            " the interruption."
        )
    paragraph(
        f"Run {summary.run_id}: {summary.checked:,} of {summary.planned:,} endpoints in"
        f" {summary.seconds:.1f} s: {verdict_counts or 'none'}{found}."
        f" {opened:,} opened, {closed:,} closed."
    )
    if total["endpoints"] > total["ok"]:
        click.echo(NEXT_STEP)
    # Healthy endpoints are not among them, and need not be.
    return _code(statuses)
