"""ACME accounts, lineages, orders and deployments."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Words
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

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(unique=True)
    # a known CA, or one of the configuration, else the host of the directory
    ca: Mapped[str]
    directory: Mapped[str]
    # of the account at the CA; NULL until it answered
    url: Mapped[str | None]
    key_reference: Mapped[str]
    # mail addresses
    contacts: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    eab_kid: Mapped[str | None]
    # the URL that was agreed to
    terms: Mapped[str | None]
    agreed_at: Mapped[Timestamp | None]
    agreed_by: Mapped[str | None]
    fallback_id: Mapped[int | None] = mapped_column(Id, ForeignKey("acme_account.id"), index=True)
    state: Mapped[AccountState] = mapped_column(EnumText(AccountState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class StoredLineage(Base):
    """The standing arrangement for one certificate that is renewed.

    It has names, an account, a solver and targets. Programs (hooks, targets) stand in the
    configuration; rows only name them.
    """

    __tablename__ = "lineage"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    # chosen by the administrator; also the name of its folder
    name: Mapped[str] = mapped_column(unique=True)
    client_id: Mapped[int] = mapped_column(Id, ForeignKey("client.id"), index=True)
    account_id: Mapped[int] = mapped_column(Id, ForeignKey("acme_account.id"), index=True)
    key_type: Mapped[str]
    reuse_key: Mapped[int] = mapped_column(Integer, server_default="0")
    # CSR of the client in PEM, who then has the key
    csr: Mapped[str | None]
    solver: Mapped[str]
    profile: Mapped[str | None]
    preferred_chain: Mapped[str | None]
    # names of targets in the configuration
    targets: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    # whether names in quarantine may be left out
    shrink: Mapped[OnFailedName] = mapped_column(EnumText(OnFailedName), server_default="ask")
    # the quarantined names whose leaving out was approved
    shrink_ok: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    # the newest certificate
    sha256: Mapped[str | None] = mapped_column(ForeignKey("certificate.sha256"))
    # SHA-256 of each, leaf first
    chain: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    # SHA-256 of the leaf that the current link holds
    deployed: Mapped[str | None]
    # when that leaf was seen live on every address
    proven_at: Mapped[Timestamp | None]
    # the result of the last verification in words
    proof: Mapped[str | None]
    # its state; NULL if no endpoint could be probed
    verification: Mapped[VerificationState | None] = mapped_column(EnumText(VerificationState))
    # SHA-256 of the leaf that was rolled back: it is not deployed again without staff
    rolled_back: Mapped[str | None]
    # SHA-256 of leaves that must not be deployed again
    compromised: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    ari_start: Mapped[Timestamp | None]
    ari_end: Mapped[Timestamp | None]
    # the time within it, drawn once, so that a repeated run does not draw again
    ari_at: Mapped[Timestamp | None]
    # explanationURL
    ari_url: Mapped[str | None]
    # when to ask again
    ari_next_at: Mapped[Timestamp | None]
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    # not before
    next_at: Mapped[Timestamp | None]
    # the last error, JSON of certmgr/acme/protocol/problems.py
    error: Mapped[str | None]
    state: Mapped[LineageState] = mapped_column(EnumText(LineageState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class LineageName(Base):
    """A name of a lineage."""

    __tablename__ = "lineage_name"
    __table_args__ = (Index("ix_lineage_name_name", "name"),)

    lineage_id: Mapped[int] = mapped_column(Id, ForeignKey("lineage.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    # active, quarantined
    state: Mapped[LineageNameState] = mapped_column(
        EnumText(LineageNameState), server_default="active"
    )
    since: Mapped[Timestamp | None]
    reason: Mapped[str | None]
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    # when a quarantined name was last rechecked
    checked_at: Mapped[Timestamp | None]


class AcmeOrder(Base):
    """One order at the CA for one intent of a lineage. Written before the CA receives it."""

    __tablename__ = "acme_order"
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    lineage_id: Mapped[int] = mapped_column(Id, ForeignKey("lineage.id"), index=True)
    account_id: Mapped[int] = mapped_column(Id, ForeignKey("acme_account.id"), index=True)
    state: Mapped[OrderState] = mapped_column(EnumText(OrderState))
    # why it was begun
    reason: Mapped[str]
    names: Mapped[tuple[str, ...]] = mapped_column(Words)
    profile: Mapped[str | None]
    # ARI certificate id
    replaces: Mapped[str | None]
    # placed in the window of ARI: counts against no limit
    exempt: Mapped[int] = mapped_column(Integer, server_default="0")
    # the name of its file, random: ids of rows are used again after a restored backup
    key_name: Mapped[str]
    key_reference: Mapped[str | None]
    csr: Mapped[str | None]
    url: Mapped[str | None]
    certificate_url: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(ForeignKey("certificate.sha256"))
    error: Mapped[str | None]
    # token of the process that works on it
    holder: Mapped[str | None]
    lease_until: Mapped[Timestamp | None]
    created_at: Mapped[Timestamp]
    ended_at: Mapped[Timestamp | None]


class AcmeEvent(Base):
    """What counts against a CA's rate limits."""

    __tablename__ = "acme_event"
    __table_args__ = (Index("ix_acme_event_account_id_at", "account_id", "at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    account_id: Mapped[int] = mapped_column(Id, ForeignKey("acme_account.id"), index=True)
    at: Mapped[Timestamp]
    kind: Mapped[RateEventKind] = mapped_column(EnumText(RateEventKind))
    # registered domain, or the name that failed
    domain: Mapped[str | None]
    # digest of the exact set
    names: Mapped[str | None]
    exempt: Mapped[int] = mapped_column(Integer, server_default="0")


class AcmeBackoff(Base):
    """A CA or a name that is not tried again until a time."""

    __tablename__ = "acme_backoff"

    directory: Mapped[str] = mapped_column(primary_key=True)
    # a name, "account:NAME", or "" for the CA
    scope: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    until: Mapped[Timestamp]
    reason: Mapped[str]
    at: Mapped[Timestamp]


class Deployment(Base):
    """One certificate deployed to one target."""

    __tablename__ = "deployment"
    __table_args__ = (UniqueConstraint("lineage_id", "sha256", "target"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    lineage_id: Mapped[int] = mapped_column(Id, ForeignKey("lineage.id"), index=True)
    sha256: Mapped[str]
    target: Mapped[str]
    # pending, done, failed
    state: Mapped[DeploymentState] = mapped_column(EnumText(DeploymentState))
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    next_at: Mapped[Timestamp]
    error: Mapped[str | None]
    created_at: Mapped[Timestamp]
    done_at: Mapped[Timestamp | None]
