"""How each domain stands against each dated rule: what is known -> rows.

Loading is one edge, judging is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certmgr.checks.http import NO_PAGE
from certmgr.compliance.milestones import Deadline, milestones
from certmgr.compliance.rules import (
    NEEDS_CERTIFICATE,
    RULES,
    ComplianceState,
    EndpointFacts,
    LeafFacts,
    RuleResult,
    worst,
)
from certmgr.compliance.steps import ComplianceStep, backwards
from certmgr.inspection.status import EndpointStatus, load
from inventory.db.database import Database, from_epoch, to_epoch
from inventory.store import clients, deadlines, domains, endpoint_status, page_observations
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, Parties


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """One domain with what is known of its HTTPS endpoints."""

    domain_id: int
    name: str
    client: str
    client_id: int
    purpose: str
    policy: str | None
    parties: Parties
    tags: frozenset[str]  # of the domain and of its client
    known: tuple[EndpointFacts, ...]


@dataclass(frozen=True, slots=True)
class ComplianceRow:
    """One domain and one deadline.

    ``since``: from when it does not comply, where that lies ahead. ``waived``: by whom, until, why.
    """

    subject: DomainFacts
    deadline: Deadline
    state: ComplianceState
    findings: tuple[tuple[Target, Finding], ...] = ()
    since: datetime | None = None
    note: str = ""
    waived: tuple[str, datetime | None, str] | None = None
    steps: tuple[ComplianceStep, ...] = ()


def assess(
    subject: DomainFacts,
    deadline: Deadline,
    at: datetime,
    judged: dict[str, list[tuple[EndpointFacts, RuleResult]]] | None = None,
) -> ComplianceRow | None:
    """None where the deadline does not concern the domain, or nothing can be checked.

    ``judged``: results by rule, for this subject. Pure.
    """
    rule = RULES.get(deadline.rule)
    if (
        rule is None
        or subject.purpose in NO_PAGE
        or not subject.known
        or not deadline.is_for(subject.client, subject.tags)
    ):
        return None
    judged = {} if judged is None else judged
    if deadline.rule not in judged:
        judged[deadline.rule] = [(k, rule(k, at)) for k in subject.known]
    results = judged[deadline.rule]
    result = worst(r for _, r in results)
    if result.state is ComplianceState.NONE:
        return None
    if (
        deadline.own
        and subject.policy == "optional"
        and result.state is not ComplianceState.COMPLIES
    ):
        reason = "the HTTPS policy of the domain is 'optional'"
        return ComplianceRow(
            subject, deadline, ComplianceState.WAIVED, waived=("the domain's record", None, reason)
        )
    findings = tuple(
        (k.target, f) for k, r in results if r.state is result.state for f in r.findings
    )
    if (
        result.state is ComplianceState.FAILS
        and (deadline.at >= at if deadline.own else deadline.at > at)
    ) or (
        result.state is ComplianceState.WILL_FAIL
        and result.since is not None
        and result.since < deadline.at
    ):
        result = RuleResult(ComplianceState.WILL_FAIL, result.findings, deadline.at, result.note)
    if (
        result.state is ComplianceState.COMPLIES
        and (waiver := _waived(subject, rule, at)) is not None
    ):
        return ComplianceRow(subject, deadline, ComplianceState.WAIVED, waived=waiver)
    return ComplianceRow(
        subject=subject,
        deadline=deadline,
        state=result.state,
        findings=findings,
        since=result.since,
        note=result.note,
        steps=_steps(subject, deadline, result, at),
    )


def _waived(
    subject: DomainFacts, rule: Any, at: datetime
) -> tuple[str, datetime | None, str] | None:
    """Whether it complies only because faults were accepted: then by whom, until when, and why."""
    taken: list[Acceptance] = []
    for known in subject.known if any(k.accepted for k in subject.known) else ():
        whole = EndpointFacts(
            target=known.target,
            purpose=known.purpose,
            findings=(*known.findings, *(f for f, _ in known.accepted)),
            leaves=known.leaves,
            looked=known.looked,
            visited=known.visited,
        )
        result = rule(whole, at)
        if result.state not in (ComplianceState.COMPLIES, ComplianceState.NONE):
            codes = {f.code for f in result.findings}
            taken += [a for f, a in known.accepted if f.code in codes]
    if not taken:
        return None
    first = min(taken, key=lambda a: a.until)
    return first.by, first.until, first.reason


def _steps(
    subject: DomainFacts, deadline: Deadline, result: RuleResult, at: datetime
) -> tuple[ComplianceStep, ...]:
    if result.state is not ComplianceState.WILL_FAIL and not (
        result.state is ComplianceState.FAILS and deadline.own
    ):
        return ()  # what has held for years is not counted backwards from
    end = (
        result.since
        if result.state is ComplianceState.WILL_FAIL and result.since is not None
        else deadline.at
    )
    codes = {f.code for f in result.findings}
    elsewhere = any(f.code == "points-elsewhere" for k in subject.known for f in k.findings)
    ends = (
        result.state is ComplianceState.WILL_FAIL and result.since != deadline.at
    )  # not the rule changes then, but the certificate runs out
    needs = (
        ends
        or bool(codes & NEEDS_CERTIFICATE)
        or any(k.having(NEEDS_CERTIFICATE) for k in subject.known)
    )
    return backwards(
        end, deadline, at, subject.parties, needs_certificate=needs, elsewhere=elsewhere
    )


def judge(
    subjects: Iterable[DomainFacts], dues: Sequence[Deadline], at: datetime
) -> list[ComplianceRow]:
    """Every domain and deadline that concern each other. Pure."""
    dues = [d for d in dues if d.rule in RULES]
    rows = []
    for subject in subjects:
        judged: dict[
            str, list[tuple[EndpointFacts, RuleResult]]
        ] = {}  # several milestones share a rule
        rows += [row for due in dues if (row := assess(subject, due, at, judged)) is not None]
    return rows


# -- what is known


def own_deadlines(database: Database, at: datetime | None = None) -> tuple[Deadline, ...]:
    """The provider's own deadlines; those of that time, where ``at`` is given."""
    with database.read() as conn:
        rows = deadlines.listing(conn, at=at)
    made = []
    for row in rows:
        moment = from_epoch(row["at"])
        assert moment is not None
        made.append(
            Deadline(
                name=row["name"],
                at=moment,
                title=row["title"],
                rule=row["rule"],
                affects="",
                source="the provider",
                confidence="V",
                own=True,
                text=row["text"] or "",
                clients=frozenset(row["clients"]),
                tags=frozenset(row["tags"]),
                purchase_days=row["purchase_days"],
                validation_days=row["validation_days"],
                installation_days=row["installation_days"],
            )
        )
    return tuple(made)


