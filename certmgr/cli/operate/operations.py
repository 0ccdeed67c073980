"""``certmgr run``, ``doctor``, ``check`` and ``metrics``."""

from __future__ import annotations

from pathlib import Path

import click

from certmgr.cli.acme.renew import WAITS_FOR_CA
from certmgr.cli.inspect.scan_inventory import page_rate
from certmgr.cli.known_words import require_known
from certmgr.cli.output import cell, show, table
from certmgr.cli.progress import ProgressLine, progress_line
from certmgr.cli.queues import spread_run
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.files import write_whole
from certmgr.operations import metrics as prometheus
from certmgr.operations.check_result import CheckState
from certmgr.operations.cron import run as run_all
from certmgr.operations.doctor import examine
from certmgr.operations.health import UNKNOWN, Thresholds, judge, read
from inventory.errors import CertmgrError


@click.command()
@client_filter
@tag_filter
@click.option(
    "--warning",
    type=click.IntRange(0, 3650),
    default=14,
    show_default=True,
    metavar="DAYS",
    help="WARNING if a certificate ends in fewer days; if it lives under 45 days, only"
    " in its last quarter.",
)
@click.option(
    "--critical",
    type=click.IntRange(0, 3650),
    default=5,
    show_default=True,
    metavar="DAYS",
    help="CRITICAL if a certificate ends in fewer days; if it lives under 45 days, only"
    " in its last sixth.",
)
@click.option(
    "--max-age",
    type=click.FloatRange(0.1, 8760),
    default=26.0,
    show_default=True,
    metavar="HOURS",
    help="UNKNOWN if the last complete scan is older.",
)
@click.option(
    "--max-queue",
    type=click.FloatRange(0.1, 8760),
    default=6.0,
    show_default=True,
    metavar="HOURS",
    help="WARNING if a notice is queued for longer.",
)
@pass_app
def check(
    app: CommandContext,
    client: str | None,
    tag: str | None,
    warning: int,
    critical: int,
    max_age: float,
    max_queue: float,
) -> int:
    """Run as a monitoring plug-in (Nagios, Icinga, Checkmk).

    It prints one line with performance data, from stored scan results. Exit codes: 0 OK, 1 WARNING,
    2 CRITICAL, 3 UNKNOWN or an error.

    \b
    certmgr check --warning 14 --critical 5
    """

    try:
        moment = app.now()
        database = app.open()
        with database.read() as conn:
            # A misspelt tag would select no endpoint, and the plug-in would report OK for ever.
            require_known(conn, tag=tag)
        limits = Thresholds(warning, critical, max_age, max_queue)
        settings = app.settings
        health = read(database, moment, settings=settings, client=client, tag=tag, limits=limits)
        code, line = judge(health, limits, moment)
    # A monitoring system expects one line and exit code 3, not the usual error message.
    except CertmgrError as error:
        code, line = UNKNOWN, f"CERTMGR UNKNOWN - {error}"
    # A monitoring system reads one line; evidence in it may contain control characters.
    click.echo(cell(line, 2000))
    return code


@click.command()
@click.option("--no-scan", is_flag=True, help="Do all other work without a scan.")
@click.option("--here", is_flag=True, help="Work in this process, even if there are workers.")
@click.option("--verbose", "-v", is_flag=True, help="Print what was done even if all is well.")
@pass_app
def run(app: CommandContext, no_scan: bool, here: bool, verbose: bool) -> int:
    """Do all scheduled work: scan, renew, read replies, notify, and call the heartbeat URL.

    Run it from cron. It prints nothing if all was done; otherwise one line on standard error, and
    exit code 3. A notice that is retried later is not a failure. With [workers] enabled, workers
    do the work, and this command waits for them.

    \b
    certmgr run --verbose                 what cron does silently
    """

    with progress_line() as line:

        def draw(part: str, done: int, planned: int) -> None:
            _draw(app, line, part, done, planned)

        # With --here an administrator can work although no worker is alive.
        if app.settings.workers.enabled and not here:
            result = spread_run(app, scan=not no_scan, progress=draw)
        else:
            result = run_all(app.context(), scan=not no_scan, stop=app.stop, progress=draw)
    # Cron mails every line of output, so a good run prints nothing without --verbose.
    if verbose and result.messages:
        click.echo("; ".join(result.messages))
    problems = "; ".join(result.problems)
    if result.interrupted:
        not_done = f" Not done: {', '.join(result.not_done)}." if result.not_done else ""
        more = f" Before: {cell(problems, 1000)}" if problems else ""
        click.echo(
            f"certmgr run: interrupted in: {cell(result.interrupted, 300)}.{not_done}{more}",
            err=True,
        )
        # A service manager expects 128 plus the signal. Problems from before are in the message.
        return app.stop.exit_code
    if result.problems:
        click.echo(f"certmgr run: {cell(problems, 1500)}", err=True)
        return 3
    return 0


# What each part of a run waits for most of its time.
_WAITS = {
    "renew": WAITS_FOR_CA,
    "inbox": "waits for the mail server",
    "notify": "checks again, then sends",
    "cases": "checks installations",
}


def _draw(app: CommandContext, line: ProgressLine, part: str, done: int, planned: int) -> None:
    waits = page_rate(app.settings) if part == "scan" else _WAITS.get(part, "")
    if planned:
        line.counted(part, done, planned, waits)
    else:
        line.text(f"{part} ... {waits}")


@click.command()
@format_option
@pass_app
def doctor(app: CommandContext, output_format: str) -> int:
    """Check the set-up: configuration, clock, resolver, mail server, database, runs, workers.

    Exits 3 if there is a fault.
    """

    # DNS, the mail server and the mailbox may each take seconds to answer.
    with ProgressLine().waiting("doctor: DNS, mail server, mailbox and database"):
        checks = list(examine(app.settings, app.url, app.now()))
    shown = [{"check": x.check, "state": x.state, "what": x.what, "todo": x.todo} for x in checks]
    if output_format == "table":
        symbols = {"ok": "✓ ok", "warning": "! warning", "fault": "✗ fault"}
        table(
            ["STATE", "CHECK", "WHAT", "WHAT TO DO"],
            [[symbols[x.state], x.check, x.what, x.todo] for x in checks],
            [_STYLE.get(x.state) for x in checks],
        )
    else:
        show("doctor", ("check", "state", "what", "todo"), shown, output_format)
    # A warning does not change the exit code, because the set-up works.
    return 3 if any(x.state is CheckState.FAULT for x in checks) else 0


_STYLE = {"fault": "red", "warning": "yellow", "ok": "green"}


@click.command()
@click.option(
    "--output",
    metavar="FILE",
    help="File for the textfile collector, ending in .prom. Default: standard output.",
)
@pass_app
def metrics(app: CommandContext, output: str | None) -> None:
    """Write metrics for Prometheus: verdicts, findings, certificate ends, last complete scan.

    \b
    certmgr metrics --output /var/lib/node-exporter/certmgr.prom
    """

    database, moment = app.open(), app.now()
    workers = app.settings.workers
    with ProgressLine().waiting("metrics"):
        health = read(database, moment, settings=app.settings)
        content = prometheus.text(database, health, moment, workers)
    # Prometheus parses the text itself, so no line may be added.
    if output is None:
        click.echo(content, nl=False)
    else:
        # The exporter that reads the file runs as another user.
        write_whole(Path(output), content.encode(), 0o644)
