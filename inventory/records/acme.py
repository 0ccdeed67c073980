"""ACME accounts, lineages, orders and deployments."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import (
    AccountState,
    DeploymentState,
    LineageNameState,
    LineageState,
    OnFailedName,
    OrderState,
    RateEventKind,
    VerificationState,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord(Record):
    """An ACME account."""

    id: int
    name: str
    ca: str
    directory: str
    # None until the CA has confirmed the account.
    url: str | None
    key_reference: str
    contacts: tuple[str, ...]
    # External account binding (RFC 8555 7.3.4); the key itself is a secret of the configuration.
    eab_kid: str | None
    # The URL of the terms that were agreed to. A CA may refuse orders after a change of them.
    terms: str | None
    agreed_at: Timestamp | None
    agreed_by: str | None
    fallback_id: int | None
    state: AccountState
    created_at: Timestamp
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAccount(AccountRecord):
    """An account in a listing. ``lineages``: how many are renewed through it."""

    lineages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageNameRecord(Record):
    """A name of a lineage."""

    lineage_id: int
    name: str
    # The order of the administrator.
    position: int
    state: LineageNameState
    since: Timestamp | None
    reason: str | None
    failures: int
    # The last recheck of a quarantined name.
    checked_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageRecord(Record):
    """A lineage with its client's number, its account's name, and the dates of its certificate."""

    id: int
    name: str
    client_id: int
    account_id: int
    key_type: str
    reuse_key: int
    # A CSR of the client, who then has the key. None if the key is created here.
    csr: str | None
    solver: str
    profile: str | None
    preferred_chain: str | None
    targets: tuple[str, ...]
    # What happens if a name fails: the certificate waits for approval, or is issued without it.
    shrink: OnFailedName
    # Names without which the certificate may be issued, as an administrator approved.
    shrink_ok: tuple[str, ...]
    sha256: str | None
    chain: tuple[str, ...]
    # The certificate in use, which may be older than ``sha256``.
    deployed: str | None
    # When the certificate in use was verified at each address.
    proven_at: Timestamp | None
    proof: str | None
    verification: VerificationState | None
    # A certificate that caused a regression and is not deployed again automatically.
    rolled_back: str | None
    # Certificates that must not be deployed again, by their SHA-256.
    compromised: tuple[str, ...]
    # The period in which the CA suggests a renewal (RFC 9773).
    ari_start: Timestamp | None
    ari_end: Timestamp | None
    ari_at: Timestamp | None
    ari_url: str | None
    ari_next_at: Timestamp | None
    failures: int
    # Not before this time: a failure postpones the next attempt.
    next_at: Timestamp | None
    error: str | None
    state: LineageState
    created_at: Timestamp
    retired_at: Timestamp | None
    client: str
    account: str
    not_before: Timestamp | None
    not_after: Timestamp | None


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
    next_at: Timestamp
    error: str | None
    created_at: Timestamp
    done_at: Timestamp | None


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
    state: OrderState
    reason: str
    names: tuple[str, ...]
    profile: str | None
    # The certificate that the order replaces (RFC 9773 5), which exempts it from rate limits.
    replaces: str | None
    exempt: int
    # The name of the key file, which is written before the CSR.
    key_name: str
    key_reference: str | None
    csr: str | None
    url: str | None
    certificate_url: str | None
    sha256: str | None
    error: str | None
    # Machine and token of the process that works on the order; None if it is free.
    holder: str | None
    lease_until: Timestamp | None
    created_at: Timestamp
    ended_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder(OrderRecord):
    """An open order. ``lineage``: its name."""

    lineage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEventRecord(Record):
    """What counts against a CA's rate limits."""

    id: int
    account_id: int
    at: Timestamp
    kind: RateEventKind
    domain: str | None
    # A digest of the exact set of names, for the limit of duplicate certificates.
    names: str | None
    exempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffRecord(Record):
    """A CA or name that is not tried again until a time."""

    directory: str
    # A name, an account, or a registered domain; empty for the whole CA.
    scope: str
    failures: int
    until: Timestamp
    reason: str
    at: Timestamp
