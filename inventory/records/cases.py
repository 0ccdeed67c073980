"""Installation cases, incidents, and the certificates issued in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inventory.records.base import Record
from inventory.vocabulary import CaseState, RecordState


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord(Record):
    """A case with its client, contact, staff and names.

    ``domain_client`` and ``domain_state``: of the domain that its ticket names.
    """

    id: int
    reference: str
    client_id: int
    order_id: int | None
    incident_id: int | None
    kind: str
    state: CaseState
    step: int
    version: int
    since: int
    due_at: int | None
    contact_id: int | None
    staff_id: int | None
    bought_by: str
    own_csr: int
    replaces: tuple[str, ...] | None
    ends_at: int | None
    price: str | None
    fee: str | None
    currency: str | None
    approved_at: int | None
    approved_by: str | None
    approved_how: str | None
    window_start: int | None
    window_end: int | None
    window_zone: str | None
    window_sequence: int
    window_state: str
    installed_at: int | None
    live_at: int | None
    reason: str | None
    said: list[Any]
    opened_at: int
    closed_at: int | None
    client: str
    client_name: str
    account_manager: str | None
    client_state: RecordState
    domain_id: int | None
    domain_client: int | None
    domain_state: RecordState | None
    contact: str | None
    staff: str | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledCase(CaseRecord):
    """A closed case. ``billed_at``: when it was closed first."""

    billed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEventRecord(Record):
    """What happened in a case."""

    id: int
    case_id: int
    version: int
    at: int
    by: str
    action: str
    before: str | None
    after: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuanceRecord(Record):
    """A certificate requested in a case. ``der`` to ``issuer`` are None before it came."""

    id: int
    order_id: int | None
    case_id: int | None
    key_type: str
    spki: str | None
    csr: str | None
    key_reference: str | None
    sha256: str | None
    chain: tuple[str, ...]
    created_at: int
    received_at: int | None
    live_at: int | None
    der: bytes | None
    serial: str | None
    not_before: int | None
    not_after: int | None
    issuer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLeaf(Record):
    """A certificate and its end."""

    sha256: str
    not_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedLeaf(Record):
    """A certificate that may be served under ``names``, of a case or lineage."""

    id: int
    client_id: int
    names: tuple[str, ...]
    sha256: str
    live_at: int | None
    not_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecord(Record):
    """An incident."""

    id: int
    reference: str
    kind: str
    what: str
    until: int
    reason: str
    by: str
    opened_at: int
    closed_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentItemRecord(Record):
    """A certificate of an incident.

    ``client``: its number. ``reference``, ``state`` and ``due_at``: of its case.
    ``served``: at how many addresses of the client it was seen last, and ``seen_at``: when that
    was, in epoch seconds; 0 if no address serves it.
    """

    id: int
    incident_id: int
    serial: str
    sha256: str | None
    client_id: int | None
    names: tuple[str, ...]
    sort: str
    case_id: int | None
    client: str | None
    reference: str | None
    state: CaseState | None
    due_at: int | None
    served: int
    seen_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialMatch(Record):
    """A stored certificate with a serial number."""

    sha256: str
    serial: str
    names: tuple[str, ...]
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedName(Record):
    """A leaf as one host of a client served it last."""

    sha256: str
    serial: str
    issuer: str
    names: tuple[str, ...]
    host: str
    domain_id: int
    client_id: int
    client: str
