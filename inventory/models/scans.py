"""Scan runs and what they found."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Json, JsonTexts, TableColumn, Words
from inventory.vocabulary import Actor, RunState, Severity, ShardRole


class StoredCertificate(Base):
    """A certificate that was served or received."""

    __tablename__ = "certificate"
    __table_args__ = (Index("ix_certificate_is_ca", "is_ca"),)

    sha256: TableColumn[str] = TableColumn(primary_key=True)
    der: TableColumn[bytes]
    serial: TableColumn[str]
    subject: TableColumn[str]
    issuer: TableColumn[str]
    not_before: TableColumn[Timestamp | None]
    not_after: TableColumn[Timestamp | None]
    names: TableColumn[tuple[str, ...]] = TableColumn(JsonTexts)
    key: TableColumn[str]
    is_ca: TableColumn[int] = TableColumn(Integer)
    first_seen: TableColumn[Timestamp]


class Run(Base):
    """One scan run."""

    __tablename__ = "run"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    # running, complete, incomplete, suspect
    state: TableColumn[RunState] = TableColumn(EnumText(RunState))
    reason: TableColumn[str | None]
    vantage: TableColumn[str]
    pid: TableColumn[int] = TableColumn(Integer)
    started_at: TableColumn[Timestamp]
    finished_at: TableColumn[Timestamp | None]
    scope: TableColumn[str] = TableColumn(server_default="")
    planned: TableColumn[int] = TableColumn(Integer, server_default="0")
    looked: TableColumn[int] = TableColumn(Integer, server_default="0")
    undetermined: TableColumn[int] = TableColumn(Integer, server_default="0")
    # the options of a run that is spread over workers; NULL: it runs in one process
    options: TableColumn[dict[str, Any] | None] = TableColumn(Json)
    # what a zone left out, one text each; it does not make the run incomplete
    notes: TableColumn[tuple[str, ...]] = TableColumn(JsonTexts, server_default="[]")


class ScanShard(Base):
    """A part of a run that is spread over workers. It is deleted when the run ends.

    Times are those of the database, since the clocks of workers may differ.
    """

    __tablename__ = "scan_shard"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    run_id: TableColumn[int] = TableColumn(Id, ForeignKey("run.id"), index=True)
    # ids of endpoints, in the order of visits
    endpoints: TableColumn[list[int]] = TableColumn(Json)
    # the vantage point from which the endpoints are visited
    zone: TableColumn[str] = TableColumn(server_default="default")
    role: TableColumn[ShardRole] = TableColumn(EnumText(ShardRole), server_default="only")
    # shards with the same group are scanned one after the other; NULL: with no other
    turn: TableColumn[str | None]
    # the limits per address are divided by this, because other shards may visit the same address
    share: TableColumn[int] = TableColumn(Integer, server_default="1")
    # the number of leases so far: results are accepted for the newest only
    token: TableColumn[int] = TableColumn(Integer, server_default="0")
    worker: TableColumn[str | None]
    leased_until: TableColumn[Timestamp] = TableColumn(server_default="0")
    touched_at: TableColumn[Timestamp] = TableColumn(server_default="0")
    finished_at: TableColumn[Timestamp | None]
    # why it was given up
    error: TableColumn[str | None]
    # why the results of its zone are not used: no worker, or its control targets failed
    doubt: TableColumn[str | None]
    checked: TableColumn[int] = TableColumn(Integer, server_default="0")
    undetermined: TableColumn[int] = TableColumn(Integer, server_default="0")
    # ids of endpoints that were good before this run and are not any more
    fell: TableColumn[list[int]] = TableColumn(Json, server_default="[]")


class ProbeState(Base):
    """The last attempt and the last success at an endpoint, which are separate facts."""

    __tablename__ = "standing"
    __table_args__ = (Index("ix_standing_not_after", "not_after"),)

    endpoint_id: TableColumn[int] = TableColumn(
        Id, ForeignKey("endpoint.id"), primary_key=True, autoincrement=False
    )
    # of what was reported
    fingerprint: TableColumn[str] = TableColumn(server_default="")
    # of what was seen, while the same evidence gives the same findings
    memo: TableColumn[str] = TableColumn(server_default="")
    # until then
    recheck_at: TableColumn[Timestamp | None]
    # when findings were last updated; NULL: probed, and never judged
    judged_at: TableColumn[Timestamp | None]
    # 1: good in the last complete run
    good: TableColumn[int] = TableColumn(Integer, server_default="0")
    last_run_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("run.id"), index=True)
    last_attempt: TableColumn[Timestamp]
    error_layer: TableColumn[str | None]
    error_reason: TableColumn[str | None]
    failing_since: TableColumn[Timestamp | None]
    failing_runs: TableColumn[int] = TableColumn(Integer, server_default="0")
    last_good: TableColumn[Timestamp | None]
    leaf: TableColumn[str | None] = TableColumn(ForeignKey("certificate.sha256"))
    not_after: TableColumn[Timestamp | None]
    issuer: TableColumn[str | None]


class ServedChain(Base):
    """What one address of an endpoint served, over the time in which it served the same."""

    __tablename__ = "observation"
    __table_args__ = (
        Index("ix_observation_endpoint_id_open", "endpoint_id", "open"),
        Index("ix_observation_leaf", "leaf"),
    )

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    endpoint_id: TableColumn[int] = TableColumn(Id, ForeignKey("endpoint.id"))
    address: TableColumn[str]
    first_seen: TableColumn[Timestamp]
    last_seen: TableColumn[Timestamp]
    # 1: nothing else was seen at this address since
    open: TableColumn[int] = TableColumn(Integer)
    # 1: the last attempt saw it
    live: TableColumn[int] = TableColumn(Integer)
    # SHA-256 of each certificate, leaf first
    chain: TableColumn[tuple[str, ...]] = TableColumn(Words)
    leaf: TableColumn[str | None] = TableColumn(ForeignKey("certificate.sha256"))
    tls_version: TableColumn[str | None]
    cipher: TableColumn[str | None]
    group_name: TableColumn[str | None]
    alpn: TableColumn[str | None]
    ocsp: TableColumn[str | None]
    # 1, 0, NULL: not determined
    trusted: TableColumn[int | None] = TableColumn(Integer)
    # 1: the path leads to an anchor of the browsers' store
    public: TableColumn[int | None] = TableColumn(Integer)


class PageObservation(Base):
    """What a visitor met over HTTP and HTTPS, over the time in which it stayed the same."""

    __tablename__ = "web_observation"
    __table_args__ = (Index("ix_web_observation_endpoint_id_open", "endpoint_id", "open"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    endpoint_id: TableColumn[int] = TableColumn(Id, ForeignKey("endpoint.id"))
    first_seen: TableColumn[Timestamp]
    last_seen: TableColumn[Timestamp]
    # 1: nothing else was seen since
    open: TableColumn[int] = TableColumn(Integer)
    digest: TableColumn[str]
    # "http" of certmgr.scan/1
    document: TableColumn[dict[str, Any]] = TableColumn(Json)


class StoredFinding(Base):
    """A finding of an endpoint, open until ``closed_at``."""

    __tablename__ = "finding"
    __table_args__ = (
        Index("ix_finding_endpoint_id_closed_at", "endpoint_id", "closed_at"),
        Index("ix_finding_closed_at", "closed_at"),
        # Of open findings alone: the migration has the condition. Here it would stand once per
        # dialect, and each command would load the drivers of PostgreSQL.
        Index(
            "uq_finding_open",
            "endpoint_id",
            "code",
            unique=True,
        ),
    )

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    endpoint_id: TableColumn[int] = TableColumn(Id, ForeignKey("endpoint.id"))
    code: TableColumn[str]
    severity: TableColumn[Severity] = TableColumn(EnumText(Severity))
    actor: TableColumn[Actor] = TableColumn(EnumText(Actor))
    outcome: TableColumn[str | None]
    addresses: TableColumn[tuple[str, ...]] = TableColumn(Words)
    # by the keys of the code (docs/findings.md)
    evidence: TableColumn[dict[str, Any]] = TableColumn(Json)
    opened_at: TableColumn[Timestamp]
    opened_run: TableColumn[int | None] = TableColumn(Id, ForeignKey("run.id"))
    closed_at: TableColumn[Timestamp | None]
    closed_run: TableColumn[int | None] = TableColumn(Id, ForeignKey("run.id"))


class Proposal(Base):
    """What a run would open and close.

    It takes effect in one transaction when the run ends well; a suspect or dead run leaves none
    of it.
    """

    __tablename__ = "proposal"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    run_id: TableColumn[int] = TableColumn(Id, ForeignKey("run.id"), index=True)
    endpoint_id: TableColumn[int] = TableColumn(Id, ForeignKey("endpoint.id"))
    # {"open", "update", "close", "at", "marks"} (inventory/store/proposals.py)
    changes: TableColumn[dict[str, Any]] = TableColumn(Json)


class StoredAcceptance(Base):
    """An accepted finding, or one that a named person fixes until a date."""

    __tablename__ = "acceptance"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    code: TableColumn[str]
    client_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("client.id"), index=True)
    domain_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("domain.id"), index=True)
    endpoint_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("endpoint.id"), index=True)
    # accept: left out of verdicts; take: assigned to a named person until then
    kind: TableColumn[str] = TableColumn(server_default="accept")
    until: TableColumn[Timestamp]
    reason: TableColumn[str]
    by: TableColumn[str]
    # 1: an assignment makes clients due for "we are fixing it"
    informs: TableColumn[int] = TableColumn(Integer, server_default="1")
    # The id of the first row of a command that selected faults; null if it selected a place.
    batch: TableColumn[int | None] = TableColumn(Id, index=True)
    created_at: TableColumn[Timestamp]
    withdrawn_at: TableColumn[Timestamp | None]
