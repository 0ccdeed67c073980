"""ACME accounts: at which CA, by which key file, with what agreed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select

from inventory.db.database import Tx
from inventory.errors import Conflict
from inventory.models.acme_tables import acme_account, acme_order, lineage
from inventory.store import records
from inventory.store.records import Row


def find(conn: Connection, name: str) -> Row:
    """Raises :class:`NotFound`."""
    return records.one(
        conn,
        select(acme_account).where(acme_account.c.name == name.strip()),
        "ACME account",
        name,
        "certmgr account list",
    )


def by_id(conn: Connection, account_id: int) -> Row:
    return dict(
        conn.execute(select(acme_account).where(acme_account.c.id == account_id)).mappings().one()
    )


def listing(conn: Connection, *, retired: bool = False) -> list[Row]:
    """With ``lineages``: how many certificates are renewed through it."""
    counted = (
        select(lineage.c.account_id, func.count().label("n"))
        .where(lineage.c.state != "retired")
        .group_by(lineage.c.account_id)
        .subquery()
    )
    query = select(acme_account, func.coalesce(counted.c.n, 0).label("lineages")).outerjoin(
        counted, counted.c.account_id == acme_account.c.id
    )
    if not retired:
        query = query.where(acme_account.c.state != "retired")
    return [dict(r) for r in conn.execute(query.order_by(acme_account.c.name)).mappings()]


def add(tx: Tx, values: Mapping[str, Any]) -> int:
    """``name``, ``ca``, ``directory``, ``key_reference`` and whatever else is known.

    Raises :class:`Conflict`.
    """
    if (
        tx.conn.execute(
            select(acme_account.c.id).where(acme_account.c.name == values["name"])
        ).scalar()
        is not None
    ):
        raise Conflict(
            f"There is an ACME account '{values['name']}' already",
            "",
            "certmgr account show says what it is; give --name for another one.",
        )
    made = tx.conn.execute(
        insert(acme_account).values(state="pending", created_at=tx.at, **values)
    ).inserted_primary_key
    assert made is not None
    tx.audit("add", "acme_account", made[0], {})
    return int(made[0])


def edit(tx: Tx, account_id: int, **values: Any) -> None:
    records.edit(tx, acme_account, by_id(tx.conn, account_id), values)


def fallback(conn: Connection, row: Row) -> Row | None:
    """The account that stands in while this one's CA fails."""
    if row["fallback_id"] is None:
        return None
    found = by_id(conn, row["fallback_id"])
    return found if found["state"] == "active" else None


def open_orders(conn: Connection, account_id: int) -> int:
    return int(
        conn.execute(
            select(func.count())
            .select_from(acme_order)
            .where(acme_order.c.account_id == account_id, acme_order.c.ended_at.is_(None))
        ).scalar()
        or 0
    )
