"""The message to the client, ready to send, and the text that goes to level 2. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from certmgr.diagnose.context import HostContext
from certmgr.diagnose.outcome import DiagnosisOutcome
from certmgr.diagnose.steps import DiagnosisStep
from certmgr.inspection.report import EndpointReport
from inventory.names import display
from notifiers.wording import diagnose as words
from notifiers.wording.catalogue import Language
from notifiers.wording.report import ReportPhrases


def message(
    outcome: DiagnosisOutcome,
    context: HostContext | None,
    url: str,
    now: datetime,
    provider: str,
    language: Language,
) -> str:
    """In the client's language: what we saw, which of the three outcomes, and what to do."""
    name = context.contact if context is not None else None
    greeting = (
        language(words.GREETING).format(name=name) if name else language(words.GREETING_PLAIN)
    )
    lines = [greeting, "", language(words.LOOKED).format(url=url, date=language.instant(now))]
    if not outcome.code:
        lines += [language(words.NOTHING_SEEN), *[f"- {language(q)}" for q, _ in words.QUESTIONS]]
    elif outcome.outcome == "you-act":
        lines += ["", f"{language(words.ACT)} {outcome.cause}", outcome.instruction]
    elif outcome.outcome == "we-act" and outcome.by is not None:
        by = language(ReportPhrases.until).format(date=language.date(outcome.by))
        lines += [
            "",
            f"{language(words.WE)} {outcome.cause}",
            language(words.DONE_BY).format(by=by, person=outcome.person),
        ]
    else:
        lines += ["", f"{language(words.PASSED)} {outcome.cause}", language(words.NEXT)]
    signed = [
        x for x in ((context.account_manager if context is not None else None), provider) if x
    ]
    return "\n".join([*lines, "", language(words.THANKS), *signed])


def questions(report: EndpointReport, now: datetime) -> list[tuple[str, str]]:
    """What to ask, and what each answer would mean."""
    leaf = report.certificate
    validity = "at times that could not be read"
    if leaf is not None and leaf.not_before is not None and leaf.not_after is not None:
        validity = f"from {leaf.not_before:%Y-%m-%d %H:%M} to {leaf.not_after:%Y-%m-%d %H:%M} UTC"
    addresses = ", ".join(a.address for a in report.addresses) or "no address"
    host = display(report.target.host)
    return [
        (
            q,
            m.replace("{validity}", validity)
            .replace("{addresses}", addresses)
            .replace("{host}", host),
        )
        for q, m in words.QUESTIONS
    ]


def escalation(
    url: str,
    report: EndpointReport,
    made: Sequence[DiagnosisStep],
    context: HostContext | None,
    since: Sequence[str],
    now: datetime,
    vantage: str,
    shown: str,
) -> str:
    """Everything that was tried, for level 2, so that nobody asks it again."""
    lines = [
        f"To level 2: {url}",
        f"Looked at {now:%Y-%m-%d %H:%M} UTC from {vantage}. Chrome would show: {shown}.",
    ]
    if context is not None:
        lines.append(
            f"Client {context.client} {context.client_name}, domain {context.domain}, server"
            f" {context.server or 'none of ours'}."
        )
    lines += [f"- {s.name}: {s.state}: {s.text}" for s in made]
    lines += [f"- changed: {c}" for c in since]
    if context is not None:
        lines += [
            f"- open since {s:%Y-%m-%d}: {f.code}"
            for f, s in context.open
            if s is not None and f.severity != "info"
        ]
    lines += [
        f"- finding {f.code} ({f.severity}) at {', '.join(f.addresses) or 'the name'}"
        for f in report.findings
    ]
    return "\n".join(lines)
