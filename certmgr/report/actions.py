"""What a client, or the provider, has to do: findings, cases and dates of purchases. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from certmgr.checks.actors import we_install
from certmgr.checks.folding import parent_of
from certmgr.compliance.assessment import ComplianceRow, DomainFacts
from certmgr.compliance.facts import ComplianceState
from certmgr.compliance.steps import backward_schedule
from certmgr.inspection.status import EndpointStatus
from certmgr.renewers.plan import EXPIRING
from certmgr.report.facts import ReportInput
from certmgr.report.model import ReportAction
from inventory.db.database import from_epoch
from inventory.finding_codes import CODES
from inventory.names import display
from inventory.vocabulary import Acceptance, Finding, deciding
from notifiers.pipeline.topic import Topic
from notifiers.pipeline.topic_text import CASE_DO, CASE_WHAT, case_text
from notifiers.wording.catalogue import Language
from notifiers.wording.report import ReportPhrases as P
from notifiers.wording.sentences import client_instruction, sentence

# Findings of severity low and info are remarks, which request no action of a client.
_REPORTED_SEVERITIES = ("critical", "high", "medium")


def outcome_of(finding: Finding, assigned: Acceptance | None) -> str | None:
    """Return the outcome of a finding: you-act, we-act or escalated.

    None means that the report requests no action. This is so if no action is needed, and if the
    result is undetermined, which only staff is notified of.
    """
    if finding.severity not in _REPORTED_SEVERITIES or finding.actor == "none":
        return None
    if finding.actor == "client":
        return "you-act"
    # "We act" needs a person and a date; without an assignment the finding is at level 2.
    return "we-act" if assigned is not None else "escalated"


def case_action(report_input: ReportInput, topic: Topic) -> ReportAction | None:
    """Return the step of a case, or the date of a purchase, as an action."""
    language = report_input.language
    outcome = (
        # An unassigned action of the provider is not promised to a client.
        "you-act" if topic.actor == "client" else "we-act" if topic.assigned is not None else None
    )
    if outcome is None:
        return None
    person, by = (topic.assigned or ("", None)) if outcome == "we-act" else ("", topic.act_by)
    late, text = _due_text(report_input, by)
    do = (
        case_text(topic, CASE_DO, language)
        if outcome == "you-act"
        else _provider_instruction(language, outcome, person, text)
    )
    return ReportAction(
        outcome=outcome,
        site=display(topic.target.host),
        target="",
        code=topic.code,
        # A step of a case has no finding. This value sorts it before findings of severity medium
        # with the same date.
        severity="high",
        what=case_text(topic, CASE_WHAT, language),
        do=do,
        by=None if late else by,
        by_text=text,
        late=late,
        person=person,
    )


def site_actions(
    report_input: ReportInput,
    status: EndpointStatus,
    domain: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> list[ReportAction]:
    """Return the actions that the findings of a site need.

    Args:
        domain: The domain of the site, if it is known.
        rows: Compliance of the domain.
    """
    codes = {f.code for f in status.findings}
    return [
        action
        for finding in status.findings
        # A consequence of another finding is fixed together with it.
        if not parent_of(finding.code, codes)
        and not _handled_by_case(report_input, status, finding)
        and not (status.planned is not None and finding.code == EXPIRING)
        and (action := _action(report_input, status, finding, domain, rows)) is not None
    ]


def _handled_by_case(report_input: ReportInput, status: EndpointStatus, finding: Finding) -> bool:
    """Return whether the open case of the name lists the action already."""
    return (
        status.target.host in report_input.case_names
        and finding.code in CODES
        and CODES[finding.code].role.concerns_holder
    )


def _action(
    report_input: ReportInput,
    status: EndpointStatus,
    finding: Finding,
    domain: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> ReportAction | None:
    """Return the action that a finding needs. None if the report requests none."""
    scope = (status.client_id, status.domain_id, status.id, report_input.as_of)
    matching = (a for a in report_input.assigned if a.covers(finding.code, *scope))
    assigned = deciding(matching, report_input.as_of)
    outcome = outcome_of(finding, assigned)
    if outcome is None:
        return None
    language = report_input.language
    by, person = None, ""
    # The date of the assignment is the date that the person promised.
    if outcome == "we-act" and assigned is not None:
        by, person = assigned.until, assigned.by
    elif outcome == "you-act":
        by = _due_date(report_input, status, finding, domain, rows)
    late, text = _due_text(report_input, by)
    if outcome == "escalated":
        text = ""  # no date was promised
    do = (
        client_instruction(
            finding, status.target, language, we_install=we_install_at(domain, status.findings)
        )
        if outcome == "you-act"
        else _provider_instruction(language, outcome, person, text)
    )
    return ReportAction(
        outcome=outcome,
        site=display(status.target.host),
        target=str(status.target),
        code=finding.code,
        severity=str(finding.severity),
        what=sentence(finding, status.target, language),
        do=do,
        by=None if late else by,
        by_text=text,
        late=late,
        person=person,
    )


def _due_text(report_input: ReportInput, by: datetime | None) -> tuple[bool, str]:
    """Return whether a date has passed, and the text for it."""
    language = report_input.language
    late = by is not None and by < report_input.as_of
    # A date in the past is not printed; the action is then due as soon as possible.
    if by is None or late:
        return late, language(P.at_once)
    return late, language(P.until).format(date=language.day(by, report_input.zone))


def we_install_at(domain: DomainFacts | None, findings: Iterable[Finding]) -> bool:
    """Return whether the provider installs: it hosts the site, and the name points to it."""
    elsewhere = any(f.code == "points-elsewhere" for f in findings)
    return we_install(domain.parties if domain is not None else None, elsewhere)


def _provider_instruction(language: Language, outcome: str, person: str, by: str) -> str:
    if outcome == "we-act":
        # A promise in the name of a person needs that this person was assigned.
        return language(P.we_act_do if person else P.we_act_do_unnamed).format(person=person, by=by)
    return language(P.escalated_do)


def _due_date(
    report_input: ReportInput,
    status: EndpointStatus,
    finding: Finding,
    domain: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> datetime | None:
    """Return the last day of the client's action; None means as soon as possible.

    For a certificate that expires, it is the last day to buy a new one. Otherwise it is the date of
    the next deadline of the provider.
    """
    end = from_epoch(status.not_after)
    # The purchase and the validation take time, so the last day lies before the expiry.
    if finding.code == "certificate-expiring" and end is not None:
        steps = backward_schedule(
            end,
            None,
            report_input.as_of,
            domain.parties if domain else None,
            needs_certificate=True,
        )
        ahead = [s.by for s in steps if s.actor == "client" and not s.late] or [end]
        return ahead[0]
    # Visitors see an error already, so no later date is offered.
    if domain is None or any(f.severity == "critical" for f in status.findings):
        return None
    dates = []
    for row in rows:
        if (
            row.state is ComplianceState.WILL_FAIL
            and row.deadline.own
            and any(f.code == finding.code for _, f in row.findings)
        ):
            ahead = [s.by for s in row.steps if s.actor == "client" and not s.late]
            dates.append(ahead[0] if ahead else row.deadline.at)
    return min(dates, default=None)
