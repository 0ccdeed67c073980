"""The provider's dated rules."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import RecordState


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRecord(Record):
    """A dated rule."""

    id: int
    name: str
    at: Timestamp
    rule: str
    title: str
    text: str | None
    # Lead times of the three steps. The client is notified before the first one must begin.
    purchase_days: int
    validation_days: int
    installation_days: int
    state: RecordState
    created_at: Timestamp
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDeadline(DeadlineRecord):
    """A dated rule with the numbers of its clients and its tags; without any it is for all."""

    clients: tuple[str, ...]
    tags: tuple[str, ...]
