"""From the facts about one client to a :class:`ClientReport`. Pure.

All facts come in as values. The caller has limited them to that client (certmgr/report/load.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from certmgr.checks.actors import we_install
from certmgr.checks.codes import CODES
from certmgr.checks.folding import parent_of
from certmgr.checks.http import NO_PAGE
from certmgr.compliance.assessment import ComplianceRow, DomainFacts
from certmgr.compliance.milestones import Deadline
from certmgr.compliance.rules import ComplianceState
from certmgr.compliance.steps import backward_schedule
from certmgr.inspection.status import EndpointStatus
from certmgr.inspection.trust_ends import EndpointTrust, trust_row
from certmgr.report.model import Bar, ClientReport, ReportAction, ReportEvent, ReportSite
from certmgr.x509.trust_rules import BROWSER_NAMES
from inventory.certificates import organisation
from inventory.dates import days_left
from inventory.db.database import from_epoch
from inventory.names import display
from inventory.vocabulary import SEVERITY_ORDER, Acceptance, Finding
from notifiers.pipeline.topic import Topic
from notifiers.pipeline.topic_text import CASE_DO, CASE_WHAT, case_text
from notifiers.wording.cases import filled
from notifiers.wording.catalogue import Language
from notifiers.wording.english import OUTCOMES
from notifiers.wording.report import NOTES, STATES, STEPS, WHO, ReportPhrases
from notifiers.wording.scope import FOREIGN_CERTIFICATE, for_client
from notifiers.wording.sentences import client_instruction, sentence

P = ReportPhrases
# Findings of severity low and info are remarks, which request no action of a client.
_REPORTED_SEVERITIES = ("critical", "high", "medium")
# More bars than this are not readable; the table has all sites.
MAX_BARS = 25
# Dates further ahead are not shown.
AHEAD = timedelta(days=800)


@dataclass(frozen=True, slots=True)
class DatedItem:
    """A date of a purchase or a case.

    Attributes:
        at: The date.
        kind: order or window.
        template: Text of the catalogue.
        values: Values for the placeholders of the text.
        names: Affected names.
    """

    at: datetime
    kind: str
    template: str
    values: Mapping[str, str]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportInput:
    """All facts that the report of one client depends on.

    Attributes:
        number: Customer number.
        name: Name of the client.
        provider: Name of the provider.
        contact: Account manager of the client.
        language: Language of the reader.
        as_of: Time of the report.
        domains: Facts about the client's domains.
        statuses: Status of each endpoint.
        rows: Compliance of each domain with each deadline.
        deadlines: Dated rules and the provider's deadlines.
        assigned: Findings that are assigned to a person, each until a date.
        vantage: Where the last complete scan ran.
        measured: Time of the last probe.
        zone: Time zone of the provider. Its deadlines end with the day there.
        case_topics: Actions of purchases and cases, as the notices name them.
        case_names: Name -> reference of its open case.
        dates: Dates of purchases and cases.
        trust: Until when browsers trust the certificate of an endpoint, by its id.
        trust_rules: The version of the trust rules.
    """

    number: str
    name: str
    provider: str
    contact: str
    language: Language
    as_of: datetime
    domains: Sequence[DomainFacts]
    statuses: Sequence[EndpointStatus]
    rows: Sequence[ComplianceRow]
    deadlines: Sequence[Deadline]
    assigned: Sequence[Acceptance]
    vantage: str
    measured: datetime | None
    zone: tzinfo = UTC
    case_topics: Sequence[Topic] = ()
    case_names: Mapping[str, str] = field(default_factory=dict)
    dates: Sequence[DatedItem] = ()
    trust: Mapping[int, EndpointTrust] = field(default_factory=dict)
    trust_rules: str = ""


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


def build(report_input: ReportInput) -> ClientReport:
    """Return the report of one client."""
    # Data of other clients is removed first, so that no later step can show it.
    report_input = _scoped(report_input)
    language = report_input.language
    by_domain = {s.domain_id: s for s in report_input.domains}
    rows: dict[int, list[ComplianceRow]] = {}
    for row in report_input.rows:
        rows.setdefault(row.subject.domain_id, []).append(row)
    actions: list[ReportAction] = []
    sites = []
    # Sorting by name makes two reports of the same client comparable.
    for status in sorted(report_input.statuses, key=lambda s: (s.target.host, s.target.port)):
        domain, site_rows = by_domain.get(status.domain_id), rows.get(status.domain_id, [])
        site_actions = _actions(report_input, status, domain, site_rows)
        actions += site_actions
        sites.append(_site(report_input, status, site_actions, domain, site_rows))
    actions += [
        a for s in report_input.case_topics if (a := _case_action(report_input, s)) is not None
    ]
    # Actions without a date are due now, so they sort with the date of the report.
    actions.sort(key=lambda a: (a.by or report_input.as_of, SEVERITY_ORDER[a.severity], a.site))
    events = _events(report_input)
    untested = tuple(dict.fromkeys(t for s in sites for t in s.untested))
    counts = {
        "sites": len(sites),
        **{k: sum(s.state == k for s in sites) for k in ("ok", "attention", "fault", "unknown")},
    }
    grouped = {o: tuple(a for a in actions if a.outcome == o) for o in OUTCOMES}
    summary, state = _summary(
        language, counts, grouped, events, any(s.accepted for s in report_input.statuses)
    )
    return ClientReport(
        client=report_input.number,
        client_name=report_input.name,
        provider=report_input.provider,
        contact=report_input.contact,
        language=language.code,
        as_of=report_input.as_of,
        as_of_text=language.timestamp(report_input.as_of),
        title=language(P.title),
        summary=summary,
        state=state,
        counts=counts,
        you_act=grouped["you-act"],
        we_act=grouped["we-act"],
        escalated=grouped["escalated"],
        events=events,
        sites=tuple(sites),
        bars=_bars(sites, language),
        why=_why(report_input),
        method=_method(report_input),
        untested=untested,
    )


def _scoped(report_input: ReportInput) -> ReportInput:
    """Remove what a certificate reveals about other clients.

    If a virtual host is missing, the server presents the certificate of another site. Findings
    about that certificate are then removed, apart from the finding that it is presented.
    """
    own_names = {s.name for s in report_input.domains} | {
        s.target.host for s in report_input.statuses
    }
    statuses = []
    for status in report_input.statuses:
        codes = {f.code for f in status.findings}
        foreign = bool(codes & FOREIGN_CERTIFICATE)
        findings = [
            for_client(f, own_names, foreign_certificate=foreign)
            for f in status.findings
            if "default-certificate" not in codes
            or f.code == "default-certificate"
            or f.code not in CODES
            or CODES[f.code].layer not in ("certificate", "revocation")
        ]
        accepted = [
            (for_client(f, own_names, foreign_certificate=foreign), a) for f, a in status.accepted
        ]
        issuer = (
            None
            if foreign or any(f.code in FOREIGN_CERTIFICATE for f, _ in accepted)
            else status.issuer
        )
        statuses.append(
            dataclasses.replace(status, findings=findings, accepted=accepted, issuer=issuer)
        )
    return dataclasses.replace(report_input, statuses=statuses)


def _case_action(report_input: ReportInput, topic: Topic) -> ReportAction | None:
    """Return the step of a case, or the date of a purchase, as an action."""
    language = report_input.language
    outcome = (
        # An unassigned action of the provider is not promised to a client.
        "you-act" if topic.actor == "client" else "we-act" if topic.assigned is not None else None
    )
    if outcome is None:
        return None
    person, by = (topic.assigned or ("", None)) if outcome == "we-act" else ("", topic.act_by)
    # A date in the past is not printed; the action is then due as soon as possible.
    late = by is not None and by < report_input.as_of
    text = (
        language(P.at_once)
        if by is None or late
        else language(P.until).format(date=language.day(by, report_input.zone))
    )
    do = (
        case_text(topic, CASE_DO, language)
        if outcome == "you-act"
        else _provider_instruction(language, outcome, person, text)
    )
    return ReportAction(
        outcome=outcome,
        site=display(topic.target.host),
        code=topic.code,
        severity="high",
        what=case_text(topic, CASE_WHAT, language),
        do=do,
        by=None if late else by,
        by_text=text,
        late=late,
        person=person,
    )


# -- actions


def _actions(
    report_input: ReportInput,
    status: EndpointStatus,
    domain: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> list[ReportAction]:
    actions = []
    for finding in status.findings:
        # A consequence of another finding is fixed together with it.
        if parent_of(finding.code, {f.code for f in status.findings}):
            continue
        if (
            status.target.host in report_input.case_names
            and finding.code in CODES
            and CODES[finding.code].role.startswith("holder")
        ):
            # The case of the name lists the action already.
            continue
        assigned = next(
            (
                t
                for t in report_input.assigned
                if t.covers(
                    finding.code,
                    status.client_id,
                    status.domain_id,
                    status.id,
                    report_input.as_of,
                )
            ),
            None,
        )
        outcome = outcome_of(finding, assigned)
        if outcome is None:
            continue
        language = report_input.language
        by = None
        # The date of the assignment is the date that the person promised.
        if outcome == "we-act" and assigned is not None:
            by = assigned.until
        elif outcome == "you-act":
            by = _due_date(report_input, status, finding, domain, rows)
        late = by is not None and by < report_input.as_of
        text = (
            language(P.at_once)
            if by is None or late
            else language(P.until).format(date=language.day(by, report_input.zone))
        )
        if outcome == "escalated":
            text = ""  # no date was promised
        person = assigned.by if assigned is not None and outcome == "we-act" else ""
        do = _provider_instruction(language, outcome, person, text)
        if outcome == "you-act":
            do = client_instruction(
                finding, status.target, language, we_install=we_install_at(domain, status.findings)
            )
        actions.append(
            ReportAction(
                outcome=outcome,
                site=display(status.target.host),
                code=finding.code,
                severity=str(finding.severity),
                what=sentence(finding, status.target, language),
                do=do,
                by=None if late else by,
                by_text=text,
                late=late,
                person=person,
            )
        )
    return actions


def we_install_at(domain: DomainFacts | None, findings: Iterable[Finding]) -> bool:
    """Return whether the provider installs: it hosts the site, and the name points to it."""
    elsewhere = any(f.code == "points-elsewhere" for f in findings)
    return we_install(domain.parties if domain is not None else None, elsewhere)


def _provider_instruction(language: Language, outcome: str, person: str, by: str) -> str:
    if outcome == "we-act":
        return language(P.we_act_do).format(person=person, by=by)
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


# -- sites


def _site(
    report_input: ReportInput,
    status: EndpointStatus,
    actions: Sequence[ReportAction],
    domain: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> ReportSite:
    language = report_input.language
    facts = []
    end = from_epoch(status.not_after)
    if end is not None and status.last_good is not None:
        words = P.certificate_ended if end < report_input.as_of else P.certificate_until
        # The issuer may be unknown, or belong to a certificate of another client.
        if status.issuer is None:
            words = P.certificate_ended_of if end < report_input.as_of else P.certificate_until_of
        facts.append(
            language(words).format(
                issuer=organisation(status.issuer or "") or "?", date=language.date(end)
            )
        )
    facts += _trust_facts(report_input, status)
    codes = {f.code for f in status.findings}
    reported = [
        f
        for f in status.findings
        if f.severity not in ("info", "undetermined")
        and parent_of(f.code, codes) in ("", "https-missing")
    ]
    facts += [sentence(f, status.target, language) for f in reported]
    undetermined = _undetermined_rules(status, rows)
    # A mail name, for example, has no pages that could be checked.
    if domain is not None and domain.purpose in NO_PAGE:
        facts.append(language(P.no_page))
    elif status.verdict == "ok" and not status.accepted and not undetermined:
        facts.append(language(P.site_ok))
    for finding, acceptance in status.accepted:
        facts.append(
            language(P.accepted).format(
                what=sentence(finding, status.target, language),
                by=acceptance.by,
                date=language.date(acceptance.until),
                reason=acceptance.reason,
            )
        )
    # An accepted finding stays undetermined, so it is listed as not tested as well.
    untested = [
        sentence(f, status.target, language)
        for f in status.findings
        if f.severity == "undetermined"
    ]
    untested += [
        sentence(f, status.target, language)
        for f, _ in status.accepted
        if f.severity == "undetermined"
    ]
    if status.never:
        untested.append(language(P.never).format(host=display(status.target.host)))
    elif undetermined:
        untested += [
            f"{display(status.target.host)}: {language(NOTES[n])}"
            for n in undetermined
            if n in NOTES
        ]
    if (
        untested
        and status.last_good is not None
        and status.last_attempt is not None
        and status.last_good < status.last_attempt
    ):
        good = from_epoch(status.last_good)
        assert good is not None
        facts.append(language(P.known_since).format(date=language.timestamp(good)))
    measured = from_epoch(status.last_attempt)
    # A good verdict with an undetermined rule is reported as unknown.
    state = "unknown" if status.verdict == "ok" and undetermined else str(status.verdict)
    worst = next((o for o in OUTCOMES if any(a.outcome == o for a in actions)), "")
    return ReportSite(
        name=display(status.target.host),
        target=str(status.target),
        state=state,
        state_text=language(STATES[state]),
        outcome=worst,
        facts=tuple(facts),
        untested=tuple(untested),
        expires=end,
        expires_text=language.date(end) if end else "",
        days_left=days_left(end, report_input.as_of) if end else None,
        measured=measured,
        measured_text=language.timestamp(measured) if measured else "",
        trusted_until=trust_row(
            trust.ends if (trust := report_input.trust.get(status.id)) else (),
            report_input.as_of,
            report_input.trust_rules,
        ),
    )


def _trust_facts(report_input: ReportInput, status: EndpointStatus) -> list[str]:
    """Return a sentence per browser that stops trusting the certificate before it expires."""
    language, trust = report_input.language, report_input.trust.get(status.id)
    # The finding about it has a sentence itself.
    named = {"ca-distrusted", "trust-ending"} & {f.code for f in status.findings}
    if trust is None or named:
        return []
    facts = []
    for end in trust.early():
        text = P.trust_ends_about if end.rule and end.rule.approximate else P.trust_ends
        values = {"browser": BROWSER_NAMES[end.browser], "date": language.date(end.at)}
        facts.append(language(text).format(**values))
    return facts


def _undetermined_rules(status: EndpointStatus, rows: Sequence[ComplianceRow]) -> tuple[str, ...]:
    """Return why a rule is undetermined for this site, apart from its findings.

    Its pages were not requested, for example, or it was not scanned yet.
    """
    # The rules for pages do not apply to mail and other protocols.
    if status.target.protocol != "https":
        return ()
    return tuple(
        dict.fromkeys(r.note for r in rows if r.state is ComplianceState.UNKNOWN and r.note)
    )


# -- dates ahead


def _events(report_input: ReportInput) -> tuple[ReportEvent, ...]:
    """Return the dates ahead: rules, the provider's deadlines, certificates, purchases, cases."""
    language, now = report_input.language, report_input.as_of
    horizon = (
        now + AHEAD
        if now < datetime.max.replace(tzinfo=UTC) - AHEAD
        else datetime.max.replace(tzinfo=UTC)
    )
    events = []
    for deadline in report_input.deadlines:
        if not now < deadline.at <= horizon:
            continue
        rows = [r for r in report_input.rows if r.deadline is deadline]
        # A deadline of the provider is shown only to the clients that it is for.
        if (
            not deadline.for_clients
            or (deadline.own and not rows)
            or not (rows or deadline.is_for(report_input.number, frozenset()))
        ):
            continue
        # A rule about one CA concerns only clients with a certificate of that CA.
        if deadline.issuer and not any(
            deadline.issuer in (s.issuer or "") for s in report_input.statuses
        ):
            continue
        failing = [r for r in rows if r.state is ComplianceState.WILL_FAIL]
        note = deadline.text or (language(deadline.affects) if deadline.affects else "")
        when = (
            language.day(deadline.at, report_input.zone if deadline.own else UTC)
            if deadline.precision == "day"
            else language.month(deadline.at)
        )
        events.append(
            ReportEvent(
                at=deadline.at,
                at_text=when,
                kind="own" if deadline.own else "rule",
                title=deadline.title if deadline.own else language(deadline.title),
                note=note,
                confirmed=deadline.confirmed,
                affected=tuple(dict.fromkeys(display(r.subject.name) for r in failing)),
                steps=_steps(failing, report_input),
            )
        )
    # Certificates that expire at the same moment share one event.
    ends: dict[int, list[EndpointStatus]] = {}
    for status in report_input.statuses:
        end = from_epoch(status.not_after)
        if end is not None and now < end <= horizon and status.not_after is not None:
            ends.setdefault(status.not_after, []).append(status)
    for seconds, ending in ends.items():
        end = from_epoch(seconds)
        assert end is not None
        names = tuple(dict.fromkeys(display(s.target.host) for s in ending))
        events.append(
            ReportEvent(
                at=end,
                at_text=language.date(end),
                kind="certificate",
                title=language(P.certificate_ends),
                note="",
                confirmed=True,
                affected=names,
                steps=(),
            )
        )
    for date in report_input.dates:
        if now < date.at <= horizon:
            when = language.timestamp(date.at) if date.kind == "window" else language.date(date.at)
            title = filled(language(date.template), date.values)
            events.append(
                ReportEvent(
                    at=date.at,
                    at_text=when,
                    kind=date.kind,
                    title=title,
                    note="",
                    confirmed=True,
                    affected=tuple(display(n) for n in date.names[:20]),
                    steps=(),
                )
            )
    return tuple(sorted(events, key=lambda e: (e.at, e.kind, e.title)))


