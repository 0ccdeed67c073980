"""Domains, endpoints and tags."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, TableColumn, Words
from inventory.vocabulary import Purpose, RecordState


class Domain(Base):
    """A name that one client owns. It has one client at a time; retired rows stay."""

    __tablename__ = "domain"
    __table_args__ = (
        # Of domains that are not retired alone: the migration has the condition. Here it would
        # stand once per dialect, and each command would load the drivers of PostgreSQL.
        Index(
            "uq_domain_active_name",
            "name",
            unique=True,
        ),
        Index("ix_domain_name", "name"),
    )

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    # A-labels, or an IP address
    name: TableColumn[str]
    client_id: TableColumn[int] = TableColumn(Id, ForeignKey("client.id"), index=True)
    server_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("server.id"), index=True)
    purpose: TableColumn[Purpose] = TableColumn(EnumText(Purpose), server_default="site")
    # visited in addition to the home page
    paths: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    # required, optional, or NULL for the provider's rule
    policy: TableColumn[str | None]
    note: TableColumn[str | None]
    hosts: TableColumn[str | None]
    dns: TableColumn[str | None]
    buys: TableColumn[str | None]
    renews: TableColumn[str | None]
    state: TableColumn[RecordState] = TableColumn(EnumText(RecordState), server_default="active")
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]


class Endpoint(Base):
    """What a scan visits for a domain: host, port and protocol."""

    __tablename__ = "endpoint"
    __table_args__ = (UniqueConstraint("domain_id", "host", "port", "protocol"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    domain_id: TableColumn[int] = TableColumn(Id, ForeignKey("domain.id"), index=True)
    host: TableColumn[str]
    port: TableColumn[int] = TableColumn(Integer)
    protocol: TableColumn[str]
    # fixed addresses that are visited instead of those in the DNS
    addresses: TableColumn[tuple[str, ...] | None] = TableColumn(Words)
    state: TableColumn[RecordState] = TableColumn(EnumText(RecordState), server_default="active")
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]


class Tag(Base):
    """A tag of a client, domain, endpoint or server."""

    __tablename__ = "tag"
    __table_args__ = (Index("ix_tag_name", "name"),)

    # client, domain, endpoint, server
    kind: TableColumn[str] = TableColumn(primary_key=True)
    row_id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=False)
    name: TableColumn[str] = TableColumn(primary_key=True)
