"""Revocation lists, and the status of served certificates."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, TableColumn


class StoredCrl(Base):
    """A certificate revocation list as it was fetched last, its signature checked."""

    __tablename__ = "crl"

    url: TableColumn[str] = TableColumn(primary_key=True)
    digest: TableColumn[str | None]
    body: TableColumn[bytes | None]
    this_update: TableColumn[Timestamp | None]
    next_update: TableColumn[Timestamp | None]
    fetched_at: TableColumn[Timestamp | None]
    next_at: TableColumn[Timestamp]
    failures: TableColumn[int] = TableColumn(Integer, server_default="0")
    error: TableColumn[str | None]


class RevocationCheck(Base):
    """The last known revocation status of a leaf. A failed check changes nothing."""

    __tablename__ = "revocation"
    __table_args__ = (Index("ix_revocation_status", "status"),)

    sha256: TableColumn[str] = TableColumn(ForeignKey("certificate.sha256"), primary_key=True)
    # good, revoked, unknown
    status: TableColumn[str]
    reason: TableColumn[str | None]
    revoked_at: TableColumn[Timestamp | None]
    # the URL of the CRL
    source: TableColumn[str | None]
    # why it is unknown
    detail: TableColumn[str | None]
    checked_at: TableColumn[Timestamp]
    next_at: TableColumn[Timestamp]
