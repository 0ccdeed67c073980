"""ACME accounts, lineages, orders and deployments."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, TableColumn, Words
from inventory.vocabulary import (
    AccountState,
    DeploymentState,
    LineageNameState,
    LineageState,
    VerificationState,
)


class AcmeAccount(Base):
    """An account at an ACME CA."""

    __tablename__ = "acme_account"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    name: TableColumn[str] = TableColumn(unique=True)
    # a known CA, or one of the configuration, else the host of the directory
    ca: TableColumn[str]
    directory: TableColumn[str]
    # of the account at the CA; NULL until it answered
    url: TableColumn[str | None]
    key_reference: TableColumn[str]
    # mail addresses
    contacts: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    eab_kid: TableColumn[str | None]
    # the URL that was agreed to
    terms: TableColumn[str | None]
    agreed_at: TableColumn[Timestamp | None]
    agreed_by: TableColumn[str | None]
    fallback_id: TableColumn[int | None] = TableColumn(
        Id, ForeignKey("acme_account.id"), index=True
    )
    state: TableColumn[AccountState] = TableColumn(EnumText(AccountState), server_default="active")
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]


class StoredLineage(Base):
    """The standing arrangement for one certificate that is renewed.

    It has names, an account, a solver and targets. Programs (hooks, targets) stand in the
    configuration; rows only name them.
    """

    __tablename__ = "lineage"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    # chosen by the administrator; also the name of its folder
    name: TableColumn[str] = TableColumn(unique=True)
    client_id: TableColumn[int] = TableColumn(Id, ForeignKey("client.id"), index=True)
    account_id: TableColumn[int] = TableColumn(Id, ForeignKey("acme_account.id"), index=True)
    key_type: TableColumn[str]
    reuse_key: TableColumn[int] = TableColumn(Integer, server_default="0")
    # CSR of the client in PEM, who then has the key
    csr: TableColumn[str | None]
    solver: TableColumn[str]
    profile: TableColumn[str | None]
    preferred_chain: TableColumn[str | None]
    # names of targets in the configuration
    targets: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    # ask, auto: whether names in quarantine may be left out
    shrink: TableColumn[str] = TableColumn(server_default="ask")
    # the quarantined names whose leaving out was approved
    shrink_ok: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    # the newest certificate
    sha256: TableColumn[str | None] = TableColumn(ForeignKey("certificate.sha256"))
    # SHA-256 of each, leaf first
    chain: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    # SHA-256 of the leaf that the current link holds
    deployed: TableColumn[str | None]
    # when that leaf was seen live on every address
    proven_at: TableColumn[Timestamp | None]
    # the result of the last verification in words
    proof: TableColumn[str | None]
    # its state; NULL if no endpoint could be probed
    verification: TableColumn[VerificationState | None] = TableColumn(EnumText(VerificationState))
    # SHA-256 of the leaf that was rolled back: it is not deployed again without staff
    rolled_back: TableColumn[str | None]
    # SHA-256 of leaves that must not be deployed again
    compromised: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    ari_start: TableColumn[Timestamp | None]
    ari_end: TableColumn[Timestamp | None]
    # the time within it, drawn once, so that a repeated run does not draw again
    ari_at: TableColumn[Timestamp | None]
    # explanationURL
    ari_url: TableColumn[str | None]
    # when to ask again
    ari_next_at: TableColumn[Timestamp | None]
    failures: TableColumn[int] = TableColumn(Integer, server_default="0")
    # not before
    next_at: TableColumn[Timestamp | None]
    # the last error, JSON of certmgr/acme/problems.py
    error: TableColumn[str | None]
    state: TableColumn[LineageState] = TableColumn(EnumText(LineageState), server_default="active")
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]


class LineageName(Base):
    """A name of a lineage."""

    __tablename__ = "lineage_name"
    __table_args__ = (Index("ix_lineage_name_name", "name"),)

    lineage_id: TableColumn[int] = TableColumn(Id, ForeignKey("lineage.id"), primary_key=True)
    name: TableColumn[str] = TableColumn(primary_key=True)
    position: TableColumn[int] = TableColumn(Integer)
    # active, quarantined
    state: TableColumn[LineageNameState] = TableColumn(
        EnumText(LineageNameState), server_default="active"
    )
    since: TableColumn[Timestamp | None]
    reason: TableColumn[str | None]
    failures: TableColumn[int] = TableColumn(Integer, server_default="0")
    # when a quarantined name was last rechecked
    checked_at: TableColumn[Timestamp | None]


class AcmeOrder(Base):
    """One order at the CA for one intent of a lineage. Written before the CA receives it."""

    __tablename__ = "acme_order"
    __table_args__ = (
        # Of orders that have not ended alone: the migration has the condition. Here it would
        # stand once per dialect, and each command would load the drivers of PostgreSQL.
        Index(
            "uq_acme_order_open",
            "lineage_id",
            unique=True,
        ),
    )

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    lineage_id: TableColumn[int] = TableColumn(Id, ForeignKey("lineage.id"), index=True)
    account_id: TableColumn[int] = TableColumn(Id, ForeignKey("acme_account.id"), index=True)
    # intended, asked, pending, finalizing, issued, deployed, failed, abandoned
    state: TableColumn[str]
    # why it was begun
    reason: TableColumn[str]
    names: TableColumn[tuple[str, ...]] = TableColumn(Words)
    profile: TableColumn[str | None]
    # ARI certificate id
    replaces: TableColumn[str | None]
    # placed in the window of ARI: counts against no limit
    exempt: TableColumn[int] = TableColumn(Integer, server_default="0")
    # the name of its file, random: ids of rows are used again after a restored backup
    key_name: TableColumn[str]
    key_reference: TableColumn[str | None]
    csr: TableColumn[str | None]
    url: TableColumn[str | None]
    certificate_url: TableColumn[str | None]
    sha256: TableColumn[str | None] = TableColumn(ForeignKey("certificate.sha256"))
    error: TableColumn[str | None]
    # token of the process that works on it
    holder: TableColumn[str | None]
    lease_until: TableColumn[Timestamp | None]
    created_at: TableColumn[Timestamp]
    ended_at: TableColumn[Timestamp | None]


class AcmeEvent(Base):
    """What counts against a CA's rate limits."""

    __tablename__ = "acme_event"
    __table_args__ = (Index("ix_acme_event_account_id_at", "account_id", "at"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    account_id: TableColumn[int] = TableColumn(Id, ForeignKey("acme_account.id"), index=True)
    at: TableColumn[Timestamp]
    # order, certificate, failure
    kind: TableColumn[str]
    # registered domain, or the name that failed
    domain: TableColumn[str | None]
    # digest of the exact set
    names: TableColumn[str | None]
    exempt: TableColumn[int] = TableColumn(Integer, server_default="0")


class AcmeBackoff(Base):
    """A CA or a name that is not tried again until a time."""

    __tablename__ = "acme_backoff"

    directory: TableColumn[str] = TableColumn(primary_key=True)
    # a name, "account:NAME", or "" for the CA
    scope: TableColumn[str] = TableColumn(primary_key=True)
    failures: TableColumn[int] = TableColumn(Integer)
    until: TableColumn[Timestamp]
    reason: TableColumn[str]
    at: TableColumn[Timestamp]


class Deployment(Base):
    """One certificate deployed to one target."""

    __tablename__ = "deployment"
    __table_args__ = (UniqueConstraint("lineage_id", "sha256", "target"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    lineage_id: TableColumn[int] = TableColumn(Id, ForeignKey("lineage.id"), index=True)
    sha256: TableColumn[str]
    target: TableColumn[str]
    # pending, done, failed
    state: TableColumn[DeploymentState] = TableColumn(EnumText(DeploymentState))
    attempts: TableColumn[int] = TableColumn(Integer, server_default="0")
    next_at: TableColumn[Timestamp]
    error: TableColumn[str | None]
    created_at: TableColumn[Timestamp]
    done_at: TableColumn[Timestamp | None]
