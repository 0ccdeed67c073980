"""Orders at a CA, each of which outlives the process that leads it; what counts against limits;
what is left alone for a while.

Order of durability: ``intended`` is committed before anything else; the key is a file and its CSR
is committed before ``asked``; ``asked`` is committed before the CA hears of the order, and its URL
right after it answered; ``finalizing`` before the CSR is sent; ``issued`` with the certificate in
one transaction. An open order is continued by the process that takes its lease.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, exc, insert, or_, select, update

from inventory.db.database import Tx
from inventory.db.sql import fetch, fetch_existing, fetch_one, upsert
from inventory.db.violations import Violation, violation
from inventory.errors import Busy
from inventory.models import AcmeBackoff, AcmeEvent, AcmeOrder, StoredLineage
from inventory.records import BackoffRecord, OpenOrder, OrderRecord, RateEventRecord
from inventory.store import runs

LEASE = 900


def open_of(conn: Connection, lineage_id: int) -> OrderRecord | None:
    return fetch_one(
        conn,
        OrderRecord,
        select(AcmeOrder).where(AcmeOrder.lineage_id == lineage_id, AcmeOrder.ended_at.is_(None)),
    )


def last_of(conn: Connection, lineage_id: int, limit: int = 20) -> list[OrderRecord]:
    query = (
        select(AcmeOrder)
        .where(AcmeOrder.lineage_id == lineage_id)
        .order_by(AcmeOrder.id.desc())
        .limit(limit)
    )
    return fetch(conn, OrderRecord, query)


def issued_for(conn: Connection, lineage_id: int, sha256: str) -> OrderRecord | None:
    """The order that gave this certificate."""
    query = (
        select(AcmeOrder)
        .where(AcmeOrder.lineage_id == lineage_id, AcmeOrder.sha256 == sha256)
        .order_by(AcmeOrder.id.desc())
    )
    return fetch_one(conn, OrderRecord, query)


def intend(tx: Tx, values: Mapping[str, Any]) -> OrderRecord:
    """A new order of a lineage, held by the caller.

    Raises :class:`Busy` where there is an open one.
    """
    token = holder()
    row = {
        "state": "intended",
        "created_at": tx.at,
        "holder": token,
        "lease_until": tx.at + LEASE,
        "key_name": f"order-{secrets.token_hex(8)}",
        **values,
    }
    try:
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
    return fetch_existing(conn, OrderRecord, select(AcmeOrder).where(AcmeOrder.id == order_id))


def take(tx: Tx, order_id: int) -> OrderRecord:
    """The lease of an open order, for a caller that holds the lock of its lineage on this machine:
    a holder of this machine is dead then, one of another machine keeps it until it runs out. Raises
    :class:`Busy`.
    """
    free = or_(
        AcmeOrder.lease_until.is_(None),
        AcmeOrder.lease_until <= tx.at,
        AcmeOrder.holder.startswith(f"{runs.vantage()} ", autoescape=True),
    )
    changed = tx.conn.execute(
        update(AcmeOrder)
        .where(AcmeOrder.id == order_id, AcmeOrder.ended_at.is_(None), free)
        .values(holder=holder(), lease_until=tx.at + LEASE)
    )
    if not changed.rowcount:
        raise Busy(
            "Another machine leads this order", "", "It is gone on with when that one has ended."
        )
    return by_id(tx.conn, order_id)


def holder() -> str:
    return f"{runs.vantage()} {secrets.token_hex(12)}"


def release(tx: Tx, row: OrderRecord) -> None:
    tx.conn.execute(
        update(AcmeOrder)
        .where(AcmeOrder.id == row.id, AcmeOrder.holder == row.holder)
        .values(holder=None, lease_until=None)
    )


def record(tx: Tx, row: OrderRecord, **values: Any) -> OrderRecord:
    """One step, and a longer lease.

    Raises :class:`Busy` if another process has the lease: then nothing is written.
    """
    changed = tx.conn.execute(
        update(AcmeOrder)
        .where(
            AcmeOrder.id == row.id,
            AcmeOrder.holder == row.holder,
            AcmeOrder.ended_at.is_(None),
        )
        .values(lease_until=tx.at + LEASE, **values)
    )
    if not changed.rowcount:
        raise Busy(
            "Another process took this order over",
            "this one was too slow",
            "It is gone on with there.",
        )
    return by_id(tx.conn, row.id)


def end(tx: Tx, row: OrderRecord, state: str, **values: Any) -> None:
    """``done``, ``failed`` or ``abandoned``."""
    record(tx, row, state=state, ended_at=tx.at, **values)
    tx.audit(state, "acme_order", row.id, {"state": state})


def urls(conn: Connection, account_id: int) -> set[str]:
    """Of all orders of an account: what else the CA lists is one that we asked for and did not hear
    of.
    """
    query = select(AcmeOrder.url).where(
        AcmeOrder.account_id == account_id, AcmeOrder.url.is_not(None)
    )
    return {str(u) for u in conn.scalars(query)}


def unfinished(conn: Connection) -> list[OpenOrder]:
    """Open orders, oldest first."""
    query = (
        select(AcmeOrder, StoredLineage.name.label("lineage"))
        .join(StoredLineage, StoredLineage.id == AcmeOrder.lineage_id)
        .where(AcmeOrder.ended_at.is_(None))
    )
    return fetch(conn, OpenOrder, query.order_by(AcmeOrder.id))


# -- the ledger


def count(
    tx: Tx,
    account_id: int,
    kind: str,
    rows: Sequence[tuple[str | None, str | None]],
    *,
    exempt: bool = False,
) -> None:
    """``kind``: order, certificate, failure.

    ``rows``: (registered domain or name, digest of the exact set).
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


def events(conn: Connection, account_ids: Sequence[int], since: int) -> list[RateEventRecord]:
    """What counted since then, oldest first."""
    query = (
        select(AcmeEvent)
        .where(AcmeEvent.account_id.in_(list(account_ids)), AcmeEvent.at > since)
        .order_by(AcmeEvent.at)
    )
    return fetch(conn, RateEventRecord, query)


def forget_events(tx: Tx, before: int) -> None:
    """Older than every window."""
    tx.conn.execute(delete(AcmeEvent).where(AcmeEvent.at < before))


# -- left alone for a while


def backoffs(conn: Connection, directory: str | None = None) -> list[BackoffRecord]:
    query = select(AcmeBackoff)
    if directory is not None:
        query = query.where(AcmeBackoff.directory == directory)
    return fetch(conn, BackoffRecord, query.order_by(AcmeBackoff.until))


def back_off(tx: Tx, directory: str, scope: str, failures: int, until: int, reason: str) -> None:
    values = {"failures": failures, "until": until, "reason": reason[:600], "at": tx.at}
    statement = upsert(tx.conn, AcmeBackoff).values(directory=directory, scope=scope, **values)
    tx.conn.execute(
        statement.on_conflict_do_update(index_elements=["directory", "scope"], set_=values)
    )


def forgive(tx: Tx, directory: str, scopes: Sequence[str]) -> None:
    """It worked again."""
    tx.conn.execute(
        delete(AcmeBackoff).where(
            AcmeBackoff.directory == directory, AcmeBackoff.scope.in_(list(scopes))
        )
    )
