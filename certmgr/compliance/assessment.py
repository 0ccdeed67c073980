"""Assess how each domain complies with each dated rule.

Loading reads the database. The assessment itself is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from certmgr.checks.http import NO_PAGE
from certmgr.compliance.facts import ComplianceState, EndpointFacts, LeafFacts, RuleResult, worst
from certmgr.compliance.milestones import Deadline, milestones
from certmgr.compliance.rules import NEEDS_CERTIFICATE, RULES, Rule
from certmgr.compliance.steps import ComplianceStep, backward_schedule
from certmgr.inspection.status import EndpointStatus, load
from certmgr.renewers.load import load_facts
from certmgr.renewers.plan import EXPIRING
from certmgr.renewers.renewer import RenewalFacts, Renewer
from inventory.db.database import Database, from_epoch, to_epoch
from inventory.records import ListedDomain
from inventory.store import clients, deadlines, domains, endpoint_status, page_observations
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, Parties, Party


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """One domain, with what is known about its HTTPS endpoints."""

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
    """The assessment of one domain for one deadline.

    Attributes:
        findings: Why it does not comply, or why that is undetermined.
        failing: Each endpoint that does not, or will not, comply, with each reason; those that
            fail already come first. None: no scan has found the reason yet, which is always one
            of the certificate's dates.
        since: From when it will not comply, if that is in the future.
        note: The reason in words, if no finding gives it.
        waived: By whom, until when, and why the faults were accepted.
        steps: The steps that lead to compliance.
    """

    subject: DomainFacts
    deadline: Deadline
    state: ComplianceState
    findings: tuple[tuple[Target, Finding], ...] = ()
    failing: tuple[tuple[Target, Finding | None], ...] = ()
    since: datetime | None = None
    note: str = ""
    waived: tuple[str, datetime | None, str] | None = None
    steps: tuple[ComplianceStep, ...] = ()

    def codes_at(self, target: Target) -> frozenset[str]:
        """Return all codes that were found at an endpoint of the domain, accepted ones too.

        ``findings`` has only those of the rule, which do not show whose certificate is served.
        """
        return frozenset(
            f.code
            for k in self.subject.known
            if k.target == target
            for f in (*k.findings, *(a for a, _ in k.accepted))
        )


def assess(
    subject: DomainFacts,
    deadline: Deadline,
    at: datetime,
    judged: dict[str, list[tuple[EndpointFacts, RuleResult]]] | None = None,
) -> ComplianceRow | None:
    """Assess one domain for one deadline. Pure.

    Args:
        subject: The domain.
        deadline: The deadline.
        at: The time of the assessment.
        judged: A cache of the results for this domain, by rule.

    Returns:
        The assessment; None if the deadline does not apply to the domain, or if nothing can be
        checked.
    """
    rule = RULES.get(deadline.rule)
    # A parked or mail-only domain has no page that could comply.
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
    # One failing endpoint is enough for the domain to fail.
    result = worst(r for _, r in results)
    if result.state is ComplianceState.NONE:
        return None
    if result.state is not ComplianceState.COMPLIES and (by := _exemption(subject, deadline)):
        return ComplianceRow(subject, deadline, ComplianceState.WAIVED, waived=by)
    findings = tuple(
        (k.target, f) for k, r in results if r.state is result.state for f in r.findings
    )
    result = _before_the_deadline(result, deadline, at)
    # A domain whose faults are accepted must not be shown as complying.
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
        failing=_failing(results),
        since=result.since,
        note=result.note,
        steps=_steps(subject, deadline, result, at),
    )


def _exemption(subject: DomainFacts, deadline: Deadline) -> tuple[str, datetime | None, str] | None:
    """Return by whom, until when, and why a domain is exempted from a deadline; None: it is not."""
    # The provider may exempt a domain from its deadlines, but not from the rules of browsers.
    if not deadline.own or subject.policy != "optional":
        return None
    return "the record of the domain", None, "the HTTPS policy of the domain is 'optional'"


def _failing(
    results: Sequence[tuple[EndpointFacts, RuleResult]],
) -> tuple[tuple[Target, Finding | None], ...]:
    """Return each endpoint that does not, or will not, comply, with each reason."""
    return tuple(
        (known.target, finding)
        for state in (ComplianceState.FAILS, ComplianceState.WILL_FAIL)
        for known, result in results
        if result.state is state
        for finding in (result.findings or (None,))
    )


def _before_the_deadline(result: RuleResult, deadline: Deadline, at: datetime) -> RuleResult:
    """Return what a result means for a rule that may not hold yet.

    Before the deadline a fault is no violation yet. A certificate that expires earlier does not
    matter either until the rule holds.
    """
    # A deadline of the provider includes its date; a rule of browsers holds from its date on.
    holds = deadline.at < at if deadline.own else deadline.at <= at
    fails_early = result.state is ComplianceState.FAILS and not holds
    expires_early = (
        result.state is ComplianceState.WILL_FAIL
        and result.since is not None
        and result.since < deadline.at
    )
    if fails_early or expires_early:
        return RuleResult(ComplianceState.WILL_FAIL, result.findings, deadline.at, result.note)
    return result


def _waived(
    subject: DomainFacts, rule: Rule, at: datetime
) -> tuple[str, datetime | None, str] | None:
    """Return by whom, until when, and why the faults were accepted.

    None if the domain complies without the acceptances too.
    """
    deciding: list[Acceptance] = []
    # Without an acceptance the rule need not be evaluated a second time.
    for known in subject.known if any(k.accepted for k in subject.known) else ():
        # The same endpoint, as if no finding was accepted.
        unaccepted = EndpointFacts(
            target=known.target,
            purpose=known.purpose,
            findings=(*known.findings, *(f for f, _ in known.accepted)),
            leaves=known.leaves,
            checked=known.checked,
            visited=known.visited,
            renewed=known.renewed,
            planned=known.planned,
        )
        result = rule(unaccepted, at)
        if result.state not in (ComplianceState.COMPLIES, ComplianceState.NONE):
            codes = {f.code for f in result.findings}
            deciding += [a for f, a in known.accepted if f.code in codes]
    if not deciding:
        return None
    # The domain fails again when the first acceptance ends.
    first = min(deciding, key=lambda a: a.until)
    return first.by, first.until, first.reason


def _steps(
    subject: DomainFacts, deadline: Deadline, result: RuleResult, at: datetime
) -> tuple[ComplianceStep, ...]:
    if result.state is not ComplianceState.WILL_FAIL and not (
        result.state is ComplianceState.FAILS and deadline.own
    ):
        return ()  # a rule that holds already leaves no time for steps
    # For a certificate that expires, the steps lead to its end; otherwise to the deadline.
    end = (
        result.since
        if result.state is ComplianceState.WILL_FAIL and result.since is not None
        else deadline.at
    )
    codes = {f.code for f in result.findings}
    # An expired certificate is replaced now: a plan that counts back from a later date misleads.
    if "certificate-expired" in codes:
        return ()
    elsewhere = any(f.code == "points-elsewhere" for k in subject.known for f in k.findings)
    # If the date is not that of the deadline, it is the expiry date of the certificate.
    expires = result.state is ComplianceState.WILL_FAIL and result.since != deadline.at
    needs_certificate = (
        expires
        or bool(codes & NEEDS_CERTIFICATE)
        or any(k.faults(NEEDS_CERTIFICATE) for k in subject.known)
    )
    return backward_schedule(
        end, deadline, at, subject.parties, needs_certificate=needs_certificate, elsewhere=elsewhere
    )


def judge(
    facts: Iterable[DomainFacts], deadlines: Sequence[Deadline], at: datetime
) -> list[ComplianceRow]:
    """Assess each domain for each deadline that applies to it. Pure."""
    checkable = [d for d in deadlines if d.rule in RULES]
    rows = []
    for subject in facts:
        # Several milestones share a rule, so its results are cached.
        judged: dict[str, list[tuple[EndpointFacts, RuleResult]]] = {}
        rows += [row for d in checkable if (row := assess(subject, d, at, judged)) is not None]
    return rows


# -- loading


def own_deadlines(database: Database, at: datetime | None = None) -> tuple[Deadline, ...]:
    """Return the deadlines of the provider; with ``at``, those that existed at that time."""
    with database.read() as conn:
        rows = deadlines.listing(conn, at=at)
    own = []
    for row in rows:
        timestamp = from_epoch(row.at)
        assert timestamp is not None
        own.append(
            Deadline(
                name=row.name,
                at=timestamp,
                title=row.title,
                rule=row.rule,
                affects="",
                source="the provider",
                confidence="V",  # the provider is the primary source
                own=True,
                text=row.text or "",
                clients=frozenset(row.clients),
                tags=frozenset(row.tags),
                purchase_days=row.purchase_days,
                validation_days=row.validation_days,
                installation_days=row.installation_days,
            )
        )
    return tuple(own)


def all_deadlines(database: Database, at: datetime | None = None) -> tuple[Deadline, ...]:
    """Return the milestones and the deadlines of the provider, the earliest first."""
    return tuple(
        sorted([*milestones(), *own_deadlines(database, at)], key=lambda d: (d.at, d.name))
    )


def load_domain_facts(
    database: Database,
    now: datetime,
    *,
    as_of: datetime | None = None,
    client: str | None = None,
    tag: str | None = None,
) -> tuple[list[DomainFacts], list[EndpointStatus]]:
    """Load what is known about the domains.

    Args:
        database: The inventory.
        now: The current time.
        as_of: In the past: what was known then. In the future: what is known now, with the
            validity dates judged at that time.
        client: Only the domains of this client (number or name).
        tag: Only endpoints with this tag.

    Returns:
        The domains that have an endpoint, and the status of these endpoints.
    """
    at = as_of or now
    past = as_of is not None and as_of <= now
    statuses = load(database, now, as_of=as_of, client=client, tag=tag)
    with database.read() as conn:
        client_id = clients.find(conn, client).id if client else None
        rows = domains.listing(conn, client_id=client_id, retired=past)
        pages = page_observations.visited(conn, to_epoch(at) if past else None, client_id)
        served = endpoint_status.leaves(conn, to_epoch(at) if past else None, client_id)
        client_tags = clients.tags(conn, client_id)
    renewals = None if past else _renewal_facts(database, now, client_id, statuses)
    by_domain: dict[int, list[EndpointStatus]] = {}
    for status in statuses:
        by_domain.setdefault(status.domain_id, []).append(status)
    facts = []
    for row in rows:
        endpoints_of_domain = by_domain.get(row.id)
        if endpoints_of_domain is None:
            continue  # no endpoint is selected
        known = tuple(
            _known(
                s,
                row.purpose,
                served.get(s.id, ()),
                s.id in pages,
                renewed=renewals is not None
                and _is_in_time(s)
                and is_planned(renewals.renewer(row.client_id, s.target.host), row.parties),
            )
            for s in endpoints_of_domain
            if s.target.protocol == "https"  # the rules are about websites
        )
        facts.append(_domain_facts(row, client_tags.get(row.client_id, frozenset()), known))
    return facts, statuses


def _domain_facts(
    row: ListedDomain, client_tags: frozenset[str], known: tuple[EndpointFacts, ...]
) -> DomainFacts:
    return DomainFacts(
        domain_id=row.id,
        name=row.name,
        client=row.client,
        client_id=row.client_id,
        purpose=row.purpose,
        policy=row.policy,
        parties=row.parties,
        # A tag of the client holds for all its domains.
        tags=frozenset(row.tags) | client_tags,
        known=known,
    )


def _renewal_facts(
    database: Database, now: datetime, client_id: int | None, statuses: Sequence[EndpointStatus]
) -> RenewalFacts | None:
    """Return who renews the certificates; None if none ends soon, so that it does not matter."""
    if not any(
        s.planned is not None or any(f.code == EXPIRING for f in s.findings) for s in statuses
    ):
        return None
    with database.read() as conn:
        # Automation that was only observed is no promise, and reading it costs more than the rest.
        return load_facts(conn, now, client_id, learned=False)


def is_planned(renewer: Renewer, parties: Parties) -> bool:
    """Return whether a renewal is ours or automatic, and no trouble is known."""
    # Who buys a certificate also renews it, unless another party is recorded.
    ours = (parties.renews or parties.buys) == Party.US
    return not renewer.trouble and (renewer.automatic or ours)


def _is_in_time(status: EndpointStatus) -> bool:
    """Return whether no renewal is due there that is late or not planned."""
    return status.planned is not None or all(f.code != EXPIRING for f in status.findings)


def _known(
    status: EndpointStatus,
    purpose: str,
    served: Iterable[tuple[int, int, int | None]],
    visited: bool,
    *,
    renewed: bool = False,
) -> EndpointFacts:
    leaves = []
    for start, end, public in served:
        not_before, not_after = from_epoch(start), from_epoch(end)
        assert not_before is not None
        assert not_after is not None
        leaves.append(LeafFacts(not_before, not_after, None if public is None else bool(public)))
    # An endpoint that was scanned only in incomplete runs counts as not checked.
    checked = status.last_attempt is not None and not status.never
    return EndpointFacts(
        target=status.target,
        purpose=purpose,
        findings=tuple(status.findings),
        leaves=tuple(leaves),
        checked=checked,
        visited=visited,
        accepted=tuple(status.accepted),
        renewed=renewed,
        planned=status.planned,
    )
