"""``certmgr diagnose``: for the support desk."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from certmgr.cli.output import cell, echo_json, instant
from certmgr.cli.scan import SECONDS, _overrides
from certmgr.cli.shared import App, now, pass_app
from inventory.errors import InvalidName

if TYPE_CHECKING:
    from certmgr.diagnose.context import Context
    from certmgr.diagnose.outcome import Outcome
    from certmgr.diagnose.steps import Step
    from inventory.database import Database
    from inventory.targets import Target

_SYMBOLS = {"ok": "✓", "fault": "✗", "unknown": "?", "not reached": "-"}


def _parse(text: str) -> tuple[str, Target, bool, str]:
    """(URL, endpoint, whether it is plain HTTP, path). Without a scheme https is taken."""
    from inventory.names import display, normalise_host
    from inventory.targets import Target

    shown = cell(text, 100)
    url = text.strip() if re.match(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*://", text) else f"https://{text.strip()}"
    try:
        parts = urlsplit(url)
        port = parts.port
        if port == 0:
            raise InvalidName(f"'{shown}' is not a web address", "port 0 is no port", "Write https://shop.example.com/path.")
        if parts.scheme not in ("http", "https"):
            raise InvalidName(
                f"'{shown}' is not a web address",
                "it begins with neither http:// nor https://",
                "Write https://shop.example.com/path.",
            )
        host = normalise_host(parts.hostname or "")
    except ValueError:
        raise InvalidName(f"'{shown}' is not a web address", "", "Write https://shop.example.com/path.") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or not path.isprintable() or " " in path:
        from urllib.parse import quote

        path = quote(path, safe="%/:@!$&'()*+,;=~-._?")
    plain = parts.scheme == "http"
    named = f"[{host}]" if ":" in host else display(host)
    clean = f"{parts.scheme}://{named}{f':{port}' if port else ''}{path}"
    return clean, Target(host, 443 if plain or port is None else port), plain, path


@click.command()
@click.argument("url")
@click.option("--message", "only_message", is_flag=True, help="Only the message to the client, ready to send.")
@click.option("--language", "chosen", metavar="CODE", help="Of the message, such as en or de; else the client's.")
@click.option("--visitor-clock", metavar="DATE", help="What date and time the visitor's device shows, such as 2026-11-30T12:00.")
@click.option(
    "--resolve", "resolves", multiple=True, metavar="HOST:PORT:ADDRESS", help="Visit ADDRESS for HOST:PORT; may be repeated."
)
@click.option("--ca-file", "ca_files", multiple=True, metavar="PEM", help="Also trust these anchors; may be repeated.")
@click.option(
    "--http-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="The port of plain HTTP; else the configuration's, else 80.",
)
@click.option(
    "--https-port", type=click.IntRange(1, 65535), metavar="PORT", help="The port of HTTPS where the URL is http://; else 443."
)
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="The whole time for one address.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 in spite of faults.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@pass_app
def diagnose(
    app: App, url: str, only_message: bool, chosen: str | None, visitor_clock: str | None, resolves: tuple[str, ...], ca_files: tuple[str, ...],
    http_port: int | None, https_port: int | None, timeout: float | None, exit_zero: bool, form: str,
) -> int:  # fmt: skip
    """Reproduce what a visitor sees at URL, step by step, and say which of three it is: the client acts, we are fixing it, or level 2.

    For a host of the inventory it first shows whose it is, what is open, and what changed since it was last good. Exit code 1 where there is
    a fault of severity high or critical.
    """
    from certmgr.diagnose import chrome, message
    from certmgr.diagnose import context as contexts
    from certmgr.diagnose.outcome import decide
    from certmgr.diagnose.steps import page_error, steps
    from certmgr.scan.guard import networks
    from certmgr.survey import Options, look_at
    from inventory.store.runs import vantage
    from notifiers.wording.catalogue import language, require
    from notifiers.wording.scope import STRANGE, for_client

    clean, target, plain, path = _parse(url)
    moment, clock, settings = now(), app.moment(visitor_clock), app.settings
    chosen = None if chosen is None else require(chosen)
    if plain:
        http_port = urlsplit(clean).port or http_port
        if https_port is not None:
            target = type(target)(target.host, https_port)
    database = _inventory(app)
    known = contexts.load(database, target, moment) if database is not None else None
    options = Options(overrides=_overrides(resolves), ca_files=ca_files, http_port=http_port, timeout=timeout, always_http=True)
    if known is not None and known.fixed:
        options.overrides = {(target.host, target.port): known.fixed, **options.overrides}
    report = look_at(
        settings, options, target, (path,), known.parties if known else None, _purpose(known), database,
        ever_good=known is not None and known.last_good is not None,
    )  # fmt: skip
    waived = {a.code for a in known.accepted} if known else set()
    own = {target.host, known.domain if known else target.host}
    strange = any(f.code in STRANGE for f in report.findings)
    findings = list(report.findings)
    spoken = [for_client(f, own, strange=strange) for f in findings]
    error = page_error(report, clean)
    reader = language(
        chosen or (known.language if known else None) or settings.provider.language,
        (known.time_zone if known else None) or settings.provider.time_zone,
    )
    facts = contexts.facts(database, known, report, networks(settings.network.provider, "[network] provider"), clock)
    outcome = decide(report, spoken, facts, reader, plain=plain, error=error)
    text = message.message(outcome, known, clean, moment, settings.provider.name, reader)
    made = steps(report, clean, moment, clock)
    visited = report.web is not None and report.web.document is not None
    shown = chrome.shown(
        findings, [a.address for a in report.addresses], plain=plain, visited=visited, status=error[1] if error else None
    )
    since = contexts.changes(known, report) if known else []
    escalation = message.escalation(clean, report, made, known, since, moment, vantage(), shown)
    asked = message.questions(report, moment) if not outcome.code else []
    if only_message:
        click.echo(text)
    elif form == "json":
        echo_json(_document(clean, known, made, shown, outcome, text, asked, escalation, since, report.findings))
    else:
        staff = decide(report, findings, facts, plain=plain, error=error)
        _show(clean, known, made, shown, staff, text, asked, escalation, since)
    severe = any(f.severity in ("critical", "high") for f in findings if f.code not in waived)
    return 1 if severe and not exit_zero else 0


def _purpose(known: Context | None) -> str:
    """A visitor opens whatever there is, also under a name for which no page is expected."""
    return "redirect" if known is not None and known.purpose == "redirect" else "site"


def _inventory(app: App) -> Database | None:
    """The inventory, where there is one; a diagnosis makes none."""
    from pathlib import Path

    url = app.url
    path = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else url
    if "://" not in path and not Path(path).is_file():
        return None
    return app.open()


def _who(outcome: Outcome) -> str:
    return {"client": "the client", "provider": "we", "staff": "level 2"}[outcome.who]


def _show(
    url: str, known: Context | None, made: tuple[Step, ...], shown: str, outcome: Outcome, text: str, asked: list[tuple[str, str]], escalation: str,
    since: list[str],
) -> None:  # fmt: skip
    from notifiers.wording.english import OUTCOMES

    click.echo(url)
    if known is None:
        click.echo("  not in the inventory")
    else:
        click.echo(
            f"  client {cell(known.client)} {cell(known.client_name)}, account manager {cell(known.account_manager) or 'nobody'}; domain {cell(known.domain)}, server {cell(known.server) or 'none of ours'}"
        )
        who = ", ".join(f"{k} {getattr(known.parties, k) or 'nobody said'}" for k in ("hosts", "dns", "buys", "renews"))
        click.echo(f"  {who}")
        click.echo(
            f"  open: {', '.join(f'{f.code} since {s:%Y-%m-%d}' if s else f.code for f, s in known.open if f.severity != 'info') or 'nothing'}"
        )
        for accepted in known.accepted:
            click.echo(
                f"  accepted: {accepted.code} until {accepted.until:%Y-%m-%d} by {cell(accepted.by)}: {cell(accepted.reason)}"
            )
        click.echo("  told to the client: nothing is recorded")
        click.echo(
            f"  last good look: {instant(known.last_good) or 'never'}"
            + (f"; since then {'; '.join(map(cell, since))}" if since else "; nothing changed")
        )
        for edit in known.edits:
            click.echo(f"  edited: {cell(edit)}")
    click.echo("")
    for step in made:
        click.echo(f"{_SYMBOLS[step.state]} {step.name}: {cell(step.text, 600)}")
    click.echo(f"  Chrome shows: {shown}")
    click.echo(f"\nOUTCOME  {OUTCOMES[outcome.outcome]}")
    if outcome.code:
        click.echo(f"cause    {cell(outcome.cause, 600)}")
        click.echo(f"who      {_who(outcome)}" + (f": {cell(outcome.person)} by {instant(outcome.by)}" if outcome.person else ""))
        click.echo(f"do       {cell(outcome.instruction, 600)}")
    else:
        click.echo("cause    not found: from here everything is in order")
        click.echo("\nAsk the customer:")
        for question, meaning in asked:
            click.echo(f"- {question}\n    {cell(meaning, 600)}")
    if outcome.outcome == "escalated":
        click.echo(f"\n--- for level 2\n{cell_lines(escalation)}")
    click.echo(f"\n--- message to the client\n{cell_lines(text)}")


def cell_lines(text: str) -> str:
    return "\n".join(cell(line, 1000) for line in text.split("\n"))


def _document(
    url: str, known: Context | None, made: tuple[Step, ...], shown: str, outcome: Outcome, text: str, asked: list[tuple[str, str]], escalation: str,
    since: list[str], findings: Any,
) -> dict[str, Any]:  # fmt: skip
    return {
        "schema": "certmgr.diagnose/1", "url": url,
        "context": None if known is None else {
            "client": known.client, "client_name": known.client_name, "account_manager": known.account_manager, "domain": known.domain,
            "server": known.server, "open": [{"code": f.code, "since": instant(s)} for f, s in known.open], "told": [],
            "last_good": instant(known.last_good), "changes": since,
        },
        "steps": [{"step": s.name, "state": s.state, "text": s.text} for s in made], "chrome": shown,
        "outcome": outcome.outcome, "code": outcome.code or None, "cause": outcome.cause or None, "who": outcome.who,
        "instruction": outcome.instruction or None, "person": outcome.person or None, "by": instant(outcome.by), "addresses": list(outcome.partial),
        "message": text, "questions": [{"question": q, "meaning": m} for q, m in asked],
        "escalation": escalation if outcome.outcome == "escalated" else None,
        "findings": [{"code": f.code, "severity": str(f.severity), "actor": str(f.actor), "addresses": list(f.addresses)} for f in findings],
    }  # fmt: skip