def all_deadlines(database: Database, at: datetime | None = None) -> tuple[Deadline, ...]:
    return tuple(
        sorted([*milestones(), *own_deadlines(database, at)], key=lambda d: (d.at, d.name))
    )


def subjects(
    database: Database,
    now: datetime,
    *,
    as_of: datetime | None = None,
    client: str | None = None,
    tag: str | None = None,
) -> tuple[list[DomainFacts], list[EndpointStatus]]:
    """What is known of every domain (of one client, or with a tag), and the endpoints' standings
    that it was made from.
    """
    at = as_of or now
    past = as_of is not None and as_of <= now
    standings = load(database, now, as_of=as_of, client=client, tag=tag)
    with database.read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        rows = domains.listing(conn, client_id=client_id, retired=past)
        pages = page_observations.visited(conn, to_epoch(at) if past else None, client_id)
        served = endpoint_status.leaves(conn, to_epoch(at) if past else None, client_id)
        client_tags = endpoint_status.client_tags(conn, client_id)
    by_domain: dict[int, list[EndpointStatus]] = {}
    for one in standings:
        by_domain.setdefault(one.domain_id, []).append(one)
    made = []
    for row in rows:
        mine = by_domain.get(row["id"])
        if mine is None:
            continue
        known = tuple(
            _known(s, row["purpose"], served.get(s.id, ()), s.id in pages)
            for s in mine
            if s.target.protocol == "https"
        )
        tags = frozenset(row["tags"]) | client_tags.get(row["client_id"], frozenset())
        made.append(
            DomainFacts(
                domain_id=row["id"],
                name=row["name"],
                client=row["client"],
                client_id=row["client_id"],
                purpose=row["purpose"],
                policy=row["policy"],
                parties=row["parties"],
                tags=tags,
                known=known,
            )
        )
    return made, standings


def _known(
    standing: EndpointStatus,
    purpose: str,
    served: Iterable[tuple[int, int, int | None]],
    visited: bool,
) -> EndpointFacts:
    leaves = []
    for start, end, public in served:
        not_before, not_after = from_epoch(start), from_epoch(end)
        assert not_before is not None
        assert not_after is not None
        leaves.append(LeafFacts(not_before, not_after, None if public is None else bool(public)))
    looked = standing.last_attempt is not None and not standing.never
    return EndpointFacts(
        target=standing.target,
        purpose=purpose,
        findings=tuple(standing.findings),
        leaves=tuple(leaves),
        looked=looked,
        visited=visited,
        accepted=tuple(standing.accepted),
    )
