"""Confirmations of mass mail that staff gave ahead: a number of clients, until a time."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select, update

from inventory.db.database import Tx
from inventory.db.sql import fetch, insert_id
from inventory.models import MassAllowance
from inventory.records import AllowanceRecord


def add(tx: Tx, clients: int, until: int, reason: str, by: str) -> int:
    """Store a confirmation, and return its number.

    Args:
        clients: The number of clients that runs may send to under it, together.
        until: Its end, in seconds.
    """
    key = insert_id(
        tx.conn,
        MassAllowance,
        {
            "clients": clients,
            "until": until,
            "reason": reason,
            "by": by,
            "created_at": tx.at,
            # use() compares it, so it is stored in one form from the first.
            "sent_to": (),
        },
    )
    tx.audit("allow", "mass_allowance", key, {"clients": clients, "until": until})
    return key


def active(conn: Connection, at: int) -> list[AllowanceRecord]:
    """Return the confirmations that are in force at a time, the one that ends first first."""
    query = (
        select(MassAllowance)
        .where(MassAllowance.until > at, MassAllowance.withdrawn_at.is_(None))
        .order_by(MassAllowance.until, MassAllowance.id)
    )
    return fetch(conn, AllowanceRecord, query)


def withdraw(tx: Tx, number: int) -> bool:
    """End a confirmation before its time. Return False if it was not in force."""
    done = tx.conn.execute(
        update(MassAllowance)
        .where(
            MassAllowance.id == number,
            MassAllowance.until > tx.at,
            MassAllowance.withdrawn_at.is_(None),
        )
        .values(withdrawn_at=tx.at)
    )
    if done.rowcount == 1:
        tx.audit("withdraw", "mass_allowance", number)
    return done.rowcount == 1


def use(tx: Tx, allowance: AllowanceRecord, client_ids: Iterable[int]) -> bool:
    """Record the clients that a run sends to, in the transaction that queues the messages.

    Returns:
        False if the confirmation is not in force any more, or another run used it meanwhile: then
        nothing may be sent under it.
    """
    # A client counts once, however many messages it gets under the confirmation.
    together = tuple(sorted({*allowance.sent_to, *map(str, client_ids)}, key=int))
    done = tx.conn.execute(
        update(MassAllowance)
        .where(
            MassAllowance.id == allowance.id,
            MassAllowance.until > tx.at,
            MassAllowance.withdrawn_at.is_(None),
            MassAllowance.sent_to == allowance.sent_to,
        )
        .values(sent_to=together)
    )
    if done.rowcount == 1:
        tx.audit("use", "mass_allowance", allowance.id, {"clients": len(together)})
    return done.rowcount == 1
