"""How each domain complies with each dated rule. Pure.

:mod:`certmgr.compliance.load` reads the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from certmgr.checks.http import NO_PAGE
from certmgr.compliance.facts import ComplianceState, EndpointFacts, RuleResult, worst
from certmgr.compliance.milestones import Deadline
from certmgr.compliance.rules import NEEDS_CERTIFICATE, RULES, Rule
from certmgr.compliance.steps import ComplianceStep, backward_schedule
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, HttpsPolicy, Parties


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """One domain, with what is known about its HTTPS endpoints."""

    domain_id: int
    name: str
    client: str
    client_id: int
    purpose: str
    policy: HttpsPolicy | None
    parties: Parties
    tags: frozenset[str]  # of the domain and of its client
    known: tuple[EndpointFacts, ...]


class Waiver(NamedTuple):
    """Why a domain that does not comply has nothing to do.

    Attributes:
        by: Who accepted it.
        until: When the domain fails again; None: never.
        reason: Why.
    """

    by: str
    until: datetime | None
    reason: str


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
        waived: Why its faults do not count.
        steps: The steps that lead to compliance.
    """

    subject: DomainFacts
    deadline: Deadline
    state: ComplianceState
    findings: tuple[tuple[Target, Finding], ...] = ()
    failing: tuple[tuple[Target, Finding | None], ...] = ()
    since: datetime | None = None
    note: str = ""
    waived: Waiver | None = None
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


def _exemption(subject: DomainFacts, deadline: Deadline) -> Waiver | None:
    """Return why a domain is exempted from a deadline; None: it is not."""
    # The provider may exempt a domain from its deadlines, but not from the rules of browsers.
    if not deadline.own or subject.policy is not HttpsPolicy.OPTIONAL:
        return None
    return Waiver("the record of the domain", None, "the HTTPS policy of the domain is 'optional'")


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


def _waived(subject: DomainFacts, rule: Rule, at: datetime) -> Waiver | None:
    """Return the acceptance of the faults; None if the domain complies without acceptances too."""
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
    return Waiver(first.by, first.until, first.reason)


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
