"""ACME accounts: at which CA, by which key file, with what agreed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from inventory.db.database import Tx
from inventory.db.sql import fetch, fetch_existing, insert_id
from inventory.errors import Conflict
from inventory.models import AcmeAccount, AcmeOrder, StoredLineage
from inventory.records import AccountRecord, ListedAccount
from inventory.store import editing


def find(conn: Connection, name: str) -> AccountRecord:
    """Raises :class:`NotFound`."""
    return editing.one(
        conn,
        AccountRecord,
        select(AcmeAccount).where(AcmeAccount.name == name.strip()),
        "ACME account",
        name,
        "certmgr account list",
    )


def by_id(conn: Connection, account_id: int) -> AccountRecord:
    return fetch_existing(
        conn, AccountRecord, select(AcmeAccount).where(AcmeAccount.id == account_id)
    )


def listing(conn: Connection, *, retired: bool = False) -> list[ListedAccount]:
    """With ``lineages``: how many certificates are renewed through it."""
    counted = (
        select(StoredLineage.account_id, func.count().label("n"))
        .where(StoredLineage.state != "retired")
        .group_by(StoredLineage.account_id)
        .subquery()
    )
    query = select(AcmeAccount, func.coalesce(counted.c.n, 0).label("lineages")).outerjoin(
        counted, counted.c.account_id == AcmeAccount.id
    )
    if not retired:
        query = query.where(AcmeAccount.state != "retired")
    return fetch(conn, ListedAccount, query.order_by(AcmeAccount.name))


def add(tx: Tx, values: Mapping[str, Any]) -> int:
    """``name``, ``ca``, ``directory``, ``key_reference`` and whatever else is known.

    Raises :class:`Conflict`.
    """
    if (
        tx.conn.execute(select(AcmeAccount.id).where(AcmeAccount.name == values["name"])).scalar()
        is not None
    ):
        raise Conflict(
            f"There is an ACME account '{values['name']}' already",
            "",
            "certmgr account show prints it; give --name for another one.",
        )
    made = insert_id(tx.conn, AcmeAccount, dict(state="pending", created_at=tx.at, **values))
    tx.audit("add", "acme_account", made, {})
    return made


def edit(tx: Tx, account_id: int, **values: Any) -> None:
    editing.edit(tx, AcmeAccount, by_id(tx.conn, account_id), values)


def fallback(conn: Connection, row: AccountRecord) -> AccountRecord | None:
    """The account that stands in while this one's CA fails."""
    if row.fallback_id is None:
        return None
    found = by_id(conn, row.fallback_id)
    return found if found.state == "active" else None


def open_orders(conn: Connection, account_id: int) -> int:
    return int(
        conn.execute(
            select(func.count())
            .select_from(AcmeOrder)
            .where(AcmeOrder.account_id == account_id, AcmeOrder.ended_at.is_(None))
        ).scalar()
        or 0
    )
