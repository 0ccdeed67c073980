"""Installation cases, incidents, and the certificates issued in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import (
    CaseKind,
    CaseState,
    IncidentCategory,
    IncidentKind,
    Party,
    RecordState,
    WindowState,
)


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
    kind: CaseKind
    state: CaseState
    # Counts the steps, so that each step is notified of once.
    step: int
    # Counts the changes: a change is refused if the case changed since it was read.
    version: int
    since: Timestamp
    due_at: Timestamp | None
    contact_id: int | None
    staff_id: int | None
    # 1 if a person named the assignee; 0 if it was chosen automatically.
    staff_named: int
    bought_by: Party
    # 1 if the client creates key and CSR.
    own_csr: int
    # The SHA-256 of the leaves that the case replaces.
    replaces: tuple[str, ...] | None
    ends_at: Timestamp | None
    price: str | None
    fee: str | None
    currency: str | None
    approved_at: Timestamp | None
    approved_by: str | None
    approved_how: str | None
    window_start: Timestamp | None
    window_end: Timestamp | None
    window_zone: str | None
    # The SEQUENCE of the calendar entry (RFC 5545 3.8.7.4): each change counts it up.
    window_sequence: int
    window_state: WindowState
    installed_at: Timestamp | None
    live_at: Timestamp | None
    reason: str | None
    # Problems of the last upload, as the client was notified of them.
    said: list[Any]
    opened_at: Timestamp
    closed_at: Timestamp | None
    client: str
    client_name: str
    account_manager: str | None
    client_state: RecordState
    domain_id: int | None
    # The owner of today, who may be another client.
    domain_client: int | None
    domain_state: RecordState | None
    contact: str | None
    staff: str | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledCase(CaseRecord):
    """A closed case. ``billed_at``: when it was closed first."""

    billed_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEventRecord(Record):
    """What happened in a case."""

    id: int
    case_id: int
    version: int
    at: Timestamp
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
    # The SHA-256 of the public key. A received certificate must have this key.
    spki: str | None
    csr: str | None
    # ``machine:path``; None if the client has the key.
    key_reference: str | None
    sha256: str | None
    chain: tuple[str, ...]
    created_at: Timestamp
    received_at: Timestamp | None
    live_at: Timestamp | None
    der: bytes | None
    serial: str | None
    not_before: Timestamp | None
    not_after: Timestamp | None
    issuer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLeaf(Record):
    """A certificate and its end."""

    sha256: str
    not_after: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedLeaf(Record):
    """A certificate that may be served under ``names``, of a case or lineage."""

    id: int
    client_id: int
    names: tuple[str, ...]
    sha256: str
    live_at: Timestamp | None
    not_after: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecord(Record):
    """An incident."""

    id: int
    reference: str
    kind: IncidentKind
    what: str
    until: Timestamp
    reason: str
    by: str
    opened_at: Timestamp
    closed_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentItemRecord(Record):
    """A certificate of an incident.

    ``client``: its number. ``reference``, ``state`` and ``due_at``: of its case.
    ``served``: at how many addresses of the client it was seen last, and ``seen_at``: when that
    was, in epoch seconds; 0 if no address serves it. ``held``: how many lineages hold it, if no
    scan ever saw it.
    """

    id: int
    incident_id: int
    serial: str
    sha256: str | None
    client_id: int | None
    names: tuple[str, ...]
    sort: IncidentCategory
    case_id: int | None
    client: str | None
    reference: str | None
    state: CaseState | None
    due_at: Timestamp | None
    served: int
    seen_at: Timestamp
    held: int = 0


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
