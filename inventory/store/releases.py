"""Releases: an administrator lets held tickets of a cause go."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import fetch, insert_id
from inventory.models import (
    Release,
    Ticket,
)
from inventory.records import (
    ReleasedTicket,
    ReleaseRecord,
    TicketRecord,
)


def add(tx: Tx, cause: str, per_day: int, by: str) -> int:
    """Release the held tickets of a cause, and return the id of the release.

    Args:
        tx: The transaction.
        cause: The cause; ``* CODE`` is every cause with that finding.
        per_day: The number of clients that are notified per day.
        by: Who releases them.
    """
    tx.conn.execute(
        # A second release of a cause replaces the first, so that the daily limits do not add up.
        update(Release)
        .where(Release.cause == cause, Release.ended_at.is_(None))
        .values(ended_at=tx.at)
    )
    values = {"cause": cause, "per_day": per_day, "by": by, "created_at": tx.at}
    key = insert_id(tx.conn, Release, values)
    tx.audit("release", "release", key, {"cause": cause, "per_day": per_day})
    return key


def held_at(row: TicketRecord) -> int:
    """Return when a ticket was held, in epoch seconds; 0 if that is unknown.

    ``hold`` has three words: why, the urgency at that time, and the time.
    """
    # Holds of earlier versions have fewer words.
    parts = (row.hold or "").split(" ")
    return int(parts[2]) if len(parts) > 2 else 0


def end(tx: Tx, ids: Sequence[int]) -> None:
    """End releases that have let all their tickets through."""
    if ids:
        tx.conn.execute(update(Release).where(Release.id.in_(ids)).values(ended_at=tx.at))


def in_force(conn: Connection) -> list[ReleaseRecord]:
    """Return the releases in force, the oldest first."""
    query = select(Release).where(Release.ended_at.is_(None)).order_by(Release.id)
    return fetch(conn, ReleaseRecord, query)


def belongs(row: TicketRecord | ReleasedTicket, cause: str) -> bool:
    """Return whether a ticket is of a cause; ``* CODE`` is every cause with that finding."""
    return bool(row.cause == cause or (cause.startswith("* ") and row.code == cause[2:]))


def released_since(conn: Connection, since: Timestamp) -> list[ReleasedTicket]:
    """Return the tickets that were released since a time, in epoch seconds."""
    query = select(Ticket.cause, Ticket.code, Ticket.client_id).where(Ticket.released_at >= since)
    return fetch(conn, ReleasedTicket, query)
