"""``certmgr diagnose``: diagnosis of a URL for support agents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from certmgr.cli.history import stamp_in
from certmgr.cli.inspect.diagnosis_document import HISTORY_SHOWN, document
from certmgr.cli.inspect.scan import SECONDS, overrides_of
from certmgr.cli.output import (
    cell,
    echo_json,
    local_day,
    local_time,
    pairs,
    paragraph,
)
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.diagnose.examination import DiagnosisOptions
from certmgr.diagnose.examination import diagnose as run_diagnosis
from certmgr.diagnose.notice_status import delivery_text, held_text
from certmgr.diagnose.question import parse
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import ProbeContext
from inventory.names import display
from inventory.store.runs import vantage
from inventory.store.suggestions import similar_hosts
from notifiers.wording.catalogue import require
from notifiers.wording.verdicts import OUTCOMES

if TYPE_CHECKING:
    from certmgr.diagnose.context import HostContext
    from certmgr.diagnose.examination import Diagnosis
    from certmgr.diagnose.question import DiagnosisRequest
    from inventory.db.database import Database

_SYMBOLS = {"ok": "✓", "fault": "✗", "unknown": "?", "not reached": "-"}
_NO_TICKET = "There is no ticket yet; to open one, add --escalate."
_WHO = {"client": "the client", "provider": "we", "staff": "level 2"}


@click.command()
@click.argument("url")
@click.option(
    "--message", "only_message", is_flag=True, help="Print only the message to the client."
)
@click.option(
    "--language",
    "language",
    metavar="CODE",
    help="Language of the message, such as en or de. Default: that of the client.",
)
@click.option(
    "--visitor-clock",
    metavar="DATE",
    help="Date and time that the visitor's device shows, such as 2026-11-30T12:00.",
)
@click.option(
    "--resolve",
    "resolves",
    multiple=True,
    metavar="HOST:PORT:ADDRESS",
    help="Connect to ADDRESS for HOST:PORT; may be repeated.",
)
@click.option(
    "--ca-file",
    "ca_files",
    multiple=True,
    metavar="FILE",
    help="Also trust the CA certificates in FILE (PEM, DER, PKCS#7); may be repeated.",
)
@click.option(
    "--http-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of plain HTTP. Default: that of the configuration, or 80.",
)
@click.option(
    "--https-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of HTTPS if the URL is http://. Default: 443.",
)
@click.option(
    "--internal",
    is_flag=True,
    help="Also visit internal addresses that the name points to.",
)
@click.option(
    "--escalate",
    is_flag=True,
    help="Open a ticket at level 2, and state its reference in the message to the client.",
)
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="Time limit per address.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 even if there are faults.")
@click.option(
    "--format",
    "output_format",
    # A diagnosis is one document and has no rows, so there is no CSV.
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
@pass_app
def diagnose(
    app: CommandContext,
    url: str,
    only_message: bool,
    language: str | None,
    visitor_clock: str | None,
    resolves: tuple[str, ...],
    ca_files: tuple[str, ...],
    http_port: int | None,
    https_port: int | None,
    internal: bool,
    escalate: bool,
    timeout: float | None,
    exit_zero: bool,
    output_format: str,
) -> int:
    """Reproduce step by step what a visitor sees at URL, and report who has to act.

    The outcome is one of three: the client acts, we are fixing it, or level 2 takes over. For a
    host of the inventory, the output starts with the client, the open findings, and the changes
    since the last good result. Exit code 1 if there is a fault of severity high or critical.

    \b
    certmgr diagnose https://shop.example.com/checkout
    certmgr diagnose shop.example.com --message
    """

    # A wrong date on the visitor's device makes a valid certificate appear expired.
    question, clock = parse(url, https_port), app.moment(visitor_clock)
    options = ScanOptions(
        overrides=overrides_of(resolves),
        ca_files=ca_files,
        # The URL is what the visitor uses, so its port precedes the option.
        http_port=question.http_port or http_port,
        timeout=timeout,
        # Visitors may type a name without https://, so plain HTTP is checked even if scans leave it
        # out.
        always_http=True,
    )
    # A misspelt language is refused before the probes, which take seconds.
    chosen = None if language is None else require(language)
    context = ProbeContext(settings=app.settings, database=_inventory(app), clock=app.clock)
    choices = DiagnosisOptions(
        vantage=vantage(), clock=clock, language=chosen, internal=internal, escalate=escalate
    )
    waiting = f"{cell(question.target.host, 40)}: DNS, HTTP and HTTPS at each address"
    with ProgressLine().waiting(waiting):
        diagnosis = run_diagnosis(context, question, options, choices)
    if only_message or output_format == "json":
        _print(diagnosis, only_message=only_message)
    else:
        _show(diagnosis, app.settings.provider.time_zone, _similar(context, diagnosis, question))
    if escalate and output_format == "table":
        # Also for a fault that the client or an assignee fixes: the agent asked for it.
        click.echo(
            f"Passed to level 2, reference {diagnosis.reference}; the administrators on call are"
            " notified by the next run.",
            err=True,
        )
    return 1 if diagnosis.severe and not exit_zero else 0


def _print(diagnosis: Diagnosis, *, only_message: bool) -> None:
    """Print the message alone, or the document of a diagnosis."""
    if not only_message:
        echo_json(document(diagnosis))
        return
    # Names in it come from the database, and the message is shown on a terminal first.
    for line in diagnosis.message.splitlines():
        click.echo(cell(line, 2000))


def _similar(context: ProbeContext, diagnosis: Diagnosis, question: DiagnosisRequest) -> list[str]:
    """Return domains of the inventory that may be meant by a host that is none of them."""
    if diagnosis.context is not None or context.database is None:
        return []
    with context.database.read() as conn:
        return similar_hosts(conn, question.target.host)


def _inventory(app: CommandContext) -> Database | None:
    """Return the inventory if it exists. A diagnosis does not create one."""

    url = app.url
    path = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else url
    # Opening a missing SQLite file would create an empty inventory.
    if "://" not in path and not Path(path).is_file():
        return None
    return app.open()


def _show(diagnosis: Diagnosis, time_zone: str, similar: Sequence[str]) -> None:
    """Print a diagnosis for a terminal."""
    click.echo(diagnosis.url)
    if diagnosis.context is None:
        click.echo("  not in the inventory")
        if similar:
            click.echo(f"  similar: {cell(', '.join(map(display, similar)), 300)}")
    else:
        _show_context(diagnosis.context, diagnosis.changes, time_zone)
    click.echo("")
    for step in diagnosis.steps:
        _fact(f"{_SYMBOLS[step.state]} {step.name}: {cell(step.text, 600)}", "")
    if diagnosis.planned is not None:
        _fact(f"renewal: {cell(diagnosis.planned.description(ZoneInfo(time_zone)), 300)}")
    _fact(f"Chrome shows: {cell(diagnosis.shown, 400)}")
    # The version for staff may name other clients; the client's message never does.
    outcome = diagnosis.staff
    click.echo()
    person = f": {cell(outcome.person)} by {local_time(outcome.by)}" if outcome.person else ""
    known = outcome.code
    pairs(
        [
            ("OUTCOME", _outcome_text(diagnosis)),
            ("cause", outcome.cause if known else "not found: no fault is visible from here"),
            ("who", f"{_WHO[outcome.who]}{person}" if known else None),
            ("do", outcome.instruction if known else None),
        ]
    )
    if not known:
        # The fault may be on the visitor's side, where certmgr cannot check.
        click.echo("\nAsk the client:")
        for question, meaning in diagnosis.questions:
            _fact(question, "- ", "  ")
            _fact(cell(meaning, 600), "    ")
    # Level 2 needs the evidence; for other outcomes the instruction is enough.
    if outcome.outcome == "escalated":
        click.echo(f"\n--- for level 2\n{_lines(diagnosis.escalation)}")
    click.echo(f"\n--- message to the client\n{_lines(diagnosis.message)}")


def _outcome_text(diagnosis: Diagnosis) -> str:
    """Return the outcome. It was passed to level 2 only if there is a ticket."""
    outcome = diagnosis.staff
    if outcome.outcome != "escalated":
        return OUTCOMES[outcome.outcome]
    if diagnosis.reference:
        return f"It was passed to level 2, reference {diagnosis.reference}."
    if not outcome.code:
        return f"No fault was seen from here. Ask the client the questions below. {_NO_TICKET}"
    return f"For {'us' if outcome.who == 'provider' else 'level 2'}. {_NO_TICKET}"


def _show_context(context: HostContext, changes: list[str], zone: str) -> None:
    """Print what the inventory knows about the host."""
    _fact(
        f"client {cell(context.client)} {cell(context.client_name)}, account manager"
        f" {cell(context.account_manager) or 'none'}"
    )
    _fact(
        f"domain {cell(context.domain)}, server {cell(context.server) or 'none of the inventory'}"
    )
    _fact(
        ", ".join(
            f"{k} {getattr(context.parties, k) or 'unknown'}"
            for k in ("hosts", "dns", "buys", "renews")
        )
    )
    _fact(f"{cell(context.renewal, 300)}")
    # Remarks of severity info are no faults.
    open_findings = [
        f"{f.code} since {local_day(s)}" if s else f.code
        for f, s in context.open
        if f.severity != "info"
    ]
    _fact(f"open: {', '.join(open_findings) or 'nothing'}")
    # Visitors see an accepted fault as well, so the agent has to know of it.
    for accepted in context.accepted:
        _fact(
            f"accepted: {accepted.code} until {local_day(accepted.until)} by {cell(accepted.by)}:"
            f" {cell(accepted.reason)}"
        )
    stamp = stamp_in(zone)
    for notice in context.notices:
        status = cell(delivery_text(notice, stamp), 400)
        _fact(f"notice to the client: {cell(notice.subject)} ({status})")
    # A held message explains why a client has not heard of the fault.
    for held in context.held:
        _fact(f"notice to the client: {cell(held_text(held, stamp), 400)}")
    if not context.notices and not context.held:
        # Stated, because an agent would otherwise assume that the client knows of the fault.
        _fact("notice to the client: none yet")
    since = f"since then {'; '.join(map(cell, changes))}" if changes else "nothing changed"
    _fact(f"last good result: {local_time(context.last_good) or 'never'}; {since}")
    if context.history:
        _fact("history (all of it: certmgr domain show NAME --history):")
    for entry in context.history[-HISTORY_SHOWN:]:
        _fact(f"{entry.local}: {cell(entry.text)}", "    ")


def _fact(text: str, first: str = "  ", indent: str | None = None) -> None:
    """Print one fact, folded at words; what does not fit goes on below its text."""
    paragraph(text, first + "  " if indent is None else indent, first)


def _lines(text: str) -> str:
    """Return the text with unprintable characters replaced, line by line."""
    return "\n".join(cell(line, 1000) for line in text.split("\n"))
