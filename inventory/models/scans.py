"""Scan runs and what they found."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, Json, JsonTexts, Words, column
from inventory.vocabulary import Actor, FindingDecision, RunState, Severity, ShardRole


class StoredCertificate(Base):
    """A certificate that was served or received."""

    __tablename__ = "certificate"
    __table_args__ = (Index("ix_certificate_is_ca", "is_ca"),)

    sha256: ColumnOf[str] = column(primary_key=True)
    der: ColumnOf[bytes]
    serial: ColumnOf[str]
    subject: ColumnOf[str]
    issuer: ColumnOf[str]
    not_before: ColumnOf[Timestamp | None]
    not_after: ColumnOf[Timestamp | None]
    names: ColumnOf[tuple[str, ...]] = column(JsonTexts)
    key: ColumnOf[str]
    is_ca: ColumnOf[int] = column(Integer)
    first_seen: ColumnOf[Timestamp]


class Run(Base):
    """One scan run."""

    __tablename__ = "run"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    # running, complete, incomplete, suspect
    state: ColumnOf[RunState] = column(EnumText(RunState))
    reason: ColumnOf[str | None]
    vantage: ColumnOf[str]
    pid: ColumnOf[int] = column(Integer)
    started_at: ColumnOf[Timestamp]
    finished_at: ColumnOf[Timestamp | None]
    scope: ColumnOf[str] = column(server_default="")
    # the options that decide what is checked, such as "deep"; empty: none
    checks: ColumnOf[str] = column(server_default="")
    planned: ColumnOf[int] = column(Integer, server_default="0")
    looked: ColumnOf[int] = column(Integer, server_default="0")
    undetermined: ColumnOf[int] = column(Integer, server_default="0")
    # the options of a run that is spread over workers; NULL: it runs in one process
    options: ColumnOf[dict[str, Any] | None] = column(Json)
    # what a zone left out, one text each; it does not make the run incomplete
    notes: ColumnOf[tuple[str, ...]] = column(JsonTexts, server_default="[]")


class ScanShard(Base):
    """A part of a run that is spread over workers. It is deleted when the run ends.

    Times are those of the database, since the clocks of workers may differ.
    """

    __tablename__ = "scan_shard"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    run_id: ColumnOf[int] = column(Id, ForeignKey("run.id"), index=True)
    # ids of endpoints, in the order of visits
    endpoints: ColumnOf[list[int]] = column(Json)
    # the vantage point from which the endpoints are visited
    zone: ColumnOf[str] = column(server_default="default")
    role: ColumnOf[ShardRole] = column(EnumText(ShardRole), server_default="only")
    # shards with the same group are scanned one after the other; NULL: with no other
    turn: ColumnOf[str | None]
    # the limits per address are divided by this, because other shards may visit the same address
    share: ColumnOf[int] = column(Integer, server_default="1")
    # the number of leases so far: results are accepted for the newest only
    token: ColumnOf[int] = column(Integer, server_default="0")
    worker: ColumnOf[str | None]
    leased_until: ColumnOf[Timestamp] = column(server_default="0")
    touched_at: ColumnOf[Timestamp] = column(server_default="0")
    finished_at: ColumnOf[Timestamp | None]
    # why it was given up
    error: ColumnOf[str | None]
    # why the results of its zone are not used: no worker, or its control targets failed
    doubt: ColumnOf[str | None]
    checked: ColumnOf[int] = column(Integer, server_default="0")
    undetermined: ColumnOf[int] = column(Integer, server_default="0")
    # ids of endpoints that were good before this run and are not any more
    fell: ColumnOf[list[int]] = column(Json, server_default="[]")


class ProbeState(Base):
    """The last attempt and the last success at an endpoint, which are separate facts."""

    __tablename__ = "standing"
    __table_args__ = (Index("ix_standing_not_after", "not_after"),)

    endpoint_id: ColumnOf[int] = column(
        Id, ForeignKey("endpoint.id"), primary_key=True, autoincrement=False
    )
    # of what was reported
    fingerprint: ColumnOf[str] = column(server_default="")
    # of what was seen, while the same evidence gives the same findings
    memo: ColumnOf[str] = column(server_default="")
    # until then
    recheck_at: ColumnOf[Timestamp | None]
    # when findings were last updated; NULL: probed, and never judged
    judged_at: ColumnOf[Timestamp | None]
    # 1: good in the last complete run
    good: ColumnOf[int] = column(Integer, server_default="0")
    last_run_id: ColumnOf[int | None] = column(Id, ForeignKey("run.id"), index=True)
    last_attempt: ColumnOf[Timestamp]
    error_layer: ColumnOf[str | None]
    error_reason: ColumnOf[str | None]
    failing_since: ColumnOf[Timestamp | None]
    failing_runs: ColumnOf[int] = column(Integer, server_default="0")
    last_good: ColumnOf[Timestamp | None]
    leaf: ColumnOf[str | None] = column(ForeignKey("certificate.sha256"))
    not_after: ColumnOf[Timestamp | None]
    issuer: ColumnOf[str | None]


class ServedChain(Base):
    """What one address of an endpoint served, over the time in which it served the same."""

    __tablename__ = "observation"
    __table_args__ = (
        Index("ix_observation_endpoint_id_open", "endpoint_id", "open"),
        Index("ix_observation_leaf", "leaf"),
    )

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    endpoint_id: ColumnOf[int] = column(Id, ForeignKey("endpoint.id"))
    address: ColumnOf[str]
    first_seen: ColumnOf[Timestamp]
    last_seen: ColumnOf[Timestamp]
    # 1: nothing else was seen at this address since
    open: ColumnOf[int] = column(Integer)
    # 1: the last attempt saw it
    live: ColumnOf[int] = column(Integer)
    # SHA-256 of each certificate, leaf first
    chain: ColumnOf[tuple[str, ...]] = column(Words)
    leaf: ColumnOf[str | None] = column(ForeignKey("certificate.sha256"))
    tls_version: ColumnOf[str | None]
    cipher: ColumnOf[str | None]
    group_name: ColumnOf[str | None]
    alpn: ColumnOf[str | None]
    ocsp: ColumnOf[str | None]
    # 1, 0, NULL: not determined
    trusted: ColumnOf[int | None] = column(Integer)
    # 1: the path leads to an anchor of the browsers' store
    public: ColumnOf[int | None] = column(Integer)


class PageObservation(Base):
    """What a visitor met over HTTP and HTTPS, over the time in which it stayed the same."""

    __tablename__ = "web_observation"
    __table_args__ = (Index("ix_web_observation_endpoint_id_open", "endpoint_id", "open"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    endpoint_id: ColumnOf[int] = column(Id, ForeignKey("endpoint.id"))
    first_seen: ColumnOf[Timestamp]
    last_seen: ColumnOf[Timestamp]
    # 1: nothing else was seen since
    open: ColumnOf[int] = column(Integer)
    digest: ColumnOf[str]
    # "http" of certmgr.scan/1
    document: ColumnOf[dict[str, Any]] = column(Json)


class StoredFinding(Base):
    """A finding of an endpoint, open until ``closed_at``: at most one per code (schema.py)."""

    __tablename__ = "finding"
    __table_args__ = (
        Index("ix_finding_endpoint_id_closed_at", "endpoint_id", "closed_at"),
        Index("ix_finding_closed_at", "closed_at"),
    )

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    endpoint_id: ColumnOf[int] = column(Id, ForeignKey("endpoint.id"))
    code: ColumnOf[str]
    severity: ColumnOf[Severity] = column(EnumText(Severity))
    actor: ColumnOf[Actor] = column(EnumText(Actor))
    outcome: ColumnOf[str | None]
    addresses: ColumnOf[tuple[str, ...]] = column(Words)
    # by the keys of the code (docs/findings.md)
    evidence: ColumnOf[dict[str, Any]] = column(Json)
    opened_at: ColumnOf[Timestamp]
    opened_run: ColumnOf[int | None] = column(Id, ForeignKey("run.id"))
    closed_at: ColumnOf[Timestamp | None]
    closed_run: ColumnOf[int | None] = column(Id, ForeignKey("run.id"))


class Proposal(Base):
    """What a run would open and close.

    It takes effect in one transaction when the run ends well; a suspect or dead run leaves none
    of it.
    """

    __tablename__ = "proposal"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    run_id: ColumnOf[int] = column(Id, ForeignKey("run.id"), index=True)
    endpoint_id: ColumnOf[int] = column(Id, ForeignKey("endpoint.id"))
    # {"open", "update", "close", "at", "marks"} (inventory/store/proposals.py)
    changes: ColumnOf[dict[str, Any]] = column(Json)


class StoredAcceptance(Base):
    """An accepted finding, or one that a named person fixes until a date."""

    __tablename__ = "acceptance"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    code: ColumnOf[str]
    client_id: ColumnOf[int | None] = column(Id, ForeignKey("client.id"), index=True)
    domain_id: ColumnOf[int | None] = column(Id, ForeignKey("domain.id"), index=True)
    endpoint_id: ColumnOf[int | None] = column(Id, ForeignKey("endpoint.id"), index=True)
    kind: ColumnOf[FindingDecision] = column(EnumText(FindingDecision), server_default="accept")
    until: ColumnOf[Timestamp]
    reason: ColumnOf[str]
    by: ColumnOf[str]
    # 1: an assignment makes clients due for "we are fixing it"
    informs: ColumnOf[int] = column(Integer, server_default="1")
    # The id of the first row of a command that selected faults; null if it selected a place.
    batch: ColumnOf[int | None] = column(Id, index=True)
    created_at: ColumnOf[Timestamp]
    withdrawn_at: ColumnOf[Timestamp | None]
