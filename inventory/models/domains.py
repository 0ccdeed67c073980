"""Domains, endpoints and tags."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Words
from inventory.vocabulary import HttpsPolicy, Purpose, RecordState


class Domain(Base):
    """A name that one client owns. It has one client at a time; retired rows stay."""

    __tablename__ = "domain"
    __table_args__ = (Index("ix_domain_name", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    # A-labels, or an IP address
    name: Mapped[str]
    client_id: Mapped[int] = mapped_column(Id, ForeignKey("client.id"), index=True)
    server_id: Mapped[int | None] = mapped_column(Id, ForeignKey("server.id"), index=True)
    purpose: Mapped[Purpose] = mapped_column(EnumText(Purpose), server_default="site")
    # visited in addition to the home page
    paths: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    # NULL: the provider's rule
    policy: Mapped[HttpsPolicy | None] = mapped_column(EnumText(HttpsPolicy))
    note: Mapped[str | None]
    hosts: Mapped[str | None]
    dns: Mapped[str | None]
    buys: Mapped[str | None]
    renews: Mapped[str | None]
    state: Mapped[RecordState] = mapped_column(EnumText(RecordState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class Endpoint(Base):
    """What a scan visits for a domain: host, port and protocol."""

    __tablename__ = "endpoint"
    __table_args__ = (UniqueConstraint("domain_id", "host", "port", "protocol"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    domain_id: Mapped[int] = mapped_column(Id, ForeignKey("domain.id"), index=True)
    host: Mapped[str]
    port: Mapped[int] = mapped_column(Integer)
    protocol: Mapped[str]
    # fixed addresses that are visited instead of those in the DNS
    addresses: Mapped[tuple[str, ...] | None] = mapped_column(Words)
    state: Mapped[RecordState] = mapped_column(EnumText(RecordState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class Tag(Base):
    """A tag of a client, domain, endpoint or server."""

    __tablename__ = "tag"
    __table_args__ = (Index("ix_tag_name", "name"),)

    # client, domain, endpoint, server
    kind: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(primary_key=True)
