"""Revocation lists, and the status of served certificates."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText
from inventory.vocabulary import RevocationState


class StoredCrl(Base):
    """A certificate revocation list as it was fetched last, its signature checked."""

    __tablename__ = "crl"

    url: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str | None]
    body: Mapped[bytes | None]
    this_update: Mapped[Timestamp | None]
    next_update: Mapped[Timestamp | None]
    fetched_at: Mapped[Timestamp | None]
    next_at: Mapped[Timestamp]
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    error: Mapped[str | None]


class RevocationCheck(Base):
    """The last known revocation status of a leaf. A failed check changes nothing."""

    __tablename__ = "revocation"
    __table_args__ = (Index("ix_revocation_status", "status"),)

    sha256: Mapped[str] = mapped_column(ForeignKey("certificate.sha256"), primary_key=True)
    status: Mapped[RevocationState] = mapped_column(EnumText(RevocationState))
    reason: Mapped[str | None]
    revoked_at: Mapped[Timestamp | None]
    # the URL of the CRL
    source: Mapped[str | None]
    # why it is unknown
    detail: Mapped[str | None]
    checked_at: Mapped[Timestamp]
    next_at: Mapped[Timestamp]
