"""One diagnosis: the inventory is asked, the site is looked at, and everything that is said of it
is made. Nothing is stored.
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
from certmgr.inspection.scan_run import ScanOptions, probe_targets
from certmgr.net.addresses import networks
from inventory.db.database import Database
from inventory.vocabulary import Finding
from notifiers.wording.catalogue import language
from notifiers.wording.scope import STRANGE, for_client


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``outcome``: in the client's language and without other clients' names; ``staff``: the same
    for us. ``shown``: what Chrome shows. ``questions``: only where nothing was found. ``severe``: a
    fault of severity critical or high that was not accepted.
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
) -> Diagnosis:
    """``database`` None: there is no inventory.

    ``clock``: of the visitor's device. ``chosen``: a language in place of the client's.
    """
    target, url = question.target, question.url
    known = contexts.load(database, target, now) if database is not None else None
    if known is not None and known.fixed:
        options.overrides = {(target.host, target.port): known.fixed, **options.overrides}
    report = probe_targets(
        settings,
        options,
        target,
        (question.path,),
        known.parties if known else None,
        _purpose(known),
        database,
        ever_good=known is not None and known.last_good is not None,
        clock=lambda: now,
    )
    facts = contexts.facts(
        database, known, report, networks(settings.network.provider, "[network] provider"), clock
    )
    error = page_error(report, url)
    own = {target.host, known.domain if known else target.host}
    strange = any(f.code in STRANGE for f in report.findings)
    spoken = [for_client(f, own, strange=strange) for f in report.findings]
    provider = settings.provider
    reader = language(
        chosen or (known.language if known else None) or provider.language,
        (known.time_zone if known else None) or provider.time_zone,
    )
    outcome = decide(report, spoken, facts, reader, plain=question.plain, error=error)
    staff = decide(report, report.findings, facts, plain=question.plain, error=error)
    made = steps(report, url, now, clock)
    shown = chrome.shown(
        report.findings,
        [a.address for a in report.addresses],
        plain=question.plain,
        visited=report.web is not None and report.web.document is not None,
        status=error[1] if error else None,
    )
    since = contexts.changes(known, report) if known else []
    waived = {a.code for a in known.accepted} if known else set()
    return Diagnosis(
        url=url,
        context=known,
        steps=made,
        shown=shown,
        outcome=outcome,
        staff=staff,
        message=message.message(outcome, known, url, now, provider.name, reader),
        questions=message.questions(report, now) if not outcome.code else [],
        escalation=message.escalation(url, report, made, known, since, now, vantage, shown),
        changes=since,
        findings=report.findings,
        severe=any(
            f.severity in ("critical", "high") and f.code not in waived for f in report.findings
        ),
    )


def _purpose(known: HostContext | None) -> str:
    """A visitor opens whatever there is, also under a name for which no page is expected."""
    return "redirect" if known is not None and known.purpose == "redirect" else "site"
