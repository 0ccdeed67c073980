"""``certmgr run``, ``doctor``, ``audit``, ``check`` and ``metrics``."""

from __future__ import annotations

from pathlib import Path

import click

from certmgr.cli.output import cell, epoch_text, show, table
from certmgr.cli.scan import terminated_as_interrupt
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.files import write_whole
from certmgr.operations import metrics as numbers
from certmgr.operations.cron import run as work
from certmgr.operations.doctor import FAULT, examine
from certmgr.operations.health import UNKNOWN, Thresholds, judge, read
from inventory.db import audit_chain
from inventory.errors import CertmgrError
from inventory.store import audit_log as auditlog
from inventory.store import jobs


@click.command()
@client_filter
@tag_filter
@click.option(
    "--warning",
    type=click.IntRange(0, 3650),
    default=14,
    show_default=True,
    metavar="DAYS",
    help="Warn when a certificate ends sooner.",
)
@click.option(
    "--critical",
    type=click.IntRange(0, 3650),
    default=5,
    show_default=True,
    metavar="DAYS",
    help="Critical when one ends sooner.",
)
@click.option(
    "--max-age",
    type=click.FloatRange(0.1, 8760),
    default=26.0,
    show_default=True,
    metavar="HOURS",
    help="Unknown when the last complete scan is older.",
)
@click.option(
    "--max-queue",
    type=click.FloatRange(0.1, 8760),
    default=6.0,
    show_default=True,
    metavar="HOURS",
    help="Warn when a notice waits longer.",
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
    """A monitoring plug-in (Nagios, Icinga, Checkmk): one line with performance data from what
    scans have stored.

    Exit codes are those of plug-ins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; also 3 where it cannot
    be done.
    """

    try:
        moment = app.now()
        code, line = judge(
            read(app.open(), moment, client=client, tag=tag),
            Thresholds(warning, critical, max_age, max_queue),
            moment,
        )
    except CertmgrError as error:
        code, line = UNKNOWN, f"CERTMGR UNKNOWN - {error}"
    click.echo(cell(line, 2000))
    return code


@click.command()
@click.option("--no-scan", is_flag=True, help="Only read the answers and notify.")
@click.option("--verbose", "-v", is_flag=True, help="Say what was done also when all is well.")
@pass_app
def run(app: CommandContext, no_scan: bool, verbose: bool) -> int:
    """The one line for cron: scan, read the answers, notify, and call the heartbeat URL.

    Silent when all was done; otherwise one line on standard error and exit 3. A notice that is
    tried again later is no failure.
    """

    with terminated_as_interrupt():
        done = work(app.open(), app.settings, scan=not no_scan)
    if verbose and done.said:
        click.echo("; ".join(done.said))
    if done.problems:
        click.echo(f"certmgr run: {cell('; '.join(done.problems), 1500)}", err=True)
        return 3
    return 0


@click.command()
@format_option
@pass_app
def doctor(app: CommandContext, form: str) -> int:
    """Check configuration, database, clock, resolver, secrets, mail server, SPF, notices and runs.

    Exit 3 where there is a fault.
    """

    lines = list(examine(app.settings, app.url, app.now()))
    shown = [{"check": x.check, "state": x.state, "what": x.what, "todo": x.todo} for x in lines]
    if form == "table":
        symbols = {"ok": "✓ ok", "warning": "! warning", "fault": "✗ fault"}
        table(
            ["STATE", "CHECK", "WHAT", "WHAT TO DO"],
            [[symbols[x.state], x.check, x.what, x.todo] for x in lines],
            [_STYLE.get(x.state) for x in lines],
        )
    else:
        show("doctor", ("check", "state", "what", "todo"), shown, form)
    return 3 if any(x.state == FAULT for x in lines) else 0


_STYLE = {"fault": "red", "warning": "yellow", "ok": "green"}


@click.group()
def audit() -> None:
    """The audit log: every change, chained, with ids in the place of personal data."""


@audit.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, metavar="N"
)
@click.option(
    "--kind",
    metavar="KIND",
    help="Only entries about this kind of record: client, notice, run, ...",
)
@format_option
@pass_app
def audit_list(app: CommandContext, limit: int, kind: str | None, form: str) -> None:
    """Show the last entries, newest first."""

    with app.open().read() as conn:
        rows = auditlog.last(conn, limit, kind)
    shown = [dict(r) | {"at": epoch_text(r["at"])} for r in rows]
    show(
        "entries",
        ("id", "at", "actor", "action", "kind", "row_id", "detail"),
        shown,
        form,
        keys=("id", "at", "actor", "action", "kind", "row_id", "detail", "hash"),
    )


@audit.command("verify")
@click.option(
    "--expect",
    metavar="HASH",
    help="A head that left this machine with a digest: it must still be in the log.",
)
@pass_app
def audit_verify(app: CommandContext, expect: str | None) -> int:
    """Walk the whole chain. Exit 3 where an entry was changed, or entries were taken away."""

    with app.open().read() as conn:
        wrong, head, count = audit_chain.broken(auditlog.entries(conn))
        known = [
            h
            for h in (expect, jobs.state(conn, "digest")["detail"].get("head"))
            if h and h != audit_chain.START
        ]
        missing = next((h for h in known if auditlog.has(conn, h.lower()) is None), None)
    if wrong is not None:
        raise CertmgrError(
            f"The audit log was changed: entry {wrong} does not follow the one before it",
            "",
            "Restore a backup, and compare.",
        )
    if missing is not None:
        raise CertmgrError(
            f"The audit log was cut: the head {cell(missing, 70)} is not in it",
            "entries were taken away",
            "Restore a backup, and compare.",
        )
    click.echo(f"{count} entries follow each other. Head {head}")
    return 0


@click.command()
@click.option(
    "--output",
    metavar="FILE",
    help="The file for the textfile collector, ending in .prom; else standard output.",
)
@pass_app
def metrics(app: CommandContext, output: str | None) -> None:
    """Write numbers for Prometheus: verdicts, findings by code, the end of each certificate, the
    last good scan.
    """

    database, moment = app.open(), app.now()
    content = numbers.text(database, read(database, moment), moment)
    if output is None:
        click.echo(content, nl=False)
    else:
        write_whole(Path(output), content.encode(), 0o644)  # another user's exporter reads it
