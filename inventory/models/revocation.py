"""Revocation lists, and the status of served certificates."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, column
from inventory.vocabulary import RevocationState


class StoredCrl(Base):
    """A certificate revocation list as it was fetched last, its signature checked."""

    __tablename__ = "crl"

    url: ColumnOf[str] = column(primary_key=True)
    digest: ColumnOf[str | None]
    body: ColumnOf[bytes | None]
    this_update: ColumnOf[Timestamp | None]
    next_update: ColumnOf[Timestamp | None]
    fetched_at: ColumnOf[Timestamp | None]
    next_at: ColumnOf[Timestamp]
    failures: ColumnOf[int] = column(Integer, server_default="0")
    error: ColumnOf[str | None]


class RevocationCheck(Base):
    """The last known revocation status of a leaf. A failed check changes nothing."""

    __tablename__ = "revocation"
    __table_args__ = (Index("ix_revocation_status", "status"),)

    sha256: ColumnOf[str] = column(ForeignKey("certificate.sha256"), primary_key=True)
    status: ColumnOf[RevocationState] = column(EnumText(RevocationState))
    reason: ColumnOf[str | None]
    revoked_at: ColumnOf[Timestamp | None]
    # the URL of the CRL
    source: ColumnOf[str | None]
    # why it is unknown
    detail: ColumnOf[str | None]
    checked_at: ColumnOf[Timestamp]
    next_at: ColumnOf[Timestamp]
