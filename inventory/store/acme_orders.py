"""ACME orders, which outlive the process that began them; the ledger of rate limits; back-offs.

Order of durability: ``intended`` is committed before anything else; the key is a file and its CSR
is committed before ``asked``; ``asked`` is committed before the order is sent to the CA, and its
URL right after the answer; ``finalizing`` before the CSR is sent; ``issued`` with the certificate
in one transaction. An open order is continued by the process that takes its lease.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from sqlalchemy import Connection, delete, exc, insert, or_, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import fetch, fetch_existing, fetch_one, upsert
from inventory.db.violations import Violation, violation
from inventory.errors import Busy
from inventory.models import AcmeBackoff, AcmeEvent, AcmeOrder, StoredLineage
from inventory.records import BackoffRecord, OpenOrder, OrderRecord, RateEventRecord
from inventory.store import runs
from inventory.vocabulary import OrderState, RateEventKind

# Seconds. Each recorded step extends it, so that only one step has to fit, such as the propagation
# of a DNS record. A dead process of another machine blocks its order for that long.
LEASE = 900


def open_of(conn: Connection, lineage_id: int) -> OrderRecord | None:
    """Return the open order of a lineage; None if it has none. It has at most one."""
    return fetch_one(
        conn,
        OrderRecord,
        select(AcmeOrder).where(AcmeOrder.lineage_id == lineage_id, AcmeOrder.ended_at.is_(None)),
    )


def last_of(conn: Connection, lineage_id: int, limit: int = 20) -> list[OrderRecord]:
    """Return the last orders of a lineage, the newest first."""
    query = (
        select(AcmeOrder)
        .where(AcmeOrder.lineage_id == lineage_id)
        .order_by(AcmeOrder.id.desc())
        .limit(limit)
    )
    return fetch(conn, OrderRecord, query)


def issued_for(conn: Connection, lineage_id: int, sha256: str) -> OrderRecord | None:
    """Return the order under which this certificate was issued."""
    query = (
        select(AcmeOrder)
        .where(AcmeOrder.lineage_id == lineage_id, AcmeOrder.sha256 == sha256)
        .order_by(AcmeOrder.id.desc())
    )
    return fetch_one(conn, OrderRecord, query)


def intend(tx: Tx, values: Mapping[str, Any]) -> OrderRecord:
    """Record the intent to order, before the CA is asked; the caller holds the lease.

    Raises:
        Busy: The lineage has an open order.
    """
    token = holder()
    row = {
        "state": OrderState.INTENDED,
        "created_at": tx.at,
        "holder": token,
        "lease_until": tx.at + LEASE,
        # Random, because ids of rows are used again after a restored backup, and a key file must
        # never be replaced by that of another order.
        "key_name": f"order-{secrets.token_hex(8)}",
        **values,
    }
    try:
        # The savepoint keeps the transaction of PostgreSQL usable after a refused row.
        with tx.conn.begin_nested():
            made = tx.conn.execute(insert(AcmeOrder).values(**row)).inserted_primary_key
    except exc.IntegrityError as error:
        # The unique index on open orders decides between processes. Any other violation is a fault
        # of the program, and must not pass as an order that another process works on.
        if violation(error) is not Violation.DUPLICATE:
            raise
        raise Busy(
            "Another process orders this certificate already", "", "Wait for it to end."
        ) from None
    assert made is not None
    tx.audit("order", "lineage", int(values["lineage_id"]), {})
    return by_id(tx.conn, int(made[0]))


def by_id(conn: Connection, order_id: int) -> OrderRecord:
    """Return an order that exists."""
    return fetch_existing(conn, OrderRecord, select(AcmeOrder).where(AcmeOrder.id == order_id))


def take(tx: Tx, order_id: int) -> OrderRecord:
    """Take the lease of an open order, and return the order.

    The caller holds the lock of the lineage on this machine, so a holder of this machine is dead. A
    holder of another machine keeps the lease until it ends.

    Raises:
        Busy: Another machine has the lease.
    """
    free = or_(
        AcmeOrder.lease_until.is_(None),
        AcmeOrder.lease_until <= tx.at,
        AcmeOrder.holder.startswith(f"{runs.vantage()} ", autoescape=True),
    )
    # The condition is part of the change: two processes that read the same row cannot both take it.
    changed = tx.conn.execute(
        update(AcmeOrder)
        .where(AcmeOrder.id == order_id, AcmeOrder.ended_at.is_(None), free)
        .values(holder=holder(), lease_until=tx.at + LEASE)
    )
    if not changed.rowcount:
        raise Busy(
            "Another machine works on this order",
            "",
            "It is continued when that machine has ended, or its lease is over.",
        )
    return by_id(tx.conn, order_id)


def holder() -> str:
    """Return a new token of this process for the lease of an order."""
    return f"{runs.vantage()} {secrets.token_hex(12)}"


def release(tx: Tx, row: OrderRecord) -> None:
    """End the lease of an order, so that another process can continue it."""
    tx.conn.execute(
        update(AcmeOrder)
        # Only by its holder: the lease of a successor must not be ended.
        .where(AcmeOrder.id == row.id, AcmeOrder.holder == row.holder)
        .values(holder=None, lease_until=None)
    )


class OrderColumns(TypedDict, total=False):
    """The columns of an order that a step records. Times are in epoch seconds."""

    state: OrderState
    profile: str | None
    replaces: str | None
    exempt: int
    key_name: str
    key_reference: str | None
    csr: str | None
    url: str | None
    certificate_url: str | None
    sha256: str | None
    error: str | None
    ended_at: Timestamp | None


def record(tx: Tx, row: OrderRecord, **values: Unpack[OrderColumns]) -> OrderRecord:
    """Record one step, and extend the lease.

    Raises:
        Busy: Another process has the lease. Nothing is written.
    """
    changed = tx.conn.execute(
        update(AcmeOrder)
        .where(
            AcmeOrder.id == row.id,
            # A process that slept past its lease must not overwrite the steps of its successor.
            AcmeOrder.holder == row.holder,
            AcmeOrder.ended_at.is_(None),
        )
        .values(lease_until=tx.at + LEASE, **values)
    )
    if not changed.rowcount:
        raise Busy(
            "Another process took this order over",
            "this one was too slow",
            "The other process continues it.",
        )
    return by_id(tx.conn, row.id)


class EndColumns(TypedDict, total=False):
    """What the end of an order may record besides its state."""

    sha256: str | None
    error: str | None


def end(tx: Tx, row: OrderRecord, state: OrderState, **values: Unpack[EndColumns]) -> None:
    """End an order: ``done``, ``failed`` or ``abandoned``."""
    record(tx, row, state=state, ended_at=tx.at, **values)
    tx.audit(state, "acme_order", row.id, {"state": state})


def urls(conn: Connection, account_id: int) -> set[str]:
    """Return the URLs of all orders of an account.

    An order that the CA lists in addition was placed by a process that died before the answer.
    """
    query = select(AcmeOrder.url).where(
        AcmeOrder.account_id == account_id, AcmeOrder.url.is_not(None)
    )
    return {str(u) for u in conn.scalars(query)}


def unfinished(conn: Connection) -> list[OpenOrder]:
    """Return the open orders, the oldest first."""
    query = (
        select(AcmeOrder, StoredLineage.name.label("lineage"))
        .join(StoredLineage, StoredLineage.id == AcmeOrder.lineage_id)
        .where(AcmeOrder.ended_at.is_(None))
    )
    return fetch(conn, OpenOrder, query.order_by(AcmeOrder.id))


def count(
    tx: Tx,
    account_id: int,
    kind: RateEventKind,
    rows: Sequence[tuple[str | None, str | None]],
    *,
    exempt: bool = False,
) -> None:
    """Count something against the rate limits of a CA.

    Args:
        tx: The transaction.
        account_id: The account.
        kind: What the CA counts.
        rows: (registered domain or name, digest of the exact set of names).
        exempt: Whether the CA does not count it, such as a renewal by ARI.
    """
    if rows:
        tx.conn.execute(
            insert(AcmeEvent),
            [
                {
                    "account_id": account_id,
                    "at": tx.at,
                    "kind": kind,
                    "domain": d,
                    "names": n,
                    "exempt": int(exempt),
                }
                for d, n in rows
            ],
        )


def events(conn: Connection, account_ids: Sequence[int], since: Timestamp) -> list[RateEventRecord]:
    """Return what counted since then, oldest first."""
    query = (
        select(AcmeEvent)
        .where(AcmeEvent.account_id.in_(list(account_ids)), AcmeEvent.at > since)
        .order_by(AcmeEvent.at)
    )
    return fetch(conn, RateEventRecord, query)


def forget_events(tx: Tx, before: Timestamp) -> None:
    """Delete what is older than the window of each limit."""
    tx.conn.execute(delete(AcmeEvent).where(AcmeEvent.at < before))


def backoffs(conn: Connection, directory: str | None = None) -> list[BackoffRecord]:
    """Return the back-offs of a CA, or of all, the first to end at the beginning."""
    query = select(AcmeBackoff)
    if directory is not None:
        query = query.where(AcmeBackoff.directory == directory)
    return fetch(conn, BackoffRecord, query.order_by(AcmeBackoff.until))


def back_off(
    tx: Tx, directory: str, scope: str, failures: int, until: Timestamp, reason: str
) -> None:
    """Record until when nothing is ordered for a scope.

    Args:
        tx: The transaction.
        directory: The directory URL of the CA.
        scope: A name, ``domain:NAME`` for a registered domain, or the CA as a whole.
        failures: The number of failures in a row.
        until: The end, in epoch seconds.
        reason: Why, for staff.
    """
    values = {"failures": failures, "until": until, "reason": reason[:600], "at": tx.at}
    statement = upsert(tx.conn, AcmeBackoff).values(directory=directory, scope=scope, **values)
    tx.conn.execute(
        # A second failure replaces the first: its end was computed from the number of failures so
        # far.
        statement.on_conflict_do_update(index_elements=["directory", "scope"], set_=values)
    )


def forgive(tx: Tx, directory: str, scopes: Sequence[str]) -> None:
    """End the back-offs of scopes that succeeded again."""
    tx.conn.execute(
        delete(AcmeBackoff).where(
            AcmeBackoff.directory == directory, AcmeBackoff.scope.in_(list(scopes))
        )
    )
