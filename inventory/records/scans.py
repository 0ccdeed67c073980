"""Findings, runs and the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inventory.clock import Timestamp
from inventory.names import display
from inventory.records.base import Record
from inventory.targets import Target
from inventory.vocabulary import Actor, FindingDecision, RunState, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRecord(Record):
    """A finding of an endpoint. ``evidence``: by the keys of its code."""

    id: int
    endpoint_id: int
    code: str
    severity: Severity
    actor: Actor
    outcome: str | None
    opened_at: Timestamp
    # None for a finding that another job than a scan opened.
    opened_run: int | None
    closed_at: Timestamp | None
    closed_run: int | None
    addresses: tuple[str, ...]
    # Values that prove the finding; a client sees them only after notifiers/wording/scope.py.
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFinding(FindingRecord):
    """A finding with its endpoint, domain and client."""

    host: str
    port: int
    protocol: str
    domain_id: int
    client_id: int
    server_id: int | None
    domain: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceScope(Record):
    """For whom an acceptance or an assignment holds.

    Attributes:
        client: The number of the client; None without one.
        domain: The A-label of the domain; None if it is not limited to a domain.
        target: The endpoint; None if it is not limited to an endpoint.
        everywhere: Whether it holds for all clients.
    """

    client: str | None
    client_name: str
    domain: str | None
    target: Target | None
    everywhere: bool

    @property
    def place(self) -> str:
        """The endpoint or domain in words; empty for a whole client."""
        if self.target is not None:
            return str(self.target)
        return display(self.domain) if self.domain is not None else ""

    def __str__(self) -> str:
        if self.everywhere:
            return "all clients"
        owner = f"{self.client} {self.client_name}" if self.client is not None else ""
        return ", ".join(filter(None, (self.place, owner)))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestRun(Record):
    """The run that was begun last. ``reason``: why it is suspect or incomplete."""

    id: int
    state: RunState
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun(Record):
    """A run that has ended."""

    id: int
    state: RunState
    reason: str | None
    finished_at: Timestamp | None


@dataclass(frozen=True, slots=True)
class GoodEndpoint:
    """An endpoint that served a certificate before a run.

    Attributes:
        still_good: Whether the run observed one too.
    """

    client_id: int
    server_id: int | None
    host: str
    still_good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteRun(Record):
    """A complete run: how many endpoints it checked, and how many stayed undetermined."""

    id: int
    finished_at: Timestamp
    checked: int
    undetermined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingPeriod(Record):
    """From when to when a finding was open. ``retired_at``: of its endpoint."""

    endpoint_id: int
    domain_id: int
    client_id: int
    code: str
    severity: Severity
    opened_at: Timestamp
    closed_at: Timestamp | None
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord(Record):
    """An entry of the audit log."""

    id: int
    at: Timestamp
    actor: str
    action: str
    kind: str
    row_id: int | None
    # JSON without personal data, because the chain must stay valid after an erasure.
    detail: str
    # Covers the entry before it, so that changed and removed entries are detected.
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeStateRecord(Record):
    """The last attempt and the last success at an endpoint."""

    endpoint_id: int
    fingerprint: str
    memo: str
    recheck_at: Timestamp | None
    # None if it was never judged, so that nothing is known about it.
    judged_at: Timestamp | None
    good: int
    last_run_id: int | None
    last_attempt: Timestamp
    error_layer: str | None
    error_reason: str | None
    failing_since: Timestamp | None
    # How many runs failed in a row while the network of the scanner was fine.
    failing_runs: int
    # Whether it was good in the last complete run, with which the next run is compared.
    last_good: Timestamp | None
    leaf: str | None
    not_after: Timestamp | None
    issuer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedChain(Record):
    """What one address served last. ``serial`` to ``key``: of its leaf; None where it has none."""

    address: str
    leaf: str | None
    first_seen: Timestamp
    last_seen: Timestamp
    # Whether the last probe of the endpoint saw it. An address may be silent for a while.
    live: int
    tls_version: str | None
    # None if no verifier could decide: undetermined, and not refused.
    trusted: int | None
    serial: str | None
    issuer: str | None
    not_after: Timestamp | None
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer(Record):
    """What one address served in the last probe of its endpoint."""

    endpoint_id: int
    address: str
    chain: tuple[str, ...]
    tls_version: str | None
    cipher: str | None
    group_name: str | None
    alpn: str | None
    ocsp: str | None
    # None if no verifier could decide: undetermined, and not refused.
    trusted: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProbe(Record):
    """The last probe of an endpoint. ``sha256`` to ``key``: of the leaf that was seen last."""

    id: int
    host: str
    port: int
    protocol: str
    last_attempt: Timestamp
    last_good: Timestamp | None
    failing_since: Timestamp | None
    error_layer: str | None
    error_reason: str | None
    sha256: str | None
    serial: str | None
    subject: str | None
    issuer: str | None
    names: tuple[str, ...] | None
    not_before: Timestamp | None
    not_after: Timestamp | None
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceRecord(Record):
    """An accepted finding, or one that a named person fixes until a date."""

    id: int
    code: str
    client_id: int | None
    domain_id: int | None
    endpoint_id: int | None
    kind: FindingDecision
    until: Timestamp
    reason: str
    by: str
    informs: int
    batch: int | None
    created_at: Timestamp
    withdrawn_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(Record):
    """A scan run.

    Attributes:
        looked: The number of endpoints that were attempted.
        notes: What it left out although it is complete.
    """

    id: int
    state: RunState
    reason: str | None
    started_at: int
    finished_at: int | None
    planned: int
    looked: int
    undetermined: int
    notes: tuple[str, ...]
