"""What a rule judges, and its result, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from certmgr.renewers.plan import RenewalPlan
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding


class ComplianceState(StrEnum):
    """How an endpoint or a domain complies with a rule.

    ``NONE``: the rule does not apply, since there is no certificate or one of a private CA.
    """

    COMPLIES = "complies"
    FAILS = "does-not-comply"
    WILL_FAIL = "will-not-comply"
    UNKNOWN = "not-determined"
    WAIVED = "waived"
    NONE = "not-affected"


@dataclass(frozen=True, slots=True)
class LeafFacts:
    """A certificate that is served.

    ``public``: whether its path leads to an anchor of the browsers' store; None: undetermined.
    """

    not_before: datetime
    not_after: datetime
    public: bool | None


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """What is known about one HTTPS endpoint at one time.

    Attributes:
        findings: The open findings that are not accepted.
        leaves: The certificates that its addresses serve.
        checked: Whether it was ever judged.
        visited: Whether plain HTTP was checked.
        accepted: The accepted findings, each with its acceptance.
        renewed: Whether we or an automation renew the certificate, and no trouble is known.
        planned: The renewal that is due and in time.
    """

    target: Target
    purpose: str
    findings: tuple[Finding, ...]
    leaves: tuple[LeafFacts, ...]
    checked: bool
    visited: bool
    accepted: tuple[tuple[Finding, Acceptance], ...] = ()
    renewed: bool = False
    planned: RenewalPlan | None = None

    def faults(self, codes: Set[str]) -> tuple[Finding, ...]:
        """Return the findings with these codes, except those of severity info or undetermined."""
        if not self.findings:
            return ()
        return tuple(
            f
            for f in self.findings
            if f.code in codes and f.severity not in ("info", "undetermined")
        )

    @property
    def undetermined(self) -> tuple[Finding, ...]:
        """The findings of severity undetermined."""
        return tuple(f for f in self.findings if f.severity == "undetermined")


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The result of a rule for one endpoint.

    Attributes:
        findings: Why it does not comply, or why that is undetermined.
        since: From when it will not comply.
        note: The reason in words, if no finding gives it. Reports translate it.
    """

    state: ComplianceState
    findings: tuple[Finding, ...] = ()
    since: datetime | None = None
    note: str = ""


# Message ids: notifiers/wording/report.py gives the texts for reports.
NOT_CHECKED = "it was not checked yet"


# From the worst to the best.
_ORDER = (
    ComplianceState.FAILS,
    ComplianceState.UNKNOWN,
    ComplianceState.WILL_FAIL,
    ComplianceState.WAIVED,
    ComplianceState.COMPLIES,
    ComplianceState.NONE,
)


def worst(results: Iterable[RuleResult]) -> RuleResult:
    """Return the worst of several results, with the findings of all that are equally bad."""
    listed = list(results)
    # This runs for each domain and rule, so a single result is not merged with anything.
    if len(listed) == 1:
        return listed[0]
    state = min((r.state for r in listed), key=_ORDER.index, default=ComplianceState.COMPLIES)
    same = [r for r in listed if r.state is state]
    findings = tuple({(f.code, f.addresses): f for r in same for f in r.findings}.values())
    since = min((r.since for r in same if r.since is not None), default=None)
    return RuleResult(state, findings, since, next((r.note for r in same if r.note), ""))
