"""Who can be written to: contacts with their ways, clients with their resellers.

Read once for a run of notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch_all
from inventory.models import Client, Contact, ContactMethod
from inventory.store.records import Row


def contacts(conn: Connection, client_ids: Iterable[int] | None = None) -> list[Row]:
    """Active contacts with ``ways``: [(way id, kind, value, state)] in order of preference.

    The provider's staff is always among them.
    """
    rows: list[dict[str, Any]] = []
    ways: dict[int, list[tuple[int, str, str, str]]] = {}
    for which in _scopes(client_ids):
        own = Contact.state == "active"
        query = select(Contact).where(own) if which is None else select(Contact).where(own, which)
        rows += [dict(row) for row in fetch_all(conn, query)]
        way_query = select(ContactMethod).join(Contact).where(own)
        way_query = way_query if which is None else way_query.where(which)
        for way in conn.execute(
            way_query.order_by(ContactMethod.contact_id, ContactMethod.position)
        ).mappings():
            ways.setdefault(way["contact_id"], []).append(
                (way["id"], way["kind"], way["value"], way["state"])
            )
    return sorted((r | {"ways": ways.get(r["id"], [])} for r in rows), key=lambda r: int(r["id"]))


def _scopes(client_ids: Iterable[int] | None) -> Iterator[Any]:
    """Conditions for the contacts of these clients, and the staff; None: all contacts."""
    if client_ids is None:
        yield None
        return
    yield Contact.client_id.is_(None)
    wanted = sorted(set(client_ids))
    for part in chunks(wanted):
        yield Contact.client_id.in_(part)


def contact_of(conn: Connection, contact_id: int) -> Row | None:
    """One active contact with its ways; None where it is not there any more."""
    row = (
        conn.execute(select(Contact).where(Contact.id == contact_id, Contact.state == "active"))
        .mappings()
        .first()
    )
    if row is None:
        return None
    query = (
        select(ContactMethod)
        .where(ContactMethod.contact_id == contact_id)
        .order_by(ContactMethod.position)
    )
    return dict(row) | {
        "ways": [
            (w["id"], w["kind"], w["value"], w["state"]) for w in conn.execute(query).mappings()
        ]
    }


def clients(conn: Connection, ids: Iterable[int] | None = None) -> dict[int, Row]:
    """id -> number, name, account_manager, reseller_id, of clients that are not retired: all, or
    these and their resellers.
    """
    columns = (
        Client.id,
        Client.number,
        Client.name,
        Client.account_manager,
        Client.reseller_id,
    )
    query = select(*columns).where(Client.state != "retired")
    if ids is None:
        return {r["id"]: dict(r) for r in conn.execute(query).mappings()}
    found: dict[int, Row] = {}
    asked: set[int] = set()
    wanted = sorted(set(ids))
    while wanted:
        asked |= set(wanted)
        for part in chunks(wanted):
            for row in conn.execute(query.where(Client.id.in_(part))).mappings():
                found[row["id"]] = dict(row)
        # A retired reseller is never found, so each id is asked for once.
        wanted = sorted(
            {r["reseller_id"] for r in found.values() if r["reseller_id"] is not None} - asked
        )
    return found


def mark_way(tx: Tx, contact_id: int, value: str, state: str) -> bool:
    """Marks an address as bad, or as good again."""
    done = tx.conn.execute(
        update(ContactMethod)
        .where(
            ContactMethod.contact_id == contact_id,
            ContactMethod.value == value,
            ContactMethod.state != state,
        )
        .values(state=state)
    )
    if done.rowcount:
        tx.audit("way", "contact", contact_id, {"state": state})
    return bool(done.rowcount)
