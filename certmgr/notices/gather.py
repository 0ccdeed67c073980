"""Collect topics from the inventory: names that lose cover, faults, deadlines, resolved topics.

Only :func:`gather` and :func:`deadlines` read the database. The rest is pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise

from certmgr.acme import staff_news as automation
from certmgr.cases import topics as casework
from certmgr.checks.actors import actor_of, we_install
from certmgr.checks.codes import CODES
from certmgr.checks.folding import parent_of
from certmgr.compliance.assessment import ComplianceRow, judge, load_domain_facts, own_deadlines
from certmgr.compliance.milestones import Deadline
from certmgr.compliance.rules import ComplianceState
from certmgr.compliance.steps import backward_schedule
from certmgr.inspection.status import fix_location
from certmgr.purchases.model import LeadTimes
from inventory.certificates import organisation
from inventory.dates import shifted
from inventory.db.database import Database, to_epoch
from inventory.records import EndpointOwnership, FindingRecord, ListedFinding, TicketRecord
from inventory.store import certificate_ends, certificates, clients, domains, findings, runs
from inventory.store.certificate_ends import ServedLeaf
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Actor, Finding, Parties
from notifiers.pipeline.thresholds import DAY, ThresholdRules, default_renewal_lead, learned_lead
from notifiers.pipeline.topic import (
    CoverFacts,
    DeadlineFacts,
    EndedTopic,
    FaultFacts,
    NamedCertificate,
    NoticeSource,
    ScheduledEnd,
    Topic,
    TopicKind,
)
from notifiers.wording.scope import FOREIGN_CERTIFICATE, for_client

# Automation renews the certificates of a domain or client with this tag.
AUTOMATION_TAG = "auto-renewed"
# Findings that a renewal resolves.
_FIXED_BY_RENEWAL = frozenset(
    {"certificate-expired", "certificate-expiring", "revoked", "ca-distrusted"}
)
_DATE_CODES = frozenset({"certificate-expired", "certificate-expiring"})
_NOTIFIED_SEVERITIES = ("critical", "high", "medium")
# In addition to critical findings, visitors notice these.
VISIBLE = frozenset(
    {
        "name-not-found",
        "unreachable",
        "connection-failed",
        "https-missing",
        "redirect-loop",
        "redirect-broken",
        "answer-invalid",
        "handshake-failed",
    }
)


def gather(
    database: Database,
    now: datetime,
    tickets: Mapping[str, TicketRecord],
    rules: ThresholdRules,
    leads: LeadTimes,
    freeze: timedelta = timedelta(0),
    zone: tzinfo = UTC,
    window_minutes: int = 60,
    provider: str = "",
) -> NoticeSource:
    """Read the topics of the inventory.

    Args:
        tickets: The open tickets that clients were notified of, by key. The result contains those
            of them that are over.
        freeze: The length of the longest change freeze.
        zone: The time zone of the provider.
        window_minutes: The length of a proposed installation window.
        provider: The name of the provider, who acts in a case without an assignee.
    """
    at = to_epoch(now)
    # A week more than purchase and installation take: the earliest threshold lies there.
    until = now + max(rules.longest, leads.total + 7) * DAY + freeze
    horizon = to_epoch(until)
    with database.read() as conn:
        ids = certificate_ends.ending(
            conn, at, horizon, scaled=not (rules.by_client or rules.by_tag or freeze)
        )
        # Clients are never notified of findings of low severity.
        open_rows = [r for r in findings.listing(conn) if r.severity != "low"]
        notified_endpoint_ids = [
            int(m.endpoint_id) for m in tickets.values() if m.endpoint_id is not None
        ]
        # Endpoints of open tickets are read too, since their topic may be resolved by now.
        endpoint_ids = sorted(
            {
                *ids,
                *(r.endpoint_id for r in open_rows if r.severity in _NOTIFIED_SEVERITIES),
                *notified_endpoint_ids,
            }
        )
        places = certificate_ends.places(conn, endpoint_ids)
        served = certificate_ends.leaves(conn, endpoint_ids)
        history = certificate_ends.replacements(conn, ids)
        # Accepted findings suppress notices while the acceptance is in force.
        accepted = findings.acceptances(conn, now)
        assigned = findings.acceptances(conn, kind="take")
        run = runs.last_run(conn)
        complete = runs.last_complete(conn)
        client_count = clients.count_with_domains(conn)
        names = domains.names_of_clients(conn, sorted({p.client_id for p in places.values()}))
        ends = certificates.ends_of(
            conn, [str(m.round) for m in tickets.values() if m.kind == TopicKind.COVER]
        )
        case_topics = casework.gather(conn, now, tickets, leads, window_minutes, provider)
        purchase_topics = casework.purchase_topics(
            conn, now, leads, until - now, case_topics.open_names
        )
        automation_report = automation.gather(conn, now)
        known = findings.by_ids(
            conn, [int(m.round) for m in tickets.values() if m.kind == TopicKind.FAULT]
        )
    by_endpoint: dict[int, list[ListedFinding]] = {}
    for row in open_rows:
        by_endpoint.setdefault(row.endpoint_id, []).append(row)
    basis = _Basis(
        now,
        places,
        by_endpoint,
        served,
        accepted,
        assigned,
        names,
        ends,
        zone,
        case_topics.open_names,
        automation_report.automated,
    )
    topics = [s for i in ids if (s := cover(basis, i, history.get(i, ()), leads)) is not None]
    covered = {s.endpoint_id for s in topics}
    topics += faults(basis, covered)
    # Deadlines of browsers and CAs reach clients by announcements only.
    due = [d for d in own_deadlines(database) if now - timedelta(days=400) <= d.at <= until]
    met: dict[str, Topic | None] = {}
    if due:
        deadline_topics, met = deadlines(database, now, due, basis)
        topics = [*_parented(topics, deadline_topics), *deadline_topics]
    topics += [*case_topics.topics, *purchase_topics]
    current = {s.key: s for s in topics}
    ended = case_topics.ended | {
        k: e
        for k, m in tickets.items()
        if (e := resolved_topic(m, current.get(k), basis, known, met)) is not None
    }
    undetermined = Counter(r.code for r in open_rows if r.severity == "undetermined")
    # A suspect run may report faults that do not exist, so nothing goes to clients.
    suspect = (
        f"the last run (number {run.id}) is suspect: {run.reason}"
        if run and run.state == "suspect"
        else ""
    )
    return NoticeSource(
        topics=tuple(topics),
        ended=ended,
        suspect=suspect,
        clients=client_count,
        run=run.id if run else 0,
        whole_run=complete is not None,
        staff_tasks=case_topics.staff_tasks,
        worklist=case_topics.worklist,
        undetermined=undetermined,
        automation=automation_report.lines,
        alarms=automation_report.alarms,
    )


@dataclass(frozen=True, slots=True)
class _Basis:
    """What the database knows.

    Attributes:
        places: Endpoint rows by id.
        open: Open finding rows by endpoint id.
        served: The served leaf certificates by endpoint id.
        assigned: Assignments of findings.
        names: The names of each client.
        ends: The end of a certificate by its SHA-256.
        zone: The time zone of the provider, in which their deadlines end.
        case_references: Client id -> name -> reference of the open case for it.
        automated: The time until which our automation handles an endpoint.
    """

    now: datetime
    places: Mapping[int, EndpointOwnership]
    open: Mapping[int, Sequence[ListedFinding]]
    served: Mapping[int, Sequence[ServedLeaf]]
    accepted: Sequence[Acceptance]
    assigned: Sequence[Acceptance]
    names: Mapping[int, frozenset[str]]
    ends: Mapping[str, int]
    zone: tzinfo
    case_references: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    automated: Mapping[int, datetime] = field(default_factory=dict)


def _from_epoch(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _suppress_reason(place: EndpointOwnership, code: str, basis: _Basis, endpoint_id: int) -> str:
    """Return why clients are never notified of it. Empty if they may be."""
    if "retired" in (place.state, place.domain_state, place.client_state):
        return "it is retired"
    # The client moves the domain away, so renewing is not expected any more.
    if place.domain_state == "leaving":
        return "the domain is leaving"
    # The case sends its own notices about the certificate.
    concerns_holder = code in CODES and CODES[code].role.startswith("holder")
    if (
        concerns_holder
        and (case := basis.case_references.get(place.client_id, {}).get(place.host)) is not None
    ):
        return f"case {case} handles it"
    for acceptance in basis.accepted:
        if acceptance.covers(code, place.client_id, place.domain_id, endpoint_id, basis.now):
            return (
                f"accepted by {acceptance.by} until {acceptance.until:%Y-%m-%d}:"
                f" {acceptance.reason}"
            )
    return ""


def _assigned(
    place: EndpointOwnership, code: str, basis: _Basis, endpoint_id: int
) -> tuple[str, datetime] | None:
    """Return who fixes it by when: the latest assignment, even if its date has passed."""
    matching = [
        t
        for t in basis.assigned
        if t.code == code
        and t.client_id in (None, place.client_id)
        and t.domain_id in (None, place.domain_id)
        and t.endpoint_id in (None, endpoint_id)
    ]
    # The latest promise counts, so that an extended one replaces the first.
    last = max(matching, key=lambda t: t.until, default=None)
    # Our automation renews without an assignment by a person.
    if (
        last is None
        and code in _FIXED_BY_RENEWAL
        and (until := basis.automated.get(endpoint_id)) is not None
    ):
        return "automatic renewal", until
    return None if last is None else (last.by, last.until)


def _target(place: EndpointOwnership) -> Target:
    return Target(place.host, place.port, place.protocol)


# -- cover


def cover(
    basis: _Basis, endpoint_id: int, history: Sequence[tuple[str, int, int, int]], leads: LeadTimes
) -> Topic | None:
    """Return the topic of the certificate that ends first on the addresses of an endpoint.

    None if the certificate belongs to another client: that is a fault, and not an end.
    """
    place, served = basis.places.get(endpoint_id), basis.served.get(endpoint_id)
    rows = basis.open.get(endpoint_id, ())
    codes = {r.code for r in rows}
    if place is None or not served or codes & FOREIGN_CERTIFICATE:
        return None
    # The address whose certificate ends first decides when the name loses cover.
    first = min(served, key=lambda leaf: (leaf.not_after, leaf.sha256))
    end, start, now = _from_epoch(first.not_after), _from_epoch(first.not_before), basis.now
    parties = place.parties
    is_over = end <= now
    code = "certificate-expired" if is_over else "certificate-expiring"
    elsewhere = "points-elsewhere" in codes
    actor = actor_of(code, "high", parties, elsewhere=elsewhere, ever_had_certificate=True)
    # A panel or CDN renews automatically, so the client needs no time for buying.
    client_buys = (
        actor is Actor.CLIENT
        and parties.renews not in ("panel", "cdn")
        and parties.buys not in ("panel", "cdn")
    )
    renewal_lead = _renewal_lead(
        place, parties, history, end - start, ours=endpoint_id in basis.automated
    )
    steps = backward_schedule(
        end,
        Deadline(
            "",
            end,
            "",
            purchase_days=leads.purchase,
            validation_days=leads.validation,
            installation_days=leads.installation,
        ),
        now,
        parties,
        needs_certificate=True,
        elsewhere=elsewhere,
    )
    ahead = [s.by for s in steps if s.actor == "client" and not s.late]
    # The finding names only the addresses that serve the certificate that ends first.
    addresses = tuple(sorted(leaf.address for leaf in served if leaf.sha256 == first.sha256))
    finding = Finding(
        code, "critical" if is_over else "high", addresses, {"not_after": end.isoformat()}, actor
    )
    # Only a certificate that starts and ends later is a successor.
    newer = [
        leaf
        for leaf in served
        if leaf.not_after > first.not_after and leaf.not_before > first.not_before
    ]
    kind, where = fix_location(
        _target(place), place.client, place.server, first.sha256, first.issuer, finding
    )
    facts = CoverFacts(
        endpoint_id=endpoint_id,
        server_id=place.server_id,
        finding=finding,
        certificate=_named(first),
        partial=bool(newer),
        we_install=we_install(parties, elsewhere),
    )
    return Topic(
        key=f"cover:{endpoint_id}:{place.client_id}",
        revision=first.sha256,
        client_id=place.client_id,
        client=place.client,
        domain_id=place.domain_id,
        target=_target(place),
        severity=str(finding.severity),
        actor=str(actor),
        code=code,
        opened=start,
        facts=facts,
        schedule=ScheduledEnd(end, end - start, leads.total if client_buys else 0, renewal_lead),
        act_by=_act_by(end, ahead if client_buys else (), now),
        visible=is_over,
        assigned=_assigned(place, code, basis, endpoint_id),
        suppress_reason=_suppress_reason(place, code, basis, endpoint_id),
        cause=f"{kind} {where} {code}",
        tags=place.tags,
    )


def _act_by(end: datetime, ahead: Sequence[datetime], now: datetime) -> datetime:
    """Return the day of the first step that is still in time.

    If all steps are late, it is the day before the end, since the new certificate has to be
    installed too; else the end.
    """
    return next((by for by in (*ahead, shifted(end, -DAY)) if by > now), end)


def _renewal_lead(
    place: EndpointOwnership,
    parties: Parties,
    history: Sequence[tuple[str, int, int, int]],
    life: timedelta,
    *,
    ours: bool,
) -> timedelta | None:
    """Return how long before the end automation renews. None if people renew.

    It is learned from two replacements. If there are none, it is a third of the lifetime, provided
    that automation is configured.
    """
    leads = [_from_epoch(before[3]) - _from_epoch(after[1]) for before, after in pairwise(history)]
    learned = learned_lead(life, leads)
    # Observed behaviour wins over what is configured.
    if learned is not None:
        return learned
    configured = (
        (parties.renews or parties.buys) in ("panel", "cdn") or AUTOMATION_TAG in place.tags or ours
    )
    return default_renewal_lead(life) if configured else None


# -- faults


def faults(basis: _Basis, covered: set[int | None]) -> list[Topic]:
    """Return the topics of open findings.

    Args:
        covered: The endpoints that have a cover topic.
    """
    topics = []
    for endpoint_id, rows in basis.open.items():
        place = basis.places.get(endpoint_id)
        if place is None:
            continue
        codes = {r.code for r in rows}
        for row in rows:
            # The cover topic already has the dates of the certificate.
            if (
                row.severity in _NOTIFIED_SEVERITIES
                and row.actor != "none"
                and not (endpoint_id in covered and row.code in _DATE_CODES)
            ):
                topics.append(_fault(basis, endpoint_id, place, row, codes))
    return topics


def _fault(
    basis: _Basis,
    endpoint_id: int,
    place: EndpointOwnership,
    row: ListedFinding,
    codes: set[str],
) -> Topic:
    code = row.code
    raw = Finding(code, row.severity, tuple(row.addresses), row.evidence, row.actor)
    finding = for_client(
        raw,
        basis.names.get(place.client_id, frozenset()),
        foreign_certificate=bool(codes & FOREIGN_CERTIFICATE),
    )
    served = basis.served.get(endpoint_id, ())
    leaf = served[0] if served else None
    kind, where = fix_location(
        _target(place),
        place.client,
        place.server,
        leaf.sha256 if leaf else None,
        leaf.issuer if leaf else None,
        raw,
    )
    # A fault that another one causes is resolved with it.
    parent = parent_of(code, codes)
    facts = FaultFacts(
        endpoint_id=endpoint_id,
        server_id=place.server_id,
        finding=finding,
        # The served certificate may belong to another client, whose data no message shows.
        certificate=_named(leaf) if leaf is not None and not codes & FOREIGN_CERTIFICATE else None,
        parent=f"fault:{endpoint_id}:{parent}:{place.client_id}" if parent else "",
        run=row.opened_run or 0,
        confirmed=row.opened_run is None or row.opened_run < (place.last_run_id or 0),
        we_install=we_install(place.parties, "points-elsewhere" in codes),
    )
    return Topic(
        key=f"fault:{endpoint_id}:{code}:{place.client_id}",
        revision=str(row.id),
        client_id=place.client_id,
        client=place.client,
        domain_id=place.domain_id,
        target=_target(place),
        severity=str(row.severity),
        actor=row.actor,
        code=code,
        opened=_from_epoch(row.opened_at),
        facts=facts,
        # Browsers show an error for critical findings, so visitors notice them.
        visible=row.severity == "critical" or code in VISIBLE,
        assigned=_assigned(place, code, basis, endpoint_id),
        suppress_reason=_suppress_reason(place, code, basis, endpoint_id),
        cause=f"{kind} {where} {code}",
        tags=place.tags,
    )


def _named(leaf: ServedLeaf) -> NamedCertificate:
    """Return the certificate that a message names."""
    return NamedCertificate(leaf.serial, organisation(leaf.issuer), _from_epoch(leaf.not_after))


# -- deadlines


def deadlines(
    database: Database, now: datetime, dues: Sequence[Deadline], basis: _Basis
) -> tuple[list[Topic], dict[str, Topic | None]]:
    """Return the provider's deadlines that domains do not, or will not, meet.

    The second result has those that they meet, by key. Its value is None if that is undetermined.
    """
    known, _ = load_domain_facts(database, now)
    rows = judge(known, dues, now)
    undetermined = {
        f"deadline:{r.subject.domain_id}:{r.deadline.name}:{r.subject.client_id}"
        for r in rows
        if r.state is ComplianceState.UNKNOWN
    }
    late = [
        _deadline(row, now, basis)
        for row in rows
        if row.state in (ComplianceState.FAILS, ComplianceState.WILL_FAIL)
    ]
    met = [_deadline(row, now, basis) for row in rows if row.state is ComplianceState.COMPLIES]
    return late, {s.key: s for s in met} | dict.fromkeys(undetermined)


def _deadline(row: ComplianceRow, now: datetime, basis: _Basis) -> Topic:
    subject, due = row.subject, row.deadline
    target, finding = next(iter(row.findings), (None, None))
    names = frozenset({subject.name, *(k.target.host for k in subject.known)})
    steps = [s for s in row.steps if s.actor == "client"]
    actor = (
        steps[0].actor
        if steps
        else (row.steps[0].actor if row.steps else (finding.actor if finding else "staff"))
    )
    ahead = [s.by for s in steps if not s.late]
    suppress_reason = next(
        (
            _suppress_reason(p, finding.code if finding else "", basis, i)
            for i, p in basis.places.items()
            if p.domain_id == subject.domain_id
        ),
        "",
    )
    facts = DeadlineFacts(
        title=due.title,
        text=due.text,
        # A deadline is the last second before the day from which its rule holds.
        day=(due.at + timedelta(seconds=1)).astimezone(basis.zone).date(),
        finding=for_client(finding, names) if finding else None,
        we_install=we_install(subject.parties, False),
    )
    return Topic(
        key=f"deadline:{subject.domain_id}:{due.name}:{subject.client_id}",
        revision=due.at.isoformat(),
        client_id=subject.client_id,
        client=subject.client,
        domain_id=subject.domain_id,
        target=target or Target(subject.name),
        severity="high",
        actor=str(actor),
        code=finding.code if finding else "",
        opened=now - timedelta(days=1),
        facts=facts,
        schedule=ScheduledEnd(
            due.at, lead_days=due.purchase_days + due.validation_days + due.installation_days
        ),
        act_by=ahead[0] if ahead else due.at,
        suppress_reason=suppress_reason,
        cause=f"deadline {due.name}",
        tags=subject.tags,
    )


def _parented(topics: Sequence[Topic], dues: Sequence[Topic]) -> list[Topic]:
    """Return the topics, with faults that violate a deadline as its children.

    A critical fault stays separate, since visitors see an error now.
    """
    by_domain: dict[tuple[int, str], str] = {(d.domain_id, d.code): d.key for d in dues if d.code}
    return [
        (
            replace(s, facts=replace(s.facts, parent=by_domain[(s.domain_id, s.code)]))
            if isinstance(s.facts, FaultFacts)
            and s.severity != "critical"
            and (s.domain_id, s.code) in by_domain
            else s
        )
        for s in topics
    ]


# -- resolved topics


def resolved_topic(
    ticket: TicketRecord,
    now_: Topic | None,
    basis: _Basis,
    closed: Mapping[int, FindingRecord],
    met: Mapping[str, Topic | None],
) -> EndedTopic | None:
    """Return whether a notified ticket is over, and whether it was resolved.

    None while it continues, or if that is undetermined.
    """
    key, kind = ticket.key, ticket.kind
    # The same revision still exists.
    if now_ is not None and now_.revision == ticket.round:
        return None
    # A retired or transferred endpoint ends the ticket without a message.
    place = None
    if ticket.endpoint_id is not None:
        place = basis.places.get(ticket.endpoint_id)
        if place is None or "retired" in (place.state, place.domain_state, place.client_state):
            return EndedTopic(key, False, "it is retired")
        if place.client_id != ticket.client_id:
            return EndedTopic(key, False, "it belongs to another client now")
    if place is not None and kind == TopicKind.COVER:
        served = basis.served.get(place.id, ())
        if not served or any(leaf.sha256 == ticket.round for leaf in served):
            return None  # still served; or no scan result, so the last known state is kept
        codes = {r.code for r in basis.open.get(place.id, ())}
        if codes & FOREIGN_CERTIFICATE or min(leaf.not_after for leaf in served) <= basis.ends.get(
            ticket.round, 0
        ):
            return None  # another certificate that ends no later
        return EndedTopic(
            key, True, f"replaced: {served[0].serial} is served", _remnant(ticket, place)
        )
    if place is not None and kind == TopicKind.FAULT:
        row_id = int(ticket.round)
        if row_id not in closed:
            return EndedTopic(key, False, "its finding was deleted")
        if closed[row_id].closed_at is None:
            return (
                EndedTopic(key, False, "it was accepted, or the client no longer has to act")
                if now_ is None
                else None
            )
        return EndedTopic(
            key,
            True,
            "it was no longer found",
            _remnant(ticket, place, _resolved_finding(closed[row_id], place, basis)),
            closed[row_id].closed_run or 0,
        )
    if kind == TopicKind.ORDER:
        return casework.ended_purchase_topic(key, set() if now_ is None else {key})
    if kind == TopicKind.DEADLINE:
        if key in met:
            good = met[key]
            return (
                None
                if good is None
                else EndedTopic(
                    key, True, "it complies now", replace(good, schedule=None, severity="medium")
                )
            )
        return EndedTopic(key, False, "the deadline or the domain is no longer checked")
    return None


def _resolved_finding(row: FindingRecord, place: EndpointOwnership, basis: _Basis) -> Finding:
    raw = Finding(row.code, "medium", row.addresses, row.evidence)
    return for_client(
        raw,
        basis.names.get(place.client_id, frozenset()),
        foreign_certificate=row.code in FOREIGN_CERTIFICATE,
    )


def _remnant(
    ticket: TicketRecord, place: EndpointOwnership, finding: Finding | None = None
) -> Topic:
    """Return enough of the topic to compose the message that it is done."""
    kind = CoverFacts if ticket.kind == TopicKind.COVER else FaultFacts
    return Topic(
        key=ticket.key,
        revision=ticket.round,
        client_id=place.client_id,
        client=place.client,
        domain_id=place.domain_id,
        target=_target(place),
        severity="medium",
        actor="client",
        code=ticket.code or "",
        opened=_from_epoch(ticket.opened_at),
        facts=kind(endpoint_id=ticket.endpoint_id, server_id=place.server_id, finding=finding),
    )
