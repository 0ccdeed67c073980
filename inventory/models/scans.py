"""Scan runs and what they found."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Json, JsonTexts, Words
from inventory.vocabulary import Actor, FindingDecision, RunState, Severity, ShardRole


class StoredCertificate(Base):
    """A certificate that was served or received."""

    __tablename__ = "certificate"
    __table_args__ = (Index("ix_certificate_is_ca", "is_ca"),)

    sha256: Mapped[str] = mapped_column(primary_key=True)
    der: Mapped[bytes]
    serial: Mapped[str]
    subject: Mapped[str]
    issuer: Mapped[str]
    not_before: Mapped[Timestamp | None]
    not_after: Mapped[Timestamp | None]
    names: Mapped[tuple[str, ...]] = mapped_column(JsonTexts)
    key: Mapped[str]
    is_ca: Mapped[int] = mapped_column(Integer)
    first_seen: Mapped[Timestamp]


class Run(Base):
    """One scan run."""

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    # running, complete, incomplete, suspect
    state: Mapped[RunState] = mapped_column(EnumText(RunState))
    reason: Mapped[str | None]
    vantage: Mapped[str]
    pid: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[Timestamp]
    finished_at: Mapped[Timestamp | None]
    scope: Mapped[str] = mapped_column(server_default="")
    # the options that decide what is checked, such as "deep"; empty: none
    checks: Mapped[str] = mapped_column(server_default="")
    planned: Mapped[int] = mapped_column(Integer, server_default="0")
    looked: Mapped[int] = mapped_column(Integer, server_default="0")
    undetermined: Mapped[int] = mapped_column(Integer, server_default="0")
    # the options of a run that is spread over workers; NULL: it runs in one process
    options: Mapped[dict[str, Any] | None] = mapped_column(Json)
    # what a zone left out, one text each; it does not make the run incomplete
    notes: Mapped[tuple[str, ...]] = mapped_column(JsonTexts, server_default="[]")


class ScanShard(Base):
    """A part of a run that is spread over workers. It is deleted when the run ends.

    Times are those of the database, since the clocks of workers may differ.
    """

    __tablename__ = "scan_shard"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    run_id: Mapped[int] = mapped_column(Id, ForeignKey("run.id"), index=True)
    # ids of endpoints, in the order of visits
    endpoints: Mapped[list[int]] = mapped_column(Json)
    # the vantage point from which the endpoints are visited
    zone: Mapped[str] = mapped_column(server_default="default")
    role: Mapped[ShardRole] = mapped_column(EnumText(ShardRole), server_default="only")
    # shards with the same group are scanned one after the other; NULL: with no other
    turn: Mapped[str | None]
    # the limits per address are divided by this, because other shards may visit the same address
    share: Mapped[int] = mapped_column(Integer, server_default="1")
    # the number of leases so far: results are accepted for the newest only
    token: Mapped[int] = mapped_column(Integer, server_default="0")
    worker: Mapped[str | None]
    leased_until: Mapped[Timestamp] = mapped_column(server_default="0")
    touched_at: Mapped[Timestamp] = mapped_column(server_default="0")
    finished_at: Mapped[Timestamp | None]
    # why it was given up
    error: Mapped[str | None]
    # why the results of its zone are not used: no worker, or its control targets failed
    doubt: Mapped[str | None]
    checked: Mapped[int] = mapped_column(Integer, server_default="0")
    undetermined: Mapped[int] = mapped_column(Integer, server_default="0")
    # ids of endpoints that were good before this run and are not any more
    fell: Mapped[list[int]] = mapped_column(Json, server_default="[]")


class ProbeState(Base):
    """The last attempt and the last success at an endpoint, which are separate facts."""

    __tablename__ = "standing"
    __table_args__ = (Index("ix_standing_not_after", "not_after"),)

    endpoint_id: Mapped[int] = mapped_column(
        Id, ForeignKey("endpoint.id"), primary_key=True, autoincrement=False
    )
    # of what was reported
    fingerprint: Mapped[str] = mapped_column(server_default="")
    # of what was seen, while the same evidence gives the same findings
    memo: Mapped[str] = mapped_column(server_default="")
    # until then
    recheck_at: Mapped[Timestamp | None]
    # when findings were last updated; NULL: probed, and never judged
    judged_at: Mapped[Timestamp | None]
    # 1: good in the last complete run
    good: Mapped[int] = mapped_column(Integer, server_default="0")
    last_run_id: Mapped[int | None] = mapped_column(Id, ForeignKey("run.id"), index=True)
    last_attempt: Mapped[Timestamp]
    error_layer: Mapped[str | None]
    error_reason: Mapped[str | None]
    failing_since: Mapped[Timestamp | None]
    failing_runs: Mapped[int] = mapped_column(Integer, server_default="0")
    last_good: Mapped[Timestamp | None]
    leaf: Mapped[str | None] = mapped_column(ForeignKey("certificate.sha256"))
    not_after: Mapped[Timestamp | None]
    issuer: Mapped[str | None]


class ServedChain(Base):
    """What one address of an endpoint served, over the time in which it served the same."""

    __tablename__ = "observation"
    __table_args__ = (
        Index("ix_observation_endpoint_id_open", "endpoint_id", "open"),
        Index("ix_observation_leaf", "leaf"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    endpoint_id: Mapped[int] = mapped_column(Id, ForeignKey("endpoint.id"))
    address: Mapped[str]
    first_seen: Mapped[Timestamp]
    last_seen: Mapped[Timestamp]
    # 1: nothing else was seen at this address since
    open: Mapped[int] = mapped_column(Integer)
    # 1: the last attempt saw it
    live: Mapped[int] = mapped_column(Integer)
    # SHA-256 of each certificate, leaf first
    chain: Mapped[tuple[str, ...]] = mapped_column(Words)
    leaf: Mapped[str | None] = mapped_column(ForeignKey("certificate.sha256"))
    tls_version: Mapped[str | None]
    cipher: Mapped[str | None]
    group_name: Mapped[str | None]
    alpn: Mapped[str | None]
    ocsp: Mapped[str | None]
    # 1, 0, NULL: not determined
    trusted: Mapped[int | None] = mapped_column(Integer)
    # 1: the path leads to an anchor of the browsers' store
    public: Mapped[int | None] = mapped_column(Integer)


class PageObservation(Base):
    """What a visitor met over HTTP and HTTPS, over the time in which it stayed the same."""

    __tablename__ = "web_observation"
    __table_args__ = (Index("ix_web_observation_endpoint_id_open", "endpoint_id", "open"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    endpoint_id: Mapped[int] = mapped_column(Id, ForeignKey("endpoint.id"))
    first_seen: Mapped[Timestamp]
    last_seen: Mapped[Timestamp]
    # 1: nothing else was seen since
    open: Mapped[int] = mapped_column(Integer)
    digest: Mapped[str]
    # "http" of certmgr.scan/1
    document: Mapped[dict[str, Any]] = mapped_column(Json)


class StoredFinding(Base):
    """A finding of an endpoint, open until ``closed_at``."""

    __tablename__ = "finding"
    __table_args__ = (
        Index("ix_finding_endpoint_id_closed_at", "endpoint_id", "closed_at"),
        Index("ix_finding_closed_at", "closed_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    endpoint_id: Mapped[int] = mapped_column(Id, ForeignKey("endpoint.id"))
    code: Mapped[str]
    severity: Mapped[Severity] = mapped_column(EnumText(Severity))
    actor: Mapped[Actor] = mapped_column(EnumText(Actor))
    outcome: Mapped[str | None]
    addresses: Mapped[tuple[str, ...]] = mapped_column(Words)
    # by the keys of the code (docs/findings.md)
    evidence: Mapped[dict[str, Any]] = mapped_column(Json)
    opened_at: Mapped[Timestamp]
    opened_run: Mapped[int | None] = mapped_column(Id, ForeignKey("run.id"))
    closed_at: Mapped[Timestamp | None]
    closed_run: Mapped[int | None] = mapped_column(Id, ForeignKey("run.id"))


class Proposal(Base):
    """What a run would open and close.

    It takes effect in one transaction when the run ends well; a suspect or dead run leaves none
    of it.
    """

    __tablename__ = "proposal"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    run_id: Mapped[int] = mapped_column(Id, ForeignKey("run.id"), index=True)
    endpoint_id: Mapped[int] = mapped_column(Id, ForeignKey("endpoint.id"))
    # {"open", "update", "close", "at", "marks"} (inventory/store/proposals.py)
    changes: Mapped[dict[str, Any]] = mapped_column(Json)


class StoredAcceptance(Base):
    """An accepted finding, or one that a named person fixes until a date."""

    __tablename__ = "acceptance"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    code: Mapped[str]
    client_id: Mapped[int | None] = mapped_column(Id, ForeignKey("client.id"), index=True)
    domain_id: Mapped[int | None] = mapped_column(Id, ForeignKey("domain.id"), index=True)
    endpoint_id: Mapped[int | None] = mapped_column(Id, ForeignKey("endpoint.id"), index=True)
    kind: Mapped[FindingDecision] = mapped_column(
        EnumText(FindingDecision), server_default="accept"
    )
    until: Mapped[Timestamp]
    reason: Mapped[str]
    by: Mapped[str]
    # 1: an assignment makes clients due for "we are fixing it"
    informs: Mapped[int] = mapped_column(Integer, server_default="1")
    # The id of the first row of a command that selected faults; null if it selected a place.
    batch: Mapped[int | None] = mapped_column(Id, index=True)
    created_at: Mapped[Timestamp]
    withdrawn_at: Mapped[Timestamp | None]
