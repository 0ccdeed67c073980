"""Who can be written to: contacts with their ways, clients with their resellers.

Read once for a run of notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, select, update

from inventory.db.database import Tx
from inventory.models.tables import client, contact, contact_way
from inventory.store.records import Row


def contacts(conn: Connection, client_ids: Iterable[int] | None = None) -> list[Row]:
    """Active contacts with ``ways``: [(way id, kind, value, state)] in order of preference.

    The provider's staff is always among them.
    """
    rows: list[dict[str, Any]] = []
    ways: dict[int, list[tuple[int, str, str, str]]] = {}
    for which in _scopes(client_ids):
        own = contact.c.state == "active"
        query = select(contact).where(own) if which is None else select(contact).where(own, which)
        rows += [dict(r) for r in conn.execute(query).mappings()]
        way_query = select(contact_way).join(contact).where(own)
        way_query = way_query if which is None else way_query.where(which)
        for way in conn.execute(
            way_query.order_by(contact_way.c.contact_id, contact_way.c.position)
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
    yield contact.c.client_id.is_(None)
    wanted = sorted(set(client_ids))
    for start in range(0, len(wanted), 500):
        yield contact.c.client_id.in_(wanted[start : start + 500])


def contact_of(conn: Connection, contact_id: int) -> Row | None:
    """One active contact with its ways; None where it is not there any more."""
    row = (
        conn.execute(select(contact).where(contact.c.id == contact_id, contact.c.state == "active"))
        .mappings()
        .first()
    )
    if row is None:
        return None
    query = (
        select(contact_way)
        .where(contact_way.c.contact_id == contact_id)
        .order_by(contact_way.c.position)
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
        client.c.id,
        client.c.number,
        client.c.name,
        client.c.account_manager,
        client.c.reseller_id,
    )
    query = select(*columns).where(client.c.state != "retired")
    if ids is None:
        return {r["id"]: dict(r) for r in conn.execute(query).mappings()}
    found: dict[int, Row] = {}
    asked: set[int] = set()
    wanted = sorted(set(ids))
    while wanted:
        asked |= set(wanted)
        for start in range(0, len(wanted), 500):
            for row in conn.execute(
                query.where(client.c.id.in_(wanted[start : start + 500]))
            ).mappings():
                found[row["id"]] = dict(row)
        # A retired reseller is never found, so each id is asked for once.
        wanted = sorted(
            {r["reseller_id"] for r in found.values() if r["reseller_id"] is not None} - asked
        )
    return found


def mark_way(tx: Tx, contact_id: int, value: str, state: str) -> bool:
    """Marks an address as bad, or as good again."""
    done = tx.conn.execute(
        update(contact_way)
        .where(
            contact_way.c.contact_id == contact_id,
            contact_way.c.value == value,
            contact_way.c.state != state,
        )
        .values(state=state)
    )
    if done.rowcount:
        tx.audit("way", "contact", contact_id, {"state": state})
    return bool(done.rowcount)
