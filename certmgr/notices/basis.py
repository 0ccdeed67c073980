"""What the topics of endpoints are computed from, and what they share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from certmgr.inspection.server_down import ServerDown
from certmgr.renewers.renewer import RenewalFacts
from inventory.certificates import organisation
from inventory.dates import in_zone
from inventory.finding_codes import CODES
from inventory.records import EndpointOwnership, ListedFinding
from inventory.store.certificate_ends import ServedLeaf
from inventory.targets import Target
from inventory.vocabulary import Acceptance, deciding
from notifiers.pipeline.topic import NamedCertificate

# Findings that a renewal resolves.
_FIXED_BY_RENEWAL = frozenset(
    {"certificate-expired", "certificate-expiring", "revoked", "ca-distrusted"}
)


@dataclass(frozen=True, slots=True)
class TopicBasis:
    """What the database knows.

    Attributes:
        places: Endpoint rows by id.
        open: Open finding rows by endpoint id.
        served: The served leaf certificates by endpoint id.
        assigned: Assignments of findings.
        names: The names of each client.
        ends: The end of a certificate by its SHA-256.
        owners: The owners of names that certificates contain, by name.
        zone: The time zone of the provider, in which their deadlines end.
        case_references: Client id -> name -> reference of the open case for it.
        down: The server of an endpoint, if it is down for several names.
        automated: The time until which our automation handles an endpoint.
        renewers: Who renews which name.
    """

    now: datetime
    places: Mapping[int, EndpointOwnership]
    open: Mapping[int, Sequence[ListedFinding]]
    served: Mapping[int, Sequence[ServedLeaf]]
    accepted: Sequence[Acceptance]
    assigned: Sequence[Acceptance]
    names: Mapping[int, frozenset[str]]
    ends: Mapping[str, int]
    owners: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    zone: tzinfo
    case_references: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    down: Mapping[int, ServerDown] = field(default_factory=dict)
    automated: Mapping[int, datetime] = field(default_factory=dict)
    renewers: RenewalFacts = field(kw_only=True)


def utc_of(seconds: int) -> datetime:
    """Return epoch seconds as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def reason_to_suppress(
    place: EndpointOwnership, code: str, basis: TopicBasis, endpoint_id: int
) -> str:
    """Return why clients are never notified of it. Empty if they may be."""
    if "retired" in (place.state, place.domain_state, place.client_state):
        return "it is retired"
    # The client moves the domain away, so renewing is not expected any more.
    if place.domain_state == "leaving":
        return "the domain is leaving"
    # The case sends its own notices about the certificate.
    concerns_holder = code in CODES and CODES[code].role.concerns_holder
    if (
        concerns_holder
        and (case := basis.case_references.get(place.client_id, {}).get(place.host)) is not None
    ):
        return f"case {case} handles it"
    for acceptance in basis.accepted:
        if acceptance.covers(code, place.client_id, place.domain_id, endpoint_id, basis.now):
            return (
                f"accepted by {acceptance.by} until"
                f" {in_zone(acceptance.until, basis.zone):%Y-%m-%d}: {acceptance.reason}"
            )
    return ""


@dataclass(frozen=True, slots=True)
class Assigned:
    """Who fixes a fault, by when, and whether clients are notified because of it."""

    by: str
    until: datetime
    informs: bool = True


def assignment_of(
    place: EndpointOwnership, code: str, basis: TopicBasis, endpoint_id: int
) -> Assigned | None:
    """Return who fixes it by when, even if the date has passed."""
    matching = [
        t
        for t in basis.assigned
        if t.code == code
        and t.client_id in (None, place.client_id)
        and t.domain_id in (None, place.domain_id)
        and t.endpoint_id in (None, endpoint_id)
    ]
    last = deciding(matching, basis.now)
    # Our automation renews without an assignment by a person.
    if (
        last is None
        and code in _FIXED_BY_RENEWAL
        and (until := basis.automated.get(endpoint_id)) is not None
    ):
        return Assigned("automatic renewal", until)
    return None if last is None else Assigned(last.by, last.until, last.informs)


def target_of(place: EndpointOwnership) -> Target:
    """Return the target of an endpoint."""
    return Target(place.host, place.port, place.protocol)


def named_certificate(leaf: ServedLeaf) -> NamedCertificate:
    """Return the certificate that a message names."""
    return NamedCertificate(leaf.serial, organisation(leaf.issuer), utc_of(leaf.not_after))