def _steps(rows: Sequence[ComplianceRow], report_input: ReportInput) -> tuple[str, ...]:
    """Return the steps that lead to compliance, in their order.

    If sites have different steps, the names of the sites precede their steps.
    """
    language = report_input.language
    sites: dict[str, list[str]] = {}
    for row in rows:
        step_texts = []
        for step in row.steps:
            words = language(P.step_late if step.late else P.step)
            date = language.day(step.by, report_input.zone)
            step_texts.append(
                words.format(
                    step=language(STEPS[step.name]), date=date, who=language(WHO[step.actor])
                )
            )
        if step_texts:
            sites.setdefault("; ".join(step_texts), []).append(display(row.subject.name))
    # If all sites have the same steps, their names are not repeated.
    if len(sites) <= 1:
        return tuple(sites)
    return tuple(f"{', '.join(names)}: {steps}" for steps, names in sites.items())


# -- sentences


def _summary(
    language: Language,
    counts: dict[str, int],
    grouped: dict[str, tuple[ReportAction, ...]],
    events: Sequence[ReportEvent],
    accepted: bool,
) -> tuple[str, str]:
    """Return the summary sentence and its state.

    The state is never good if a result is undetermined.
    """
    sites = counts["sites"]
    # A client without sites has no facts, so the state is not good.
    if not sites:
        return language(P.no_sites), "unknown"
    # The client's actions come first, because the report is written for the client.
    if you := grouped["you-act"]:
        count = len({a.site for a in you})
        first = min((a.by for a in you if a.by is not None and not a.late), default=None)
        if any(a.by is None for a in you):
            return language.count(P.you_now, P.you_now_many, count), "fault"
        assert first is not None
        return (
            language.count(P.you_by, P.you_by_many, count).replace("{date}", language.date(first)),
            "attention",
        )
    if grouped["we-act"] or grouped["escalated"]:
        count = len({a.site for a in (*grouped["we-act"], *grouped["escalated"])})
        return language.count(P.ours, P.ours_many, count), "attention"
    if counts["unknown"]:
        return language.count(P.some_unknown, P.some_unknown_many, counts["unknown"]), "unknown"
    # The sites comply today and will not comply with a rule that is already announced.
    if any(e.affected and e.kind in ("rule", "own") for e in events):
        return language(P.good_until), "attention"
    # An accepted fault is still a fault, so the sentence does not state full compliance.
    if accepted:
        return language(P.all_accepted), "attention"
    return language(P.all_good), "ok"


