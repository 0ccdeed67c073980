"""``certmgr scan``."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.exc import SQLAlchemyError

from certmgr.cli.output import cell, csv_text, echo_json, instant
from certmgr.cli.scan_report import (
    CSV_COLUMNS,
    csv_row,
    document,
    endpoint_row,
    exit_code,
    note_families,
    scan_table,
)
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.cli.status import standing_table
from certmgr.inspection.scan_run import ScanOptions, ScanRun, scan_targets
from certmgr.inspection.status import counts, load, totals
from inventory.db.database import HEAD, make_engine, version
from inventory.errors import CertmgrError, InvalidName, UsageError
from inventory.names import as_ip, normalise
from inventory.store import scan_results
from inventory.targets import parse, parse_port
from inventory.vocabulary import verdict_of

if TYPE_CHECKING:
    from certmgr.inspection.report import EndpointReport
    from certmgr.inspection.scan_run import ScanOptions, ScanSummary
    from inventory.targets import Target


class _Seconds(click.FloatRange):
    """A number of seconds; NaN, which is neither below nor above anything, is none."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return number


SECONDS = _Seconds(min=0.1, max=600)


def overrides_of(texts: tuple[str, ...]) -> dict[tuple[str, int], tuple[str, ...]]:
    """``HOST:PORT:ADDRESS[,ADDRESS]`` as curl has it; IPv6 addresses in brackets or bare."""

    found: dict[tuple[str, int], tuple[str, ...]] = {}
    for text in texts:
        host, _, rest = text.partition(":")
        port, _, addresses = rest.partition(":")
        parsed = [as_ip(a.strip()) for a in addresses.split(",")] if addresses else [None]
        if not all(parsed):
            raise InvalidName(
                f"'{cell(text, 80)}' cannot be used for --resolve", "", "Write HOST:PORT:ADDRESS."
            )
        found[(normalise(host), parse_port(port))] = tuple(dict.fromkeys(str(a) for a in parsed))
    return found


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@client_filter
@tag_filter
@click.option(
    "--resolve",
    "resolves",
    multiple=True,
    metavar="HOST:PORT:ADDRESS",
    help="Visit ADDRESS for HOST:PORT; may be repeated.",
)
@click.option(
    "--ca-file",
    "ca_files",
    multiple=True,
    metavar="PEM",
    help="Also trust these anchors; may be repeated.",
)
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="The whole time for one address.")
@click.option("--connect-timeout", type=SECONDS, metavar="SECONDS", help="For one connection.")
@click.option(
    "--concurrency", type=click.IntRange(1, 20000), metavar="N", help="Connections at once."
)
@click.option(
    "--deep", is_flag=True, help="Also the certificate of the other key type, and TLS 1.0 and 1.1."
)
@click.option(
    "--no-cache", is_flag=True, help="Verify every chain anew, and judge what is remembered again."
)
@click.option(
    "--accept-suspect",
    is_flag=True,
    help="Take over what is found even when many endpoints fail together: the outage is real.",
)
@click.option("--no-http", is_flag=True, help="Leave plain HTTP and the pages out.")
@click.option(
    "--http-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="The port of plain HTTP; else the configuration's, else 80.",
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 in spite of findings.")
@click.option("-v", "--verbose", is_flag=True, help="Show evidence, and what is well.")
@format_option
@pass_app
def scan(
    app: CommandContext,
    targets: tuple[str, ...],
    client: str | None,
    tag: str | None,
    resolves: tuple[str, ...],
    ca_files: tuple[str, ...],
    timeout: float | None,
    connect_timeout: float | None,
    concurrency: int | None,
    deep: bool,
    no_cache: bool,
    accept_suspect: bool,
    no_http: bool,
    http_port: int | None,
    exit_zero: bool,
    verbose: bool,
    form: str,
) -> int:
    """Inspect what is served: the whole inventory, or each TARGET (then nothing is stored).

    TARGET is host[:port][/protocol]; protocols are https, tls, smtp, imap, pop3, ftp, ldap,
    postgres. Exit codes: 0 fine, 1 findings of severity high or critical, 2 wrong call, 3 it could
    not be done or more than 20% stayed undetermined.
    """

    options = ScanOptions(
        client=client,
        tag=tag,
        deep=deep,
        full=form != "table",
        overrides=overrides_of(resolves),
        ca_files=ca_files,
        timeout=timeout,
        connect_timeout=connect_timeout,
        concurrency=concurrency,
        cache=not no_cache,
        accept_suspect=accept_suspect,
        http=not no_http,
        http_port=http_port,
    )
    if targets:
        if client or tag:
            raise UsageError(
                "--client and --tag choose from the inventory",
                "targets were given too",
                "Leave one of them out.",
            )
        code = _scan_targets(app, targets, options, form, verbose)
    else:
        code = _scan_inventory(app, options, form, verbose)
    return 0 if exit_zero and code == 1 else code


def _scan_targets(
    app: CommandContext, texts: tuple[str, ...], options: ScanOptions, form: str, verbose: bool
) -> int:
    targets: list[Target] = list(dict.fromkeys(parse(t) for t in texts))
    started = app.now()
    with terminated_as_interrupt():
        reports = scan_targets(app.settings, options, targets, _known_issuers(app), clock=app.clock)
    rows = [endpoint_row(r, None, []) for r in reports]
    finished = app.now()
    if form == "json":
        echo_json(document(started, finished, rows))
    elif form == "csv":
        click.echo(csv_text(CSV_COLUMNS, map(csv_row, rows)), nl=False)
    else:
        scan_table(rows, verbose)
        note_families({v for r in reports for v in r.families_without_route()})
    return exit_code(rows)


def _known_issuers(app: CommandContext) -> tuple[bytes, ...]:
    """Intermediates of the inventory, where there is one of this version.

    A scan of targets neither makes nor migrates a database.
    """

    url = app.url
    if "://" not in url and not Path(url).is_file():
        return ()
    try:
        engine = make_engine(url)
        if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).is_file():
            return ()
        if version(engine) != HEAD:
            return ()
        with engine.connect() as conn:
            return tuple(scan_results.issuers(conn))
    except (CertmgrError, SQLAlchemyError):
        return ()


