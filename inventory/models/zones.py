"""Vantage points of scans, what is visited from them, and what was seen there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Json, Words
from inventory.vocabulary import RecordState, ZoneScopeKind


class StoredZone(Base):
    """A vantage point. The default one has no row.

    What it may reach stands in the configuration of its machines and not here: a row of a shared
    database must not open a network.
    """

    __tablename__ = "zone"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    # in queues, shards and views; it never changes
    name: Mapped[str] = mapped_column(unique=True)
    note: Mapped[str | None]
    state: Mapped[RecordState] = mapped_column(EnumText(RecordState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class ZoneScope(Base):
    """What is visited from a zone: endpoints of a client, a server or a tag, or internal names."""

    __tablename__ = "zone_scope"
    __table_args__ = (Index("uq_zone_scope_zone", "zone", "kind", "row_id", "value", unique=True),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    # the name of the zone; the default zone has no row that a key could refer to
    zone: Mapped[str]
    kind: Mapped[ZoneScopeKind] = mapped_column(EnumText(ZoneScopeKind))
    # the id of the client or server; 0 for the other kinds
    row_id: Mapped[int] = mapped_column(Id, server_default="0")
    # the tag, or the name above the hosts; empty for the other kinds
    value: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Timestamp]


class ZoneView(Base):
    """What an endpoint showed to one zone, in runs that visit it from several.

    It is apart from the state of the endpoint (table standing), which only its first zone changes.
    """

    __tablename__ = "zone_view"

    endpoint_id: Mapped[int] = mapped_column(
        Id, ForeignKey("endpoint.id"), primary_key=True, autoincrement=False
    )
    zone: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(Id, ForeignKey("run.id"), index=True)
    # 1: the zone whose results are the state of the endpoint
    first: Mapped[int] = mapped_column(Integer, server_default="0")
    at: Mapped[Timestamp]
    # 1: it served a certificate
    good: Mapped[int] = mapped_column(Integer)
    error: Mapped[str | None]
    # from the DNS of the zone
    addresses: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    # those of them to which the zone has no route
    unrouted: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    # {"code", "severity", "addresses", "evidence"} each
    findings: Mapped[list[dict[str, Any]]] = mapped_column(Json, server_default="[]")
    # address -> SHA-256 of the leaf, at the last success
    served: Mapped[dict[str, str]] = mapped_column(Json, server_default="{}")
    served_at: Mapped[Timestamp | None]


class ZoneWorker(Base):
    """A worker that runs, with its zone and queues. It is deleted when the worker ends.

    ``seen_at`` is by the clock of the database, since the clocks of workers may differ.
    """

    __tablename__ = "zone_worker"

    worker: Mapped[str] = mapped_column(primary_key=True)
    zone: Mapped[str]
    queues: Mapped[tuple[str, ...]] = mapped_column(Words)
    seen_at: Mapped[Timestamp]