def _why(report_input: ReportInput) -> tuple[str, str, str]:
    """Return three sentences, chosen by the findings of the sites."""
    language = report_input.language
    codes: dict[str, str] = {}
    for status in report_input.statuses:
        for finding in status.findings:
            codes.setdefault(finding.code, display(status.target.host))
    first = language(P.why_first)
    second, third = language(P.why_good), language(P.why_announced)
    for code, words in (
        ("http-collects-secrets", P.why_secrets),
        ("http-collects-input", P.why_inputs),
        ("http-served", P.why_served),
    ):
        if code in codes:
            second = language(words).format(host=codes[code])
            break
    return first, second, third


def _method(report_input: ReportInput) -> tuple[str, ...]:
    language = report_input.language
    lines = []
    if report_input.measured is not None:
        lines.append(
            language(P.measured).format(
                date=language.timestamp(report_input.measured), vantage=report_input.vantage
            )
        )
    visited = any(k.visited for domain in report_input.domains for k in domain.known)
    lines += [language(P.how if visited else P.how_without_pages), language(P.limits)]
    return tuple(lines)


def _bars(sites: Sequence[ReportSite], language: Language) -> tuple[Bar, ...]:
    expiring = sorted((s for s in sites if s.days_left is not None), key=lambda s: s.days_left or 0)
    bars = []
    for site in expiring[:MAX_BARS]:
        days = site.days_left or 0
        text = (
            language.count(P.days_left, P.days_left_many, days)
            if days >= 0
            else language(P.expired)
        )
        bars.append(Bar(site.name, days, text))
    return tuple(bars)
