"""What is known of one client -> :class:`ClientReport`.

Pure: everything comes in as values, scoped to that client by whoever loaded it.
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
from certmgr.compliance.steps import backwards
from certmgr.inspection.status import EndpointStatus
from certmgr.report.model import Bar, ClientReport, ReportAction, ReportEvent, ReportSite
from inventory.certificates import organisation
from inventory.dates import days_left
from inventory.db.database import from_epoch
from inventory.names import display
from inventory.vocabulary import SEVERITY_ORDER, Acceptance, Finding
from notifiers.pipeline.compose import CASE_DO, CASE_WHAT, case_text
from notifiers.pipeline.topic import Topic
from notifiers.wording.cases import filled
from notifiers.wording.catalogue import Language
from notifiers.wording.english import OUTCOMES
from notifiers.wording.report import NOTES, STATES, STEPS, WHO, ReportPhrases
from notifiers.wording.scope import STRANGE, for_client
from notifiers.wording.sentences import client_instruction, sentence

P = ReportPhrases
_WORTH = ("critical", "high", "medium")
MAX_BARS = 25
AHEAD = timedelta(days=800)


@dataclass(frozen=True, slots=True)
class DatedItem:
    """A date of an order or a case.

    ``kind``: order, window. ``words``: a text of the catalogue with its ``values``.
    """

    at: datetime
    kind: str
    words: str
    values: Mapping[str, str]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportInput:
    """What the report of one client is made from."""

    number: str
    name: str
    provider: str
    contact: str
    language: Language
    as_of: datetime
    subjects: Sequence[DomainFacts]
    standings: Sequence[EndpointStatus]
    rows: Sequence[ComplianceRow]
    deadlines: Sequence[Deadline]
    taken: Sequence[Acceptance]
    vantage: str
    measured: datetime | None
    zone: tzinfo = UTC  # of the provider: in it their own dates end
    led: Sequence[Topic] = ()  # orders and cases of the client, as its notices speak of them
    led_names: Mapping[str, str] = field(
        default_factory=dict
    )  # name -> reference of the case that leads it
    dates: Sequence[DatedItem] = ()


def outcome_of(finding: Finding, taken: Acceptance | None) -> str | None:
    """One of the three outcomes; None where nobody has to act, or nothing could be told (that goes
    to staff alone).
    """
    if finding.severity not in _WORTH or finding.actor == "none":
        return None
    if finding.actor == "client":
        return "you-act"
    return "we-act" if taken is not None else "escalated"


def build(material: ReportInput) -> ClientReport:
    material = _scoped(material)
    language = material.language
    by_domain = {s.domain_id: s for s in material.subjects}
    rows: dict[int, list[ComplianceRow]] = {}
    for row in material.rows:
        rows.setdefault(row.subject.domain_id, []).append(row)
    actions: list[ReportAction] = []
    sites = []
    for standing in sorted(material.standings, key=lambda s: (s.target.host, s.target.port)):
        subject, own_rows = by_domain.get(standing.domain_id), rows.get(standing.domain_id, [])
        mine = _actions(material, standing, subject, own_rows)
        actions += mine
        sites.append(_site(material, standing, mine, subject, own_rows))
    actions += [a for s in material.led if (a := _led(material, s)) is not None]
    actions.sort(key=lambda a: (a.by or material.as_of, SEVERITY_ORDER[a.severity], a.site))
    events = _events(material)
    untested = tuple(dict.fromkeys(t for s in sites for t in s.untested))
    counts = {
        "sites": len(sites),
        **{k: sum(s.state == k for s in sites) for k in ("ok", "attention", "fault", "unknown")},
    }
    grouped = {o: tuple(a for a in actions if a.outcome == o) for o in OUTCOMES}
    summary, state = _summary(
        language, counts, grouped, events, any(s.accepted for s in material.standings)
    )
    return ClientReport(
        client=material.number,
        client_name=material.name,
        provider=material.provider,
        contact=material.contact,
        language=language.code,
        as_of=material.as_of,
        as_of_text=language.instant(material.as_of),
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
        why=_why(material),
        method=_method(material),
        untested=untested,
    )


def _scoped(material: ReportInput) -> ReportInput:
    """What a shared certificate says of other clients goes out before anything is said.

    Behind a missing virtual host the whole certificate is another's, so that nothing is said of it
    but that.
    """
    own = {s.name for s in material.subjects} | {s.target.host for s in material.standings}
    standings = []
    for standing in material.standings:
        codes = {f.code for f in standing.findings}
        strange = bool(codes & STRANGE)
        findings = [
            for_client(f, own, strange=strange)
            for f in standing.findings
            if "default-certificate" not in codes
            or f.code == "default-certificate"
            or f.code not in CODES
            or CODES[f.code].layer not in ("certificate", "revocation")
        ]
        accepted = [(for_client(f, own, strange=strange), a) for f, a in standing.accepted]
        issuer = None if strange or any(f.code in STRANGE for f, _ in accepted) else standing.issuer
        standings.append(
            dataclasses.replace(standing, findings=findings, accepted=accepted, issuer=issuer)
        )
    return dataclasses.replace(material, standings=standings)


def _led(material: ReportInput, subject: Topic) -> ReportAction | None:
    """A step of a case, or an order's date, as something to do."""
    language = material.language
    outcome = (
        "you-act" if subject.actor == "client" else "we-act" if subject.taken is not None else None
    )
    if outcome is None:
        return None
    person, by = (subject.taken or ("", None)) if outcome == "we-act" else ("", subject.act_by)
    late = by is not None and by < material.as_of
    text = (
        language(P.at_once)
        if by is None or late
        else language(P.until).format(date=language.day(by, material.zone))
    )
    do = (
        case_text(subject, CASE_DO, language)
        if outcome == "you-act"
        else _ours(language, outcome, person, text)
    )
    return ReportAction(
        outcome=outcome,
        site=display(subject.target.host),
        code=subject.code,
        severity="high",
        what=case_text(subject, CASE_WHAT, language),
        do=do,
        by=None if late else by,
        by_text=text,
        late=late,
        person=person,
    )


