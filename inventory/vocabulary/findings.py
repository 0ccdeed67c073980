"""Findings: how bad they are, who must act, and what an administrator decided about them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad a finding is.

    For ``critical``, a current browser shows an error instead of the page. For ``undetermined``,
    the check could not be completed.
    """

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"
    UNDETERMINED = "undetermined"


# The order of listings: what needs attention first. An undetermined result may hide a severe fault,
# so it sorts before medium.
SEVERITY_ORDER = {
    s: i for i, s in enumerate(("critical", "high", "undetermined", "medium", "low", "info"))
}


REISSUE = "reissue"
"""The ``variant`` of a finding that only another certificate fixes."""
SAME_CERTIFICATE = "same-certificate"
"""The ``variant`` of a foreign address that serves the certificate of the provider's server."""
VALID_CERTIFICATE = "valid"
"""The ``variant`` of a foreign address that serves another valid certificate of the name."""
MIXED_ADDRESSES = "mixed"
"""The ``variant`` of foreign addresses of which only some are wrong."""
FOREIGN_ADDRESS = "foreign-address"
"""The finding about an address that is not the provider's. It names all such addresses."""

ZONE_DIFFERENCE = "zone-difference"
"""The finding about what only some zones see. It names all compared zones, and is staff's."""


class Actor(StrEnum):
    """Party that must act on a finding, resolved with the parties of the domain."""

    CLIENT = "client"
    PROVIDER = "provider"
    STAFF = "staff"
    NONE = "none"


class Verdict(StrEnum):
    """Result for an endpoint. ``unknown``: a check is undetermined, and no worse finding exists."""

    OK = "ok"
    ATTENTION = "attention"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault or a remark about an endpoint.

    Attributes:
        code: Code of the finding (inventory/finding_codes/).
        severity: One of :class:`Severity`.
        addresses: Addresses on which it was observed; empty if it concerns the name.
        evidence: JSON values that prove it.
        actor: Party that must act, one of :class:`Actor`.
        outcome: you-act, we-act, escalated or None.
    """

    code: str
    severity: str
    addresses: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    actor: str = "staff"
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A finding that was accepted or assigned until a date.

    An accepted finding does not count for verdicts and exit codes. A scope field that is None
    covers all clients, domains or endpoints.

    Attributes:
        informs: Clients who were not notified of the finding yet are, because it was assigned.
        batch: The id of the first one that the same command recorded, if the command selected
            faults (``--server``, ``--cause``) and not a place.
    """

    id: int
    code: str
    client_id: int | None
    domain_id: int | None
    endpoint_id: int | None
    until: datetime
    reason: str
    by: str
    informs: bool = True
    batch: int | None = None

    def covers(
        self,
        code: str,
        client_id: int | None,
        domain_id: int | None,
        endpoint_id: int | None,
        now: datetime,
    ) -> bool:
        """Return whether the acceptance applies to a finding of an endpoint at a time."""
        return (
            self.code == code
            # The end itself is excluded: from then on the finding counts again.
            and now < self.until
            and self.client_id in (None, client_id)
            and self.domain_id in (None, domain_id)
            and self.endpoint_id in (None, endpoint_id)
        )

    @property
    def scope_width(self) -> int:
        """How wide the scope is: 0 for an endpoint, 3 for all clients."""
        fields = (self.endpoint_id, self.domain_id, self.client_id)
        return next((i for i, field_ in enumerate(fields) if field_ is not None), len(fields))


def deciding(assignments: Iterable[Acceptance], now: datetime) -> Acceptance | None:
    """Return the assignment that counts for one finding, so that all output names one person.

    One in force counts before one whose date has passed. Among them the narrowest scope counts, and
    then the newest: who assigns one site knows more about it than who assigned all of them.

    Args:
        assignments: Those that concern the finding.
        now: The time of the answer.
    """
    return min(assignments, key=lambda a: (a.until <= now, a.scope_width, -a.id), default=None)


def verdict_of(severities: "set[str] | frozenset[str]") -> Verdict:
    """Return the verdict on an endpoint.

    Args:
        severities: Severities of its findings that are not accepted. ``low`` and ``info`` are
            remarks, with which the endpoint is ok.
    """
    # A known fault is worse than an undetermined check.
    if severities & {"critical", "high"}:
        return Verdict.FAULT
    # An unfinished check may hide a fault, so such an endpoint is never shown as good.
    if "undetermined" in severities:
        return Verdict.UNKNOWN
    if "medium" in severities:
        return Verdict.ATTENTION
    return Verdict.OK


class FindingDecision(StrEnum):
    """What an administrator decided about a finding.

    ``accept``: it does not count until a date. ``assign``: a named person fixes it until then.
    """

    ACCEPT = "accept"
    ASSIGN = "take"


class RevocationState(StrEnum):
    """The revocation status of a certificate. ``unknown``: undetermined, which is not good."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
