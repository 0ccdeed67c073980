"""The texts of a diagnosis: the message to the client, and the escalation to level 2. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from certmgr.diagnose.context import HostContext
from certmgr.diagnose.outcome import DiagnosisOutcome
from certmgr.diagnose.steps import DiagnosisStep
from certmgr.inspection.report import EndpointReport
from certmgr.renewers.plan import RenewalPlan
from inventory.dates import minute_text
from inventory.names import display
from notifiers.wording import diagnose as words
from notifiers.wording.catalogue import Language
from notifiers.wording.renewals import PLANNED_MESSAGE
from notifiers.wording.report import ReportPhrases


def message(
    outcome: DiagnosisOutcome,
    context: HostContext | None,
    url: str,
    now: datetime,
    provider: str,
    language: Language,
    *,
    reference: str = "",
    planned: str = "",
) -> str:
    """Return the message to the client, ready to send.

    It names the cause, which of the three outcomes it is, and what to do.

    Args:
        outcome: The outcome in the language of the client.
        context: The inventory's data about the host; None if the host is not in it.
        url: The URL that was diagnosed.
        now: The time of the diagnosis.
        provider: The name of the provider.
        language: The language of the client.
        reference: The reference of the ticket about the cause; empty if there is none.
        planned: That the certificate is renewed as planned; empty if no renewal is due.
    """
    name = context.contact if context is not None else None
    greeting = (
        language(words.GREETING).format(name=name) if name else language(words.GREETING_PLAIN)
    )
    lines = [greeting, "", language(words.OPENED).format(url=url, date=language.timestamp(now))]
    # If nothing was found, the answers of the client are the only further evidence.
    if not outcome.code:
        if reference:
            lines += [language(words.PASSED).format(reference=reference)]
        lines += [language(words.NO_FAULT_FOUND), *[f"- {language(q)}" for q, _ in words.QUESTIONS]]
    elif outcome.outcome == "you-act":
        lines += ["", f"{language(words.YOU_ACT)} {outcome.cause}", outcome.instruction]
    # A date is promised only if the fault is assigned with one.
    elif outcome.outcome == "we-act" and outcome.by is not None:
        by = language(ReportPhrases.until).format(date=language.date(outcome.by))
        lines += [
            "",
            f"{language(words.WE_ACT)} {outcome.cause}",
            language(words.DONE_BY).format(by=by, person=outcome.person),
        ]
    # Without a ticket, nothing was passed to anyone yet, so it is not claimed.
    elif reference:
        passed = language(words.ESCALATED).format(reference=reference)
        lines += ["", f"{passed} {outcome.cause}", language(words.NEXT_UPDATE)]
    else:
        lines += ["", f"{language(words.OUR_TURN)} {outcome.cause}", language(words.NO_ACTION)]
    if planned:
        lines += ["", planned]
    signature = [
        x for x in ((context.account_manager if context is not None else None), provider) if x
    ]
    return "\n".join([*lines, "", language(words.THANKS), *signature])


def planned_text(plan: RenewalPlan | None, report: EndpointReport, language: Language) -> str:
    """Return by whom and until when the certificate is renewed; empty if that is not due."""
    leaf = report.certificate
    if plan is None or leaf is None or leaf.not_after is None:
        return ""
    return language(PLANNED_MESSAGE).format(
        host=display(report.target.host),
        end=language.date(leaf.not_after),
        plan=plan.text(language),
    )


def questions(report: EndpointReport, zone: tzinfo) -> list[tuple[str, str]]:
    """Return the questions to ask the client, each with what the answers would mean."""
    leaf = report.certificate
    validity = "at dates that could not be parsed"
    if leaf is not None and leaf.not_before is not None and leaf.not_after is not None:
        begin, end = (minute_text(t, zone) for t in (leaf.not_before, leaf.not_after))
        validity = f"from {begin} to {end}"
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
    steps: Sequence[DiagnosisStep],
    context: HostContext | None,
    changes: Sequence[str],
    now: datetime,
    vantage: str,
    shown: str,
    zone: tzinfo,
) -> str:
    """Return the text for level 2: all results, so that the client is not asked again.

    Args:
        url: The URL that was diagnosed.
        report: The result of the scan.
        steps: The steps of the diagnosis.
        context: The inventory's data about the host; None if the host is not in it.
        changes: What changed since the last good scan.
        now: The time of the diagnosis.
        vantage: The machine from which the site was probed.
        shown: What Chrome would show.
        zone: The time zone of the provider, in which its staff read times.
    """
    lines = [
        f"To level 2: {url}",
        f"Checked {minute_text(now, zone)} from {vantage}. Chrome would show: {shown}.",
    ]
    if context is not None:
        lines.append(
            f"Client {context.client} {context.client_name}, domain {context.domain}, server"
            f" {context.server or 'not one of ours'}."
        )
    # Level 2 gets the steps that passed too: they exclude causes.
    lines += [f"- {s.name}: {s.state}: {s.text}" for s in steps]
    lines += [f"- changed: {c}" for c in changes]
    # Remarks of severity info are no faults.
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
