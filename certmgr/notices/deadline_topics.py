"""Deadlines of the provider that domains do not, or will not, meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from certmgr.checks.actors import we_install
from certmgr.compliance.assessment import ComplianceRow, judge
from certmgr.compliance.facts import ComplianceState
from certmgr.compliance.load import load_domain_facts
from certmgr.compliance.milestones import Deadline
from certmgr.notices.basis import TopicBasis, reason_to_suppress
from inventory.db.database import Database
from inventory.records import EndpointOwnership
from inventory.store import certificate_ends
from inventory.targets import Target
from inventory.vocabulary import Finding
from notifiers.pipeline.topic import DeadlineFacts, FaultFacts, ScheduledEnd, Topic
from notifiers.wording.scope import for_client


def deadlines(
    database: Database, now: datetime, dues: Sequence[Deadline], basis: TopicBasis
) -> tuple[list[Topic], dict[str, Topic | None]]:
    """Return the provider's deadlines that domains do not, or will not, meet.

    The second result has those that they meet, by key. Its value is None if that is undetermined.
    """
    known, statuses = load_domain_facts(database, now)
    rows = judge(known, dues, now)
    # Only compliance that was seen ends a ticket. While it is undetermined, the ticket stays.
    undetermined = {
        f"deadline:{r.subject.domain_id}:{r.deadline.name}:{r.subject.client_id}"
        for r in rows
        if r.state is ComplianceState.UNKNOWN
    }
    late_rows = [r for r in rows if r.state in (ComplianceState.FAILS, ComplianceState.WILL_FAIL)]
    # The basis also has retired endpoints, whose tickets are still open, and lacks those with
    # findings of low severity alone. Only the active endpoints of the assessment count here.
    ids = {(s.domain_id, s.target): s.id for s in statuses}
    failing = {ids[(r.subject.domain_id, t)] for r in late_rows for t, _ in r.failing}
    with database.read() as conn:
        others = certificate_ends.places(conn, sorted(failing - basis.places.keys()))
    places = {
        mark: place
        for mark, i in ids.items()
        if (place := basis.places.get(i) or others.get(i)) is not None
    }
    late = [_deadline(row, now, basis, places) for row in late_rows]
    met = [
        _deadline(row, now, basis, places) for row in rows if row.state is ComplianceState.COMPLIES
    ]
    return late, {s.key: s for s in met} | dict.fromkeys(undetermined)


def _suppressed(
    row: ComplianceRow, basis: TopicBasis, places: Mapping[tuple[int, Target], EndpointOwnership]
) -> tuple[str, tuple[Target, Finding | None] | None]:
    """Return why clients are not notified, and otherwise the first reason that they must read of.

    A domain misses its deadline as long as one endpoint does, so only if all faults of all its
    endpoints are accepted or handled by a case there is nothing to write about.
    """
    reasons = []
    for target, finding in row.failing:
        place = places.get((row.subject.domain_id, target))
        # Without a finding, the dates of the certificate are the reason.
        code = finding.code if finding else "certificate-expiring"
        reason = reason_to_suppress(place, code, basis, place.id) if place is not None else ""
        if not reason:
            return "", (target, finding)
        reasons.append(reason)
    return next(iter(reasons), ""), None


def _deadline(
    row: ComplianceRow,
    now: datetime,
    basis: TopicBasis,
    places: Mapping[tuple[int, Target], EndpointOwnership],
) -> Topic:
    subject, due = row.subject, row.deadline
    suppress_reason, first = _suppressed(row, basis, places)
    # The message instructs about a fault that is not handled yet.
    target, finding = first or next(iter(row.findings), (None, None))
    names = frozenset({subject.name, *(k.target.host for k in subject.known)})
    steps = [s for s in row.steps if s.actor == "client"]
    # If any step is the client's, the client has to know of the deadline. Otherwise the party of
    # the first step acts.
    actor = (
        steps[0].actor
        if steps
        else (row.steps[0].actor if row.steps else (finding.actor if finding else "staff"))
    )
    ahead = [s.by for s in steps if not s.late]
    facts = DeadlineFacts(
        title=due.title,
        text=due.text,
        # A deadline is the last second before the day from which its rule holds.
        day=(due.at + timedelta(seconds=1)).astimezone(basis.zone).date(),
        finding=(
            for_client(
                finding,
                names,
                codes=row.codes_at(target),
                owners=basis.owners,
                client_id=subject.client_id,
            )
            if finding and target
            else None
        ),
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
        # A late step has no day that could still be met, so the deadline itself is named.
        act_by=ahead[0] if ahead else due.at,
        suppress_reason=suppress_reason,
        # The domains that miss one deadline share a cause, so that staff handle them as one.
        cause=f"deadline {due.name}",
        tags=subject.tags,
    )


def with_deadlines_as_parents(topics: Sequence[Topic], dues: Sequence[Topic]) -> list[Topic]:
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
