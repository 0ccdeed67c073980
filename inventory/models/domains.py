"""Domains, endpoints and tags."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, Words, column
from inventory.vocabulary import HttpsPolicy, Purpose, RecordState


class Domain(Base):
    """A name that one client owns. It has one client at a time (schema.py); retired rows stay."""

    __tablename__ = "domain"
    __table_args__ = (Index("ix_domain_name", "name"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    # A-labels, or an IP address
    name: ColumnOf[str]
    client_id: ColumnOf[int] = column(Id, ForeignKey("client.id"), index=True)
    server_id: ColumnOf[int | None] = column(Id, ForeignKey("server.id"), index=True)
    purpose: ColumnOf[Purpose] = column(EnumText(Purpose), server_default="site")
    # visited in addition to the home page
    paths: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    # NULL: the provider's rule
    policy: ColumnOf[HttpsPolicy | None] = column(EnumText(HttpsPolicy))
    note: ColumnOf[str | None]
    hosts: ColumnOf[str | None]
    dns: ColumnOf[str | None]
    buys: ColumnOf[str | None]
    renews: ColumnOf[str | None]
    state: ColumnOf[RecordState] = column(EnumText(RecordState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]


class Endpoint(Base):
    """What a scan visits for a domain: host, port and protocol."""

    __tablename__ = "endpoint"
    __table_args__ = (UniqueConstraint("domain_id", "host", "port", "protocol"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    domain_id: ColumnOf[int] = column(Id, ForeignKey("domain.id"), index=True)
    host: ColumnOf[str]
    port: ColumnOf[int] = column(Integer)
    protocol: ColumnOf[str]
    # fixed addresses that are visited instead of those in the DNS
    addresses: ColumnOf[tuple[str, ...] | None] = column(Words)
    state: ColumnOf[RecordState] = column(EnumText(RecordState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]


class Tag(Base):
    """A tag of a client, domain, endpoint or server."""

    __tablename__ = "tag"
    __table_args__ = (Index("ix_tag_name", "name"),)

    # client, domain, endpoint, server
    kind: ColumnOf[str] = column(primary_key=True)
    row_id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=False)
    name: ColumnOf[str] = column(primary_key=True)
