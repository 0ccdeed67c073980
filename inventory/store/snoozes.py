"""Snoozes and maintenance windows."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import fetch, insert_id
from inventory.models import (
    Client,
    Domain,
    Server,
    Snooze,
    Ticket,
)
from inventory.records import (
    SnoozeRecord,
)
from inventory.vocabulary import SnoozeScope


def add(
    tx: Tx,
    scope: SnoozeScope,
    scope_id: int,
    starts_at: Timestamp,
    until: Timestamp,
    reason: str,
    by: str,
) -> int:
    """Add a snooze or maintenance window, and return its id.

    Args:
        tx: The transaction.
        scope: What kind of row it is about.
        scope_id: The id of the row; 0 for all.
        starts_at: The start, in epoch seconds.
        until: The end, in epoch seconds.
        reason: Why.
        by: Who asked for it.
    """
    values = {
        "scope": scope,
        "scope_id": scope_id,
        "starts_at": starts_at,
        "until": until,
        "reason": reason,
        "by": by,
    }
    key = insert_id(tx.conn, Snooze, values | {"created_at": tx.at})
    # Without the reason, which is free text: the audit log contains no personal data.
    tx.audit("snooze", scope, scope_id, {"until": until, "starts_at": starts_at})
    return key


def end(tx: Tx, snooze_id: int) -> bool:
    """End a snooze now, and return whether it was still in force."""
    done = tx.conn.execute(
        update(Snooze)
        # Withdrawn and not deleted, so that it stays visible why a client was not notified.
        .where(Snooze.id == snooze_id, Snooze.withdrawn_at.is_(None))
        .values(withdrawn_at=tx.at)
    )
    # A second end of the same snooze changes nothing, so that the log does not state one.
    if done.rowcount == 1:
        tx.audit("wake", "snooze", snooze_id)
    return done.rowcount == 1


def listing(conn: Connection, at: Timestamp | None = None) -> list[SnoozeRecord]:
    """Return the snoozes in force at ``at`` (epoch seconds); without it, all not withdrawn."""
    query = select(Snooze).where(Snooze.withdrawn_at.is_(None)).order_by(Snooze.id)
    if at is not None:
        # A maintenance window may be planned ahead, so its begin counts too.
        query = query.where(Snooze.starts_at <= at, Snooze.until > at)
    return fetch(conn, SnoozeRecord, query)


def scope_names(conn: Connection) -> dict[tuple[SnoozeScope, int], str]:
    """Return (scope, id) -> the name by which an administrator knows it."""
    # All names at once: a listing shows few snoozes, but of all kinds.
    found = {(SnoozeScope.CLIENT, i): n for i, n in conn.execute(select(Client.id, Client.number))}
    found |= {(SnoozeScope.SERVER, i): n for i, n in conn.execute(select(Server.id, Server.name))}
    found |= {(SnoozeScope.DOMAIN, i): n for i, n in conn.execute(select(Domain.id, Domain.name))}
    return found | {
        (SnoozeScope.TICKET, i): n for i, n in conn.execute(select(Ticket.id, Ticket.reference))
    }