# -- actions


def _actions(
    material: ReportInput,
    standing: EndpointStatus,
    subject: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> list[ReportAction]:
    made = []
    for finding in standing.findings:
        if parent_of(finding.code, {f.code for f in standing.findings}):
            continue
        if (
            standing.target.host in material.led_names
            and finding.code in CODES
            and CODES[finding.code].role.startswith("holder")
        ):
            continue  # its case says what is to be done
        taken = next(
            (
                t
                for t in material.taken
                if t.covers(
                    finding.code,
                    standing.client_id,
                    standing.domain_id,
                    standing.id,
                    material.as_of,
                )
            ),
            None,
        )
        outcome = outcome_of(finding, taken)
        if outcome is None:
            continue
        language = material.language
        by = None
        if outcome == "we-act" and taken is not None:
            by = taken.until
        elif outcome == "you-act":
            by = _by(material, standing, finding, subject, rows)
        late = by is not None and by < material.as_of
        text = (
            language(P.at_once)
            if by is None or late
            else language(P.until).format(date=language.day(by, material.zone))
        )
        if outcome == "escalated":
            text = ""  # nobody has promised a date
        person = taken.by if taken is not None and outcome == "we-act" else ""
        do = _ours(language, outcome, person, text)
        if outcome == "you-act":
            do = client_instruction(
                finding, standing.target, language, we_install=installs(subject, standing.findings)
            )
        made.append(
            ReportAction(
                outcome=outcome,
                site=display(standing.target.host),
                code=finding.code,
                severity=str(finding.severity),
                what=sentence(finding, standing.target, language),
                do=do,
                by=None if late else by,
                by_text=text,
                late=late,
                person=person,
            )
        )
    return made


def installs(subject: DomainFacts | None, findings: Iterable[Finding]) -> bool:
    """Whether we install: the host is ours, and the name points to it."""
    elsewhere = any(f.code == "points-elsewhere" for f in findings)
    return we_install(subject.parties if subject is not None else None, elsewhere)


def _ours(language: Language, outcome: str, person: str, by: str) -> str:
    if outcome == "we-act":
        return language(P.we_act_do).format(person=person, by=by)
    return language(P.escalated_do)


def _by(
    material: ReportInput,
    standing: EndpointStatus,
    finding: Finding,
    subject: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> datetime | None:
    """The last day: of a certificate that ends, the purchase before it; else the next deadline of
    one's own; else at once.
    """
    end = from_epoch(standing.not_after)
    if finding.code == "certificate-expiring" and end is not None:
        steps = backwards(
            end, None, material.as_of, subject.parties if subject else None, needs_certificate=True
        )
        ahead = [s.by for s in steps if s.actor == "client" and not s.late] or [end]
        return ahead[0]
    if subject is None or any(f.severity == "critical" for f in standing.findings):
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
    material: ReportInput,
    standing: EndpointStatus,
    actions: Sequence[ReportAction],
    subject: DomainFacts | None,
    rows: Sequence[ComplianceRow],
) -> ReportSite:
    language = material.language
    facts = []
    end = from_epoch(standing.not_after)
    if end is not None and standing.last_good is not None:
        words = P.certificate_ended if end < material.as_of else P.certificate_until
        if standing.issuer is None:
            words = P.certificate_ended_of if end < material.as_of else P.certificate_until_of
        facts.append(
            language(words).format(
                issuer=organisation(standing.issuer or "") or "?", date=language.date(end)
            )
        )
    codes = {f.code for f in standing.findings}
    told = [
        f
        for f in standing.findings
        if f.severity not in ("info", "undetermined")
        and parent_of(f.code, codes) in ("", "https-missing")
    ]
    facts += [sentence(f, standing.target, language) for f in told]
    unsure = _unsure(standing, rows)
    if subject is not None and subject.purpose in NO_PAGE:
        facts.append(language(P.no_page))
    elif standing.verdict == "ok" and not standing.accepted and not unsure:
        facts.append(language(P.site_ok))
    for finding, acceptance in standing.accepted:
        facts.append(
            language(P.accepted).format(
                what=sentence(finding, standing.target, language),
                by=acceptance.by,
                date=language.date(acceptance.until),
                reason=acceptance.reason,
            )
        )
    untested = [
        sentence(f, standing.target, language)
        for f in standing.findings
        if f.severity == "undetermined"
    ]
    untested += [
        sentence(f, standing.target, language)
        for f, _ in standing.accepted
        if f.severity == "undetermined"
    ]
    if standing.never:
        untested.append(language(P.never).format(host=display(standing.target.host)))
    elif unsure:
        untested += [
            f"{display(standing.target.host)}: {language(NOTES[n])}" for n in unsure if n in NOTES
        ]
    if (
        untested
        and standing.last_good is not None
        and standing.last_attempt is not None
        and standing.last_good < standing.last_attempt
    ):
        good = from_epoch(standing.last_good)
        assert good is not None
        facts.append(language(P.known_since).format(date=language.instant(good)))
    measured = from_epoch(standing.last_attempt)
    state = "unknown" if standing.verdict == "ok" and unsure else str(standing.verdict)
    worst = next((o for o in OUTCOMES if any(a.outcome == o for a in actions)), "")
    return ReportSite(
        name=display(standing.target.host),
        target=str(standing.target),
        state=state,
        state_text=language(STATES[state]),
        outcome=worst,
        facts=tuple(facts),
        untested=tuple(untested),
        expires=end,
        expires_text=language.date(end) if end else "",
        days_left=days_left(end, material.as_of) if end else None,
        measured=measured,
        measured_text=language.instant(measured) if measured else "",
    )


def _unsure(standing: EndpointStatus, rows: Sequence[ComplianceRow]) -> tuple[str, ...]:
    """Why a rule could not be told for this site, beside its findings: its page was not asked, or
    it was not looked at.
    """
    if standing.target.protocol != "https":
        return ()
    return tuple(
        dict.fromkeys(r.note for r in rows if r.state is ComplianceState.UNKNOWN and r.note)
    )


# -- dates ahead


def _events(material: ReportInput) -> tuple[ReportEvent, ...]:
    language, now = material.language, material.as_of
    horizon = (
        now + AHEAD
        if now < datetime.max.replace(tzinfo=UTC) - AHEAD
        else datetime.max.replace(tzinfo=UTC)
    )
    found = []
    for due in material.deadlines:
        if not now < due.at <= horizon:
            continue
        rows = [r for r in material.rows if r.deadline is due]
        if (
            not due.for_clients
            or (due.own and not rows)
            or not (rows or due.is_for(material.number, frozenset()))
        ):
            continue
        if due.issuer and not any(due.issuer in (s.issuer or "") for s in material.standings):
            continue
        failing = [r for r in rows if r.state is ComplianceState.WILL_FAIL]
        note = due.text or (language(due.affects) if due.affects else "")
        when = (
            language.day(due.at, material.zone if due.own else UTC)
            if due.precision == "day"
            else language.month(due.at)
        )
        found.append(
            ReportEvent(
                at=due.at,
                at_text=when,
                kind="own" if due.own else "rule",
                title=due.title if due.own else language(due.title),
                note=note,
                confirmed=due.confirmed,
                affected=tuple(dict.fromkeys(display(r.subject.name) for r in failing)),
                steps=_steps(failing, material),
            )
        )
    ends: dict[int, list[EndpointStatus]] = {}
    for standing in material.standings:
        end = from_epoch(standing.not_after)
        if end is not None and now < end <= horizon and standing.not_after is not None:
            ends.setdefault(standing.not_after, []).append(standing)
    for moment, ending in ends.items():
        end = from_epoch(moment)
        assert end is not None
        names = tuple(dict.fromkeys(display(s.target.host) for s in ending))
        found.append(
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
    for date in material.dates:
        if now < date.at <= horizon:
            when = language.instant(date.at) if date.kind == "window" else language.date(date.at)
            title = filled(language(date.words), date.values)
            found.append(
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
    return tuple(sorted(found, key=lambda e: (e.at, e.kind, e.title)))


def _steps(rows: Sequence[ComplianceRow], material: ReportInput) -> tuple[str, ...]:
    """The steps that lead there, in words and in their order; sites that have the same ones stand
    together before them.
    """
    language = material.language
    sites: dict[str, list[str]] = {}
    for row in rows:
        said = []
        for step in row.steps:
            words = language(P.step_late if step.late else P.step)
            date = language.day(step.by, material.zone)
            said.append(
                words.format(
                    step=language(STEPS[step.name]), date=date, who=language(WHO[step.actor])
                )
            )
        if said:
            sites.setdefault("; ".join(said), []).append(display(row.subject.name))
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
    """One sentence, and the state that stands beside it.

    Never good where something could not be told.
    """
    sites = counts["sites"]
    if not sites:
        return language(P.no_sites), "unknown"
    if you := grouped["you-act"]:
        names = len({a.site for a in you})
        first = min((a.by for a in you if a.by is not None and not a.late), default=None)
        if any(a.by is None for a in you):
            return language.count(P.you_now, P.you_now_many, names), "fault"
        assert first is not None
        return (
            language.count(P.you_by, P.you_by_many, names).replace("{date}", language.date(first)),
            "attention",
        )
    if grouped["we-act"] or grouped["escalated"]:
        names = len({a.site for a in (*grouped["we-act"], *grouped["escalated"])})
        return language.count(P.ours, P.ours_many, names), "attention"
    if counts["unknown"]:
        return language.count(P.some_unknown, P.some_unknown_many, counts["unknown"]), "unknown"
    if any(e.affected and e.kind in ("rule", "own") for e in events):
        return language(P.good_until), "attention"
    if accepted:
        return language(P.all_accepted), "attention"
    return language(P.all_good), "ok"


def _why(material: ReportInput) -> tuple[str, str, str]:
    """Three sentences, by what the sites do."""
    language = material.language
    codes: dict[str, str] = {}
    for standing in material.standings:
        for finding in standing.findings:
            codes.setdefault(finding.code, display(standing.target.host))
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


def _method(material: ReportInput) -> tuple[str, ...]:
    language = material.language
    lines = []
    if material.measured is not None:
        lines.append(
            language(P.measured).format(
                date=language.instant(material.measured), vantage=material.vantage
            )
        )
    visited = any(k.visited for subject in material.subjects for k in subject.known)
    lines += [language(P.how if visited else P.how_without_pages), language(P.limits)]
    return tuple(lines)


def _bars(sites: Sequence[ReportSite], language: Language) -> tuple[Bar, ...]:
    known = sorted((s for s in sites if s.days_left is not None), key=lambda s: s.days_left or 0)
    bars = []
    for site in known[:MAX_BARS]:
        days = site.days_left or 0
        text = (
            language.count(P.days_left, P.days_left_many, days)
            if days >= 0
            else language(P.expired)
        )
        bars.append(Bar(site.name, days, text))
    return tuple(bars)
