"""ACME accounts, lineages, orders and deployments."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.records.base import Record
from inventory.vocabulary import (
    AccountState,
    DeploymentState,
    LineageNameState,
    LineageState,
    VerificationState,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord(Record):
    """An ACME account."""

    id: int
    name: str
    ca: str
    directory: str
    url: str | None
    key_reference: str
    contacts: tuple[str, ...]
    eab_kid: str | None
    terms: str | None
    agreed_at: int | None
    agreed_by: str | None
    fallback_id: int | None
    state: AccountState
    created_at: int
    retired_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAccount(AccountRecord):
    """An account in a listing. ``lineages``: how many are renewed through it."""

    lineages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageNameRecord(Record):
    """A name of a lineage."""

    lineage_id: int
    name: str
    position: int
    state: LineageNameState
    since: int | None
    reason: str | None
    failures: int
    checked_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRecord(Record):
    """A lineage with its client's number, its account's name, and the dates of its certificate."""

    id: int
    name: str
    client_id: int
    account_id: int
    key_type: str
    reuse_key: int
    csr: str | None
    solver: str
    profile: str | None
    preferred_chain: str | None
    targets: tuple[str, ...]
    shrink: str
    shrink_ok: tuple[str, ...]
    sha256: str | None
    chain: tuple[str, ...]
    deployed: str | None
    proven_at: int | None
    proof: str | None
    verification: VerificationState | None
    rolled_back: str | None
    compromised: tuple[str, ...]
    ari_start: int | None
    ari_end: int | None
    ari_at: int | None
    ari_url: str | None
    ari_next_at: int | None
    failures: int
    next_at: int | None
    error: str | None
    state: LineageState
    created_at: int
    retired_at: int | None
    client: str
    account: str
    not_before: int | None
    not_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedLineage(LineageRecord):
    """A lineage in a listing, with its names in their order."""

    names: tuple[LineageNameRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedName(LineageNameRecord):
    """A name in quarantine."""

    lineage: str
    client_id: int
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRecord(Record):
    """One certificate deployed to one target."""

    id: int
    lineage_id: int
    sha256: str
    target: str
    state: DeploymentState
    attempts: int
    next_at: int
    error: str | None
    created_at: int
    done_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingDeployment(DeploymentRecord):
    """A deployment that failed and waits. ``name``: of its lineage."""

    name: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord(Record):
    """An ACME order."""

    id: int
    lineage_id: int
    account_id: int
    state: str
    reason: str
    names: tuple[str, ...]
    profile: str | None
    replaces: str | None
    exempt: int
    key_name: str
    key_reference: str | None
    csr: str | None
    url: str | None
    certificate_url: str | None
    sha256: str | None
    error: str | None
    holder: str | None
    lease_until: int | None
    created_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder(OrderRecord):
    """An open order. ``lineage``: its name."""

    lineage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEventRecord(Record):
    """What counts against a CA's rate limits."""

    id: int
    account_id: int
    at: int
    kind: str
    domain: str | None
    names: str | None
    exempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffRecord(Record):
    """A CA or name that is not tried again until a time."""

    directory: str
    scope: str
    failures: int
    until: int
    reason: str
    at: int
