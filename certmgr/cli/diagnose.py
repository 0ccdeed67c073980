"""``certmgr diagnose``: for the support desk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from certmgr.cli.output import cell, echo_json, epoch_text, instant
from certmgr.cli.scan import SECONDS, overrides_of
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.diagnose.examination import diagnose as run
from certmgr.diagnose.question import parse
from certmgr.inspection.scan_run import ScanOptions
from inventory.store.runs import vantage
from notifiers.wording.catalogue import require
from notifiers.wording.english import OUTCOMES

if TYPE_CHECKING:
    from certmgr.diagnose.context import HostContext
    from certmgr.diagnose.examination import Diagnosis
    from inventory.db.database import Database

_SYMBOLS = {"ok": "✓", "fault": "✗", "unknown": "?", "not reached": "-"}
_WHO = {"client": "the client", "provider": "we", "staff": "level 2"}


@click.command()
@click.argument("url")
@click.option(
    "--message", "only_message", is_flag=True, help="Only the message to the client, ready to send."
)
@click.option(
    "--language",
    "chosen",
    metavar="CODE",
    help="Of the message, such as en or de; else the client's.",
)
@click.option(
    "--visitor-clock",
    metavar="DATE",
    help="What date and time the visitor's device shows, such as 2026-11-30T12:00.",
)
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
@click.option(
    "--http-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="The port of plain HTTP; else the configuration's, else 80.",
)
@click.option(
    "--https-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="The port of HTTPS where the URL is http://; else 443.",
)
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="The whole time for one address.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 in spite of faults.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@pass_app
def diagnose(
    app: CommandContext,
    url: str,
    only_message: bool,
    chosen: str | None,
    visitor_clock: str | None,
    resolves: tuple[str, ...],
    ca_files: tuple[str, ...],
    http_port: int | None,
    https_port: int | None,
    timeout: float | None,
    exit_zero: bool,
    form: str,
) -> int:
    """Reproduce what a visitor sees at URL, step by step, and say which of three it is: the client
    acts, we are fixing it, or level 2.

    For a host of the inventory it first shows whose it is, what is open, and what changed since it
    was last good. Exit code 1 where there is a fault of severity high or critical.
    """

    question, clock = parse(url, https_port), app.moment(visitor_clock)
    options = ScanOptions(
        overrides=overrides_of(resolves),
        ca_files=ca_files,
        http_port=question.http_port or http_port,
        timeout=timeout,
        always_http=True,
    )
    found = run(
        app.settings,
        _inventory(app),
        question,
        options,
        app.now(),
        vantage=vantage(),
        clock=clock,
        chosen=None if chosen is None else require(chosen),
    )
    if only_message:
        click.echo(found.message)
    elif form == "json":
        echo_json(_document(found))
    else:
        _show(found)
    return 1 if found.severe and not exit_zero else 0


def _inventory(app: CommandContext) -> Database | None:
    """The inventory, where there is one; a diagnosis makes none."""

    url = app.url
    path = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else url
    if "://" not in path and not Path(path).is_file():
        return None
    return app.open()


def _show(found: Diagnosis) -> None:
    click.echo(found.url)
    if found.context is None:
        click.echo("  not in the inventory")
    else:
        _show_context(found.context, found.changes)
    click.echo("")
    for step in found.steps:
        click.echo(f"{_SYMBOLS[step.state]} {step.name}: {cell(step.text, 600)}")
    click.echo(f"  Chrome shows: {cell(found.shown, 400)}")
    outcome = found.staff
    click.echo(f"\nOUTCOME  {OUTCOMES[outcome.outcome]}")
    if outcome.code:
        click.echo(f"cause    {cell(outcome.cause, 600)}")
        click.echo(
            f"who      {_WHO[outcome.who]}"
            + (f": {cell(outcome.person)} by {instant(outcome.by)}" if outcome.person else "")
        )
        click.echo(f"do       {cell(outcome.instruction, 600)}")
    else:
        click.echo("cause    not found: from here everything is in order")
        click.echo("\nAsk the customer:")
        for question, meaning in found.questions:
            click.echo(f"- {question}\n    {cell(meaning, 600)}")
    if outcome.outcome == "escalated":
        click.echo(f"\n--- for level 2\n{_lines(found.escalation)}")
    click.echo(f"\n--- message to the client\n{_lines(found.message)}")


def _show_context(known: HostContext, changes: list[str]) -> None:
    click.echo(
        f"  client {cell(known.client)} {cell(known.client_name)}, account manager"
        f" {cell(known.account_manager) or 'nobody'}"
    )
    click.echo(f"  domain {cell(known.domain)}, server {cell(known.server) or 'none of ours'}")
    click.echo(
        "  "
        + ", ".join(
            f"{k} {getattr(known.parties, k) or 'nobody said'}"
            for k in ("hosts", "dns", "buys", "renews")
        )
    )
    said = [
        f"{f.code} since {s:%Y-%m-%d}" if s else f.code
        for f, s in known.open
        if f.severity != "info"
    ]
    click.echo(f"  open: {', '.join(said) or 'nothing'}")
    for accepted in known.accepted:
        click.echo(
            f"  accepted: {accepted.code} until {accepted.until:%Y-%m-%d} by {cell(accepted.by)}:"
            f" {cell(accepted.reason)}"
        )
    for told in known.told:
        fate = f"sent {epoch_text(told['sent_at'])}" if told["sent_at"] else told["state"]
        answered = f", acknowledged {epoch_text(told['acked_at'])}" if told["acked_at"] else ""
        click.echo(f"  told to the client: {cell(told['subject'])} ({fate}{answered})")
    if not known.told:
        click.echo("  told to the client: nothing yet")
    since = f"since then {'; '.join(map(cell, changes))}" if changes else "nothing changed"
    click.echo(f"  last good look: {instant(known.last_good) or 'never'}; {since}")
    for edit in known.edits:
        click.echo(f"  edited: {cell(edit)}")


def _lines(text: str) -> str:
    return "\n".join(cell(line, 1000) for line in text.split("\n"))


def _document(found: Diagnosis) -> dict[str, Any]:
    """``certmgr.diagnose/1``."""
    known, outcome = found.context, found.outcome
    return {
        "schema": "certmgr.diagnose/1",
        "url": found.url,
        "context": (
            None
            if known is None
            else {
                "client": known.client,
                "client_name": known.client_name,
                "account_manager": known.account_manager,
                "domain": known.domain,
                "server": known.server,
                "open": [{"code": f.code, "since": instant(s)} for f, s in known.open],
                "told": [
                    {
                        "notice": t["id"],
                        "reference": t["reference"],
                        "outcome": t["outcome"],
                        "state": t["state"],
                        "subject": t["subject"],
                        "sent_at": epoch_text(t["sent_at"]),
                        "acknowledged_at": epoch_text(t["acked_at"]),
                    }
                    for t in known.told
                ],
                "last_good": instant(known.last_good),
                "changes": found.changes,
            }
        ),
        "steps": [{"step": s.name, "state": s.state, "text": s.text} for s in found.steps],
        "chrome": found.shown,
        "outcome": outcome.outcome,
        "code": outcome.code or None,
        "cause": outcome.cause or None,
        "who": outcome.who,
        "instruction": outcome.instruction or None,
        "person": outcome.person or None,
        "by": instant(outcome.by),
        "addresses": list(outcome.partial),
        "message": found.message,
        "questions": [{"question": q, "meaning": m} for q, m in found.questions],
        "escalation": found.escalation if outcome.outcome == "escalated" else None,
        "findings": [
            {
                "code": f.code,
                "severity": str(f.severity),
                "actor": str(f.actor),
                "addresses": list(f.addresses),
            }
            for f in found.findings
        ],
    }
