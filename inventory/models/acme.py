"""ACME accounts, lineages, orders and deployments."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, Words, column
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


class AcmeAccount(Base):
    """An account at an ACME CA."""

    __tablename__ = "acme_account"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    name: ColumnOf[str] = column(unique=True)
    # a known CA, or one of the configuration, else the host of the directory
    ca: ColumnOf[str]
    directory: ColumnOf[str]
    # of the account at the CA; NULL until it answered
    url: ColumnOf[str | None]
    key_reference: ColumnOf[str]
    # mail addresses
    contacts: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    eab_kid: ColumnOf[str | None]
    # the URL that was agreed to
    terms: ColumnOf[str | None]
    agreed_at: ColumnOf[Timestamp | None]
    agreed_by: ColumnOf[str | None]
    fallback_id: ColumnOf[int | None] = column(Id, ForeignKey("acme_account.id"), index=True)
    state: ColumnOf[AccountState] = column(EnumText(AccountState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]


class StoredLineage(Base):
    """The standing arrangement for one certificate that is renewed.

    It has names, an account, a solver and targets. Programs (hooks, targets) stand in the
    configuration; rows only name them.
    """

    __tablename__ = "lineage"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    # chosen by the administrator; also the name of its folder
    name: ColumnOf[str] = column(unique=True)
    client_id: ColumnOf[int] = column(Id, ForeignKey("client.id"), index=True)
    account_id: ColumnOf[int] = column(Id, ForeignKey("acme_account.id"), index=True)
    key_type: ColumnOf[str]
    reuse_key: ColumnOf[int] = column(Integer, server_default="0")
    # CSR of the client in PEM, who then has the key
    csr: ColumnOf[str | None]
    solver: ColumnOf[str]
    profile: ColumnOf[str | None]
    preferred_chain: ColumnOf[str | None]
    # names of targets in the configuration
    targets: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    # whether names in quarantine may be left out
    shrink: ColumnOf[OnFailedName] = column(EnumText(OnFailedName), server_default="ask")
    # the quarantined names whose leaving out was approved
    shrink_ok: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    # the newest certificate
    sha256: ColumnOf[str | None] = column(ForeignKey("certificate.sha256"))
    # SHA-256 of each, leaf first
    chain: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    # SHA-256 of the leaf that the current link holds
    deployed: ColumnOf[str | None]
    # when that leaf was seen live on every address
    proven_at: ColumnOf[Timestamp | None]
    # the result of the last verification in words
    proof: ColumnOf[str | None]
    # its state; NULL if no endpoint could be probed
    verification: ColumnOf[VerificationState | None] = column(EnumText(VerificationState))
    # SHA-256 of the leaf that was rolled back: it is not deployed again without staff
    rolled_back: ColumnOf[str | None]
    # SHA-256 of leaves that must not be deployed again
    compromised: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    ari_start: ColumnOf[Timestamp | None]
    ari_end: ColumnOf[Timestamp | None]
    # the time within it, drawn once, so that a repeated run does not draw again
    ari_at: ColumnOf[Timestamp | None]
    # explanationURL
    ari_url: ColumnOf[str | None]
    # when to ask again
    ari_next_at: ColumnOf[Timestamp | None]
    failures: ColumnOf[int] = column(Integer, server_default="0")
    # not before
    next_at: ColumnOf[Timestamp | None]
    # the last error, JSON of certmgr/acme/problems.py
    error: ColumnOf[str | None]
    state: ColumnOf[LineageState] = column(EnumText(LineageState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]


class LineageName(Base):
    """A name of a lineage."""

    __tablename__ = "lineage_name"
    __table_args__ = (Index("ix_lineage_name_name", "name"),)

    lineage_id: ColumnOf[int] = column(Id, ForeignKey("lineage.id"), primary_key=True)
    name: ColumnOf[str] = column(primary_key=True)
    position: ColumnOf[int] = column(Integer)
    # active, quarantined
    state: ColumnOf[LineageNameState] = column(EnumText(LineageNameState), server_default="active")
    since: ColumnOf[Timestamp | None]
    reason: ColumnOf[str | None]
    failures: ColumnOf[int] = column(Integer, server_default="0")
    # when a quarantined name was last rechecked
    checked_at: ColumnOf[Timestamp | None]


class AcmeOrder(Base):
    """One order at the CA for one intent of a lineage. Written before the CA receives it.

    A lineage has at most one open order (schema.py).
    """

    __tablename__ = "acme_order"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    lineage_id: ColumnOf[int] = column(Id, ForeignKey("lineage.id"), index=True)
    account_id: ColumnOf[int] = column(Id, ForeignKey("acme_account.id"), index=True)
    state: ColumnOf[OrderState] = column(EnumText(OrderState))
    # why it was begun
    reason: ColumnOf[str]
    names: ColumnOf[tuple[str, ...]] = column(Words)
    profile: ColumnOf[str | None]
    # ARI certificate id
    replaces: ColumnOf[str | None]
    # placed in the window of ARI: counts against no limit
    exempt: ColumnOf[int] = column(Integer, server_default="0")
    # the name of its file, random: ids of rows are used again after a restored backup
    key_name: ColumnOf[str]
    key_reference: ColumnOf[str | None]
    csr: ColumnOf[str | None]
    url: ColumnOf[str | None]
    certificate_url: ColumnOf[str | None]
    sha256: ColumnOf[str | None] = column(ForeignKey("certificate.sha256"))
    error: ColumnOf[str | None]
    # token of the process that works on it
    holder: ColumnOf[str | None]
    lease_until: ColumnOf[Timestamp | None]
    created_at: ColumnOf[Timestamp]
    ended_at: ColumnOf[Timestamp | None]


class AcmeEvent(Base):
    """What counts against a CA's rate limits."""

    __tablename__ = "acme_event"
    __table_args__ = (Index("ix_acme_event_account_id_at", "account_id", "at"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    account_id: ColumnOf[int] = column(Id, ForeignKey("acme_account.id"), index=True)
    at: ColumnOf[Timestamp]
    kind: ColumnOf[RateEventKind] = column(EnumText(RateEventKind))
    # registered domain, or the name that failed
    domain: ColumnOf[str | None]
    # digest of the exact set
    names: ColumnOf[str | None]
    exempt: ColumnOf[int] = column(Integer, server_default="0")


class AcmeBackoff(Base):
    """A CA or a name that is not tried again until a time."""

    __tablename__ = "acme_backoff"

    directory: ColumnOf[str] = column(primary_key=True)
    # a name, "account:NAME", or "" for the CA
    scope: ColumnOf[str] = column(primary_key=True)
    failures: ColumnOf[int] = column(Integer)
    until: ColumnOf[Timestamp]
    reason: ColumnOf[str]
    at: ColumnOf[Timestamp]


class Deployment(Base):
    """One certificate deployed to one target."""

    __tablename__ = "deployment"
    __table_args__ = (UniqueConstraint("lineage_id", "sha256", "target"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    lineage_id: ColumnOf[int] = column(Id, ForeignKey("lineage.id"), index=True)
    sha256: ColumnOf[str]
    target: ColumnOf[str]
    # pending, done, failed
    state: ColumnOf[DeploymentState] = column(EnumText(DeploymentState))
    attempts: ColumnOf[int] = column(Integer, server_default="0")
    next_at: ColumnOf[Timestamp]
    error: ColumnOf[str | None]
    created_at: ColumnOf[Timestamp]
    done_at: ColumnOf[Timestamp | None]
