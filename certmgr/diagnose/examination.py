"""Run one diagnosis: read the inventory, probe the site, and produce all texts.

Nothing is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from certmgr.config.settings import Settings
from certmgr.diagnose import chrome, message
from certmgr.diagnose import context as contexts
from certmgr.diagnose.context import HostContext
from certmgr.diagnose.outcome import DiagnosisOutcome, decide
from certmgr.diagnose.question import DiagnosisRequest
from certmgr.diagnose.steps import DiagnosisStep, page_error, steps
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.server_down import of_server
from certmgr.inspection.target_scan import probe_targets
from certmgr.net.addresses import networks
from inventory.db.database import Database
from inventory.vocabulary import Finding
from notifiers.wording.catalogue import language
from notifiers.wording.scope import FOREIGN_CERTIFICATE, for_client

DESK = "desk"
"""The code of a ticket that a support agent opened without a fault that was found."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of a diagnosis.

    Attributes:
        url: The URL that was diagnosed.
        context: The inventory's data about the host; None if the host is not in it.
        steps: The steps, in the order of a visit.
        shown: What Chrome would show.
        outcome: The outcome in the language of the client, without names of other clients.
        staff: The outcome for staff.
        message: The message to the client.
        questions: Questions to the client with the meaning of the answers, if nothing was found.
        escalation: The text for level 2.
        changes: What changed since the last good scan.
        findings: All findings.
        reference: The reference of the ticket about the cause; empty if there is none.
        severe: Whether a finding of severity critical or high is not accepted.
    """

    url: str
    context: HostContext | None
    steps: tuple[DiagnosisStep, ...]
    shown: str
    outcome: DiagnosisOutcome
    staff: DiagnosisOutcome
    message: str
    questions: list[tuple[str, str]]
    escalation: str
    changes: list[str]
    findings: tuple[Finding, ...]
    reference: str
    severe: bool


def diagnose(
    settings: Settings,
    database: Database | None,
    question: DiagnosisRequest,
    options: ScanOptions,
    now: datetime,
    *,
    vantage: str,
    clock: datetime | None = None,
    chosen: str | None = None,
    internal: bool = False,
) -> Diagnosis:
    """Diagnose one URL.

    Args:
        settings: The configuration.
        database: The inventory; None if there is none.
        question: The parsed URL.
        options: The options of the scan.
        now: The current time.
        vantage: The machine from which the site is probed, in words.
        clock: What the clock of the visitor's device shows, if it is known.
        chosen: A language to use instead of the client's.
        internal: Whether internal addresses are visited that the name points to. The owner of a
            name chooses its addresses, and the result is sent to that owner.
    """
    target, url = question.target, question.url
    context = (
        contexts.load(database, target, now, settings.provider.time_zone)
        if database is not None
        else None
    )
    # The administrator's addresses count, as in a scan. Options of this call take precedence.
    if context is not None and context.fixed:
        options.overrides = {(target.host, target.port): context.fixed, **options.overrides}
    # The same checks as in a scan, so that the diagnosis cannot contradict the inventory.
    report = probe_targets(
        settings,
        options,
        target,
        (question.path,),
        context.parties if context else None,
        _purpose(context),
        database,
        ever_good=context is not None and context.last_good is not None,
        # An address that the agent typed is the agent's choice.
        guarded=not internal and not target.is_address,
        clock=lambda: now,
    )
    # The server is down for other names too: no certificate is missing.
    if context is not None and context.down is not None:
        report.findings = tuple(of_server(f, context.parties) for f in report.findings)
    facts = contexts.facts(
        database, context, report, networks(settings.network.provider, "[network] provider"), clock
    )
    error = page_error(report, url)
    # A shared server may serve the certificate of another client. The client must not read that
    # client's names.
    own = {target.host, context.domain if context else target.host}
    foreign_certificate = any(f.code in FOREIGN_CERTIFICATE for f in report.findings)
    owners = contexts.owners(database, report)
    client_findings = [
        for_client(
            f,
            own,
            owners=owners,
            client_id=context.client_id if context else None,
            foreign_certificate=foreign_certificate,
        )
        for f in report.findings
    ]
    provider = settings.provider
    reader = language(
        chosen or (context.language if context else None) or provider.language,
        (context.time_zone if context else None) or provider.time_zone,
    )
    # Staff read the same decision in English, and with all names.
    outcome = decide(report, client_findings, facts, reader, plain=question.plain, error=error)
    staff = decide(report, report.findings, facts, plain=question.plain, error=error)
    visit_steps = steps(report, url, now, clock)
    shown = chrome.browser_view(
        [*report.findings, *report.explained],
        [a.address for a in report.addresses],
        plain=question.plain,
        visited=report.web is not None and report.web.document is not None,
        status=error[1] if error else None,
    )
    changes = contexts.changes(context, report) if context else []
    reference = context.references.get(outcome.code or DESK, "") if context else ""
    # An accepted fault is explained, but does not change the exit code.
    accepted = {a.code for a in context.accepted} if context else set()
    return Diagnosis(
        url=url,
        context=context,
        steps=visit_steps,
        shown=shown,
        outcome=outcome,
        staff=staff,
        message=message.message(
            outcome, context, url, now, provider.name, reader, reference=reference
        ),
        questions=message.questions(report, now) if not outcome.code else [],
        escalation=message.escalation(
            url, report, visit_steps, context, changes, now, vantage, shown
        ),
        changes=changes,
        findings=report.findings,
        reference=reference,
        severe=any(
            f.severity in ("critical", "high") and f.code not in accepted for f in report.findings
        ),
    )


def _purpose(context: HostContext | None) -> str:
    """Return the purpose to judge by: ``redirect`` or ``site``.

    A visitor opens a page even under a name for which none is expected (parked, mail).
    """
    return "redirect" if context is not None and context.purpose == "redirect" else "site"
