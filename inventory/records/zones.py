"""Zones: vantage points, what is visited from them, and what they saw."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import Finding, RecordState, ZoneScopeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneRecord(Record):
    """A vantage point."""

    id: int
    name: str
    note: str | None
    state: RecordState
    created_at: Timestamp
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneScopeRecord(Record):
    """What is visited from a zone. ``label``: the client, server, tag or name, as people know it.

    ``row_id`` is 0 for tags and names.
    """

    id: int
    zone: str
    kind: ZoneScopeKind
    row_id: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredZoneScope(Record):
    """What is visited from a zone, as it is stored.

    ``row_id`` is that of the client or server, else 0; ``value`` is the tag or name, else empty.
    """

    zone: str
    kind: ZoneScopeKind
    row_id: int
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewZoneView(Record):
    """What an endpoint showed to a zone in one visit.

    Attributes:
        good: Whether it served a certificate.
        error: Why not.
        addresses: Its addresses in the DNS of the zone.
        unrouted: Those to which the zone has no route.
        findings: The findings of this visit.
        served: Address -> SHA-256 of the leaf.
    """

    endpoint_id: int
    at: Timestamp
    good: bool
    error: str | None
    addresses: tuple[str, ...]
    unrouted: tuple[str, ...]
    findings: tuple[Finding, ...]
    served: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneViewRecord(Record):
    """What an endpoint showed to a zone.

    Attributes:
        first: Whether the results of this zone are the state of the endpoint.
        served: Address -> SHA-256 of the leaf, at the last success. A failure does not change it.
        served_at: The last success.
    """

    endpoint_id: int
    zone: str
    run_id: int
    first: bool
    at: Timestamp
    good: bool
    error: str | None
    addresses: tuple[str, ...]
    unrouted: tuple[str, ...]
    findings: tuple[Finding, ...]
    served: dict[str, str]
    served_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneReach(Record):
    """How much of what other zones reached a further zone reached in a run.

    Attributes:
        reached: Endpoints that it reached.
        missed: Endpoints that only other zones reached.
        clients: The number of clients whose endpoints it missed.
    """

    zone: str
    reached: int
    missed: int
    clients: int
