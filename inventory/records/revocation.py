"""Revocation lists and statuses."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import RevocationState


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRecord(Record):
    """The last known revocation status of a leaf."""

    sha256: str
    status: RevocationState
    reason: str | None
    revoked_at: Timestamp | None
    # The URL of the list that proves it, or ``us`` if we revoked it.
    source: str | None
    detail: str | None
    checked_at: Timestamp
    next_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlRecord(Record):
    """A revocation list without its body."""

    url: str
    digest: str | None
    this_update: Timestamp | None
    # Until then, the list is valid without a new download (RFC 5280 5.1.2.5).
    next_update: Timestamp | None
    fetched_at: Timestamp | None
    next_at: Timestamp
    failures: int
    error: str | None