class _Progress:
    """Rate and remaining time on stderr, only on a terminal."""

    def __init__(self) -> None:
        self.on = sys.stderr.isatty()
        self.start = time.monotonic()
        self.drawn = 0.0

    def __call__(self, looked: int, planned: int) -> None:
        moment = time.monotonic()
        if not self.on or (moment - self.drawn < 0.2 and looked < planned):
            return
        self.drawn = moment
        rate = looked / max(moment - self.start, 0.001)
        left = (planned - looked) / rate if rate else 0
        click.echo(
            f"\r{looked:,} of {planned:,} ({100 * looked // max(planned, 1)}%), {rate:,.0f}/s,"
            f" {left:,.0f} s left   ",
            nl=False,
            err=True,
        )

    def end(self) -> None:
        if self.on and self.drawn:
            click.echo("\r" + " " * 70 + "\r", nl=False, err=True)


@contextlib.contextmanager
def terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM (a service manager's stop) ends the work as Ctrl-C does, also where the shell started
    it with SIGINT ignored.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


def _scan_inventory(app: CommandContext, options: ScanOptions, form: str, verbose: bool) -> int:
    database = app.open()
    progress = _Progress()
    # A hundred thousand reports do not stay in memory: they wait on disk for the end of the run.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as spool:

        def keep(key: int, report: EndpointReport) -> None:
            spool.write(json.dumps([key, endpoint_row(report, None, [])], default=str) + "\n")

        survey = ScanRun(database, app.settings, options, progress, keep if options.full else None)
        with terminated_as_interrupt():
            summary = survey.run()
        progress.end()
        note_families(summary.no_route)
        if form == "table":
            code = _show_run(app, summary, verbose)
        else:
            code = _write_run(app, summary, spool, form)
    if summary.state != "complete":
        alarm = (
            "nothing was opened or closed, and no client hears of it"
            if summary.state == "suspect"
            else "its findings were not taken over"
        )
        click.echo(
            f"certmgr: run {summary.run_id} is {summary.state}: {summary.reason}; {alarm}.",
            err=True,
        )
        return 3
    return 3 if summary.too_undetermined and code == 0 else code


def _write_run(app: CommandContext, summary: ScanSummary, spool: Any, form: str) -> int:
    """JSON or CSV of everything that the run looked at, written as a stream."""

    standings = {s.id: s for s in load(app.open(), app.now(), run_id=summary.run_id)}
    verdicts: list[str] = []
    spool.seek(0)
    if form == "json":
        head = {
            "schema": "certmgr.scan/1",
            "started_at": instant(summary.started_at),
            "finished_at": instant(summary.finished_at),
        }
        click.echo(json.dumps(head)[:-1] + ', "endpoints": [', nl=False)
    else:
        click.echo(csv_text(CSV_COLUMNS, []), nl=False)
    for index, line in enumerate(spool):
        key, row = json.loads(line)
        known = standings.get(key)
        if known is not None:
            row["client"] = known.client
            taken = {f.code: a for f, a in known.accepted}
            for f in row["findings"]:
                if (a := taken.get(f["code"])) is not None:
                    f["accepted"] = {"until": instant(a.until), "by": a.by, "reason": a.reason}
            row["verdict"] = str(
                verdict_of({f["severity"] for f in row["findings"] if "accepted" not in f})
            )
        verdicts.append(row["verdict"])
        if form == "json":
            click.echo((",\n" if index else "\n") + json.dumps(row), nl=False)
        else:
            click.echo(csv_text(CSV_COLUMNS, [csv_row(row)]).split("\n", 1)[1], nl=False)
    if form == "json":
        run = {
            "id": summary.run_id,
            "state": summary.state,
            "reason": summary.reason,
            "planned": summary.planned,
            "looked": summary.looked,
        }
        click.echo(f'\n], "summary": {json.dumps(counts(verdicts))}, "run": {json.dumps(run)}}}')
    return 1 if "fault" in verdicts else 0


def _show_run(app: CommandContext, summary: ScanSummary, verbose: bool) -> int:
    moment, database = app.now(), app.open()
    everything = verbose or summary.looked <= 30
    standings = load(database, moment, run_id=summary.run_id, troubled=not everything)
    shown = standings if everything else [s for s in standings if s.verdict != "ok"]
    if shown:
        standing_table(shown, moment, verbose)
    total = totals(
        database,
        [s for s in standings if s.findings or s.accepted or s.verdict != "ok"],
        run_id=summary.run_id,
    )
    said = ", ".join(
        f"{total[v]:,} {v}" for v in ("ok", "attention", "fault", "unknown") if total[v]
    )
    click.echo(
        f"Run {summary.run_id}: {summary.looked:,} of {summary.planned:,} endpoints in"
        f" {summary.seconds:.1f} s: {said or 'none'}. {summary.opened:,} finding(s) opened,"
        f" {summary.closed:,} closed."
    )
    return 1 if total["fault"] else 0
