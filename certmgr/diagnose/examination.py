"""Run one diagnosis: read the inventory, probe the site, and produce all texts.

Nothing is stored but the ticket of an escalation, if one is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from certmgr.checks.api_hosts import PAGE_MISSING
from certmgr.checks.zone_judgement import as_seen_from
from certmgr.config.zones import in_zone
from certmgr.diagnose import chrome, message
from certmgr.diagnose import context as contexts
from certmgr.diagnose.context import HostContext
from certmgr.diagnose.escalation import DESK, escalate, require_context
from certmgr.diagnose.outcome import DiagnosisOutcome, OutcomeFacts, decide
from certmgr.diagnose.question import DiagnosisRequest
from certmgr.diagnose.steps import DiagnosisStep, page_error, steps
from certmgr.diagnose.zone_of_probe import zone_of_probe
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.server_down import of_server
from certmgr.inspection.target_scan import ProbeContext, TargetProbe, probe_target
from certmgr.net.addresses import networks
from certmgr.renewers.plan import RenewalPlan
from inventory.db.database import Database
from inventory.names import display
from inventory.vocabulary import ZONE_DIFFERENCE, Finding, Purpose, Severity
from inventory.zone_names import DEFAULT_ZONE
from notifiers.wording.catalogue import Language, language
from notifiers.wording.report import ReportPhrases
from notifiers.wording.scope import for_client


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
        planned: The renewal that is due and in time.
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
    planned: RenewalPlan | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisOptions:
    """How a diagnosis is made.

    Attributes:
        vantage: The machine from which the site is probed, in words.
        clock: What the clock of the visitor's device shows, if it is known.
        language: A language to use instead of the client's.
        internal: Whether internal addresses are visited that the name points to. The owner of a
            name chooses its addresses, and the result is sent to that owner.
        escalate: Whether the fault is passed to level 2, with a ticket.
    """

    vantage: str
    clock: datetime | None = None
    language: str | None = None
    internal: bool = False
    escalate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examination:
    """What the inventory and a probe of the site showed.

    Attributes:
        host: The inventory's data about the host; None if the host is not in it.
        report: The result of the probe.
        client_findings: The findings without the names of other clients.
        facts: Further facts about the host.
        plan: The renewal that is due and in time.
        zone: The zone from which the site was probed.
    """

    host: HostContext | None
    report: EndpointReport
    client_findings: list[Finding]
    facts: OutcomeFacts
    plan: RenewalPlan | None
    zone: str


def diagnose(
    context: ProbeContext,
    question: DiagnosisRequest,
    options: ScanOptions,
    how: DiagnosisOptions,
) -> Diagnosis:
    """Diagnose one URL.

    Args:
        context: The configuration, the inventory and the time.
        question: The parsed URL.
        options: The options of the scan.
        how: How the diagnosis is made.

    Raises:
        UsageError: An escalation is asked for, and the host is not in the inventory.
    """
    # One time for the probe, the judgement and the texts.
    context = context.frozen()
    examined = _examine(context, question, options, how)
    host, report, provider = examined.host, examined.report, context.settings.provider
    reader = language(
        how.language or (host.language if host else None) or provider.language,
        (host.time_zone if host else None) or provider.time_zone,
    )
    error = page_error(report, question.url)
    outcome = decide(
        report, examined.client_findings, examined.facts, reader, plain=question.plain, error=error
    )
    # Staff read the same decision in English, and with all names.
    staff = decide(report, report.findings, examined.facts, plain=question.plain, error=error)
    # Which vantage point sees what is for staff.
    if outcome.code == ZONE_DIFFERENCE:
        differs = reader(ReportPhrases.differs).format(host=display(question.target.host))
        outcome = replace(outcome, cause=differs)
    # A ticket that is open already is named, even if this call passes nothing to level 2.
    reference = host.references.get(outcome.code or DESK, "") if host else ""
    if how.escalate and context.database is not None and host is not None:
        # The ticket is stored before a text states that the fault was passed on.
        reference = escalate(
            context.database, host, question.url, staff.code, staff.cause, context.now()
        )
    return _with_texts(context, question, how, examined, outcome, staff, reader, reference)


def _examine(
    context: ProbeContext,
    question: DiagnosisRequest,
    options: ScanOptions,
    how: DiagnosisOptions,
) -> _Examination:
    """Read what the inventory knows of the host, and probe the site."""
    database, settings = context.database, context.settings
    host = None
    if database is not None:
        host = contexts.load(database, question.target, context.now(), settings.provider.time_zone)
    if how.escalate:
        # Before the site is probed: the agent should not wait for a refusal.
        require_context(host, question.target.host)
    zone = zone_of_probe(settings, host, question.target, options)
    context = replace(context, settings=in_zone(settings, zone))
    report = _probe(context, question, options, host, internal=how.internal)
    if host is not None:
        open_ = [f for f, _ in host.open]
        report.findings = as_seen_from(zone, report.findings, open_)
    plan = host.plan(report, context.now()) if host is not None else None
    facts = contexts.facts(
        database,
        host,
        report,
        networks(settings.network.provider, "[network] provider"),
        how.clock,
        plan,
    )
    return _Examination(
        host=host,
        report=report,
        client_findings=_for_client(database, question, host, report),
        facts=facts,
        plan=plan,
        zone=zone,
    )


def _with_texts(
    context: ProbeContext,
    question: DiagnosisRequest,
    how: DiagnosisOptions,
    examined: _Examination,
    outcome: DiagnosisOutcome,
    staff: DiagnosisOutcome,
    reader: Language,
    reference: str,
) -> Diagnosis:
    """Return the diagnosis with its texts for the client and for level 2."""
    url, now, host, report = question.url, context.now(), examined.host, examined.report
    zone = ZoneInfo(context.settings.provider.time_zone)
    visit_steps = steps(report, url, now, how.clock, examined.plan, zone)
    error = page_error(report, url)
    shown = chrome.browser_view(
        [*report.findings, *report.explained],
        [a.address for a in report.addresses],
        plain=question.plain,
        visited=report.web is not None and report.web.document is not None,
        status=error[1] if error else None,
    )
    changes = contexts.changes(host, report) if host else []
    vantage = how.vantage
    if examined.zone != DEFAULT_ZONE:
        vantage = f"{vantage} (zone {examined.zone})"
    provider = context.settings.provider.name
    return Diagnosis(
        url=url,
        context=host,
        steps=visit_steps,
        shown=shown,
        outcome=outcome,
        staff=staff,
        message=message.message(
            outcome,
            host,
            url,
            now,
            provider,
            reader,
            reference=reference,
            planned=message.planned_text(examined.plan, report, reader),
        ),
        # If a fault was found, the answers of the client would add nothing.
        questions=message.questions(report, zone) if not outcome.code else [],
        escalation=message.escalation(
            url, report, visit_steps, host, changes, now, vantage, shown, zone
        ),
        changes=changes,
        findings=report.findings,
        reference=reference,
        severe=_is_severe(report, host),
        planned=examined.plan,
    )


def _probe(
    context: ProbeContext,
    question: DiagnosisRequest,
    options: ScanOptions,
    host: HostContext | None,
    *,
    internal: bool,
) -> EndpointReport:
    """Probe the site, and return the report with the findings as the inventory would judge them."""
    target = question.target
    # The administrator's addresses count, as in a scan. Options of this call take precedence.
    if host is not None and host.fixed:
        options.overrides = {(target.host, target.port): host.fixed, **options.overrides}
    # The same checks as in a scan, so that the diagnosis cannot contradict the inventory.
    report = probe_target(
        context,
        options,
        TargetProbe(
            target=target,
            paths=(question.path,),
            purpose=_purpose(host),
            parties=host.acting(target.host) if host else None,
            ever_good=host is not None and host.last_good is not None,
            # An address that the agent typed is the agent's choice.
            guarded=not internal and not target.is_address,
        ),
    )
    # A remark about an API is what explains the error page to a visitor.
    report.findings = tuple(
        replace(f, severity=Severity.MEDIUM) if f.code == PAGE_MISSING else f
        for f in report.findings
    )
    # The server is down for other names too: no certificate is missing.
    if host is not None and host.down is not None:
        report.findings = tuple(of_server(f, host.parties) for f in report.findings)
    return report


def _for_client(
    database: Database | None,
    question: DiagnosisRequest,
    host: HostContext | None,
    report: EndpointReport,
) -> list[Finding]:
    """Return the findings as the client may read them.

    A shared server may serve the certificate of another client, whose names must not be shown.
    """
    name = question.target.host
    owners = contexts.owners(database, report)
    return [
        for_client(
            f,
            {name, host.domain if host else name},
            codes=[x.code for x in report.findings],
            owners=owners,
            client_id=host.client_id if host else None,
        )
        for f in report.findings
    ]


def _is_severe(report: EndpointReport, context: HostContext | None) -> bool:
    """Return whether a severe finding counts for the exit code: an accepted one does not."""
    accepted = {a.code for a in context.accepted} if context else set()
    return any(
        f.severity in ("critical", "high") and f.code not in accepted for f in report.findings
    )


def _purpose(context: HostContext | None) -> str:
    """Return the purpose to judge by: ``redirect``, ``api`` or ``site``.

    A visitor opens a page even under a name for which none is expected (parked, mail).
    """
    if context is not None and context.purpose in (Purpose.REDIRECT, Purpose.API):
        return context.purpose
    return Purpose.SITE
