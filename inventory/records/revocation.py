"""Revocation lists and statuses."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.records.base import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRecord(Record):
    """The last known revocation status of a leaf."""

    sha256: str
    status: str
    reason: str | None
    revoked_at: int | None
    source: str | None
    detail: str | None
    checked_at: int
    next_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlRecord(Record):
    """A revocation list without its body."""

    url: str
    digest: str | None
    this_update: int | None
    next_update: int | None
    fetched_at: int | None
    next_at: int
    failures: int
    error: str | None
