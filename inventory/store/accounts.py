"""ACME accounts: at which CA, by which key file, with what agreed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from sqlalchemy import Connection, func, select

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import fetch, fetch_existing, insert_id
from inventory.errors import Conflict
from inventory.models import AcmeAccount, AcmeOrder, StoredLineage
from inventory.records import AccountRecord, ListedAccount
from inventory.store import editing


def find(conn: Connection, name: str) -> AccountRecord:
    """Return the account with a name.

    Raises:
        NotFound: There is no such account.
    """
    return editing.one(
        conn,
        AccountRecord,
        select(AcmeAccount).where(AcmeAccount.name == name.strip()),
        "ACME account",
        name,
        "certmgr account list",
    )


def by_id(conn: Connection, account_id: int) -> AccountRecord:
    """Return an account that exists."""
    return fetch_existing(
        conn, AccountRecord, select(AcmeAccount).where(AcmeAccount.id == account_id)
    )


def listing(conn: Connection, *, retired: bool = False) -> list[ListedAccount]:
    """Return the accounts, each with the number of lineages that it renews."""
    counted = (
        select(StoredLineage.account_id, func.count().label("n"))
        # A retired lineage renews nothing, so that its account may be retired too.
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
    """Add an account that the CA has not confirmed yet, and return its id.

    Args:
        tx: The transaction.
        values: ``name``, ``ca``, ``directory``, ``key_reference``, and other columns that are
            known.

    Raises:
        Conflict: The name is in use.
    """
    # The unique index would refuse it as well, but could not state what to do about it.
    if (
        tx.conn.execute(select(AcmeAccount.id).where(AcmeAccount.name == values["name"])).scalar()
        is not None
    ):
        raise Conflict(
            f"There is an ACME account '{values['name']}' already",
            "",
            "certmgr account show prints it; give --name for another one.",
        )
    # Pending is committed before the CA is asked: if the process dies after the CA created the
    # account, the next run finds it again by its key (RFC 8555 7.3.1).
    made = insert_id(tx.conn, AcmeAccount, dict(state="pending", created_at=tx.at, **values))
    tx.audit("add", "acme_account", made, {})
    return made


class AccountColumns(TypedDict, total=False):
    """The columns of an account that may change. Times are in epoch seconds."""

    name: str
    ca: str
    directory: str
    url: str | None
    key_reference: str
    contacts: tuple[str, ...]
    eab_kid: str | None
    terms: str | None
    agreed_at: Timestamp | None
    agreed_by: str | None
    fallback_id: int | None
    state: str
    retired_at: Timestamp | None


def edit(tx: Tx, account_id: int, **values: Unpack[AccountColumns]) -> None:
    """Change an account. It is audited."""
    editing.edit(tx, AcmeAccount, by_id(tx.conn, account_id), dict(values))


def fallback(conn: Connection, row: AccountRecord) -> AccountRecord | None:
    """Return the account that replaces this one while its CA fails, or None."""
    if row.fallback_id is None:
        return None
    found = by_id(conn, row.fallback_id)
    # One that is pending, lost or retired would only fail in another way.
    return found if found.state == "active" else None


def open_orders(conn: Connection, account_id: int) -> int:
    """Return how many orders of an account have not ended."""
    return int(
        conn.execute(
            select(func.count())
            .select_from(AcmeOrder)
            .where(AcmeOrder.account_id == account_id, AcmeOrder.ended_at.is_(None))
        ).scalar()
        or 0
    )
