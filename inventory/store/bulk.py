"""Whole tables of records, for imports and exports.

The kinds are the tables client, server, contact, domain and endpoint. Imports check their rows, and
record them in the audit log (inventory/importers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, Text, insert, select, type_coerce, update

from inventory.db.database import Tx
from inventory.db.sql import copy_rows, delete_in, fetch, fetch_all, new_ids
from inventory.models import (
    Client,
    Contact,
    ContactMethod,
    Domain,
    Endpoint,
    Server,
    StoredZone,
    Tag,
    ZoneScope,
)
from inventory.models.base import Base, Words
from inventory.records import StoredZoneScope, ZoneRecord
from inventory.vocabulary import ZoneScopeKind

_TABLES: dict[str, Table] = {
    m.__tablename__: Base.metadata.tables[m.__tablename__]
    for m in (Client, Server, Contact, Domain, Endpoint)
}


def columns(kind: str) -> list[str]:
    """Return the columns of a kind, without the id."""
    return [c.name for c in _TABLES[kind].c if c.name != "id"]


def rows(conn: Connection, kind: str) -> list[dict[str, Any]]:
    """Return all rows of a kind by column, in the order of their ids.

    Lists are texts with spaces between their words, as in files.
    """
    table = _TABLES[kind]
    as_text = [
        # Plans compare values of files with values of rows, so both need the same form.
        type_coerce(c, Text).label(c.name) if isinstance(c.type, Words) else c
        for c in table.c
    ]
    return fetch_all(conn, select(*as_text).order_by(table.c.id))


def insert_rows(tx: Tx, kind: str, new: Sequence[Mapping[str, Any]]) -> list[int]:
    """Insert rows with all columns but the id. Return their ids in the same order."""
    table = _TABLES[kind]
    if tx.conn.dialect.name == "postgresql":
        # A list of 100,000 domains would take twice the time of SQLite with INSERT.
        ids = new_ids(tx.conn, table, len(new))
        copy_rows(tx.conn, table, [{"id": i, **row} for i, row in zip(ids, new, strict=True)])
        return ids
    # The rows of one statement may be inserted in any order.
    statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
    return [int(i) for i in tx.conn.execute(statement, [dict(r) for r in new]).scalars()]


def update_row(tx: Tx, kind: str, row_id: int, values: Mapping[str, Any]) -> None:
    """Change columns of one row."""
    table = _TABLES[kind]
    tx.conn.execute(update(table).where(table.c.id == row_id).values(dict(values)))


def add_tags(tx: Tx, kind: str, tags: Sequence[tuple[int, str]]) -> None:
    """Add tags that the rows do not have: (row id, tag)."""
    if tags:
        tx.conn.execute(
            insert(Tag), [{"kind": kind, "row_id": row_id, "name": name} for row_id, name in tags]
        )


def contact_methods(conn: Connection) -> dict[int, list[tuple[str, str, str]]]:
    """Return contact id -> (kind, value, state) of its methods, in order of preference."""
    query = select(
        ContactMethod.contact_id, ContactMethod.kind, ContactMethod.value, ContactMethod.state
    ).order_by(ContactMethod.contact_id, ContactMethod.position)
    found: dict[int, list[tuple[str, str, str]]] = {}
    for contact_id, kind, value, state in conn.execute(query):
        found.setdefault(contact_id, []).append((kind, value, state))
    return found


def replace_contact_methods(tx: Tx, methods: Mapping[int, Sequence[tuple[str, str, str]]]) -> None:
    """Replace all methods of contacts: contact id -> (kind, value, state) in order of preference.

    The position is part of a row, so all methods of a contact are written again.
    """
    delete_in(tx.conn, ContactMethod, ContactMethod.contact_id, list(methods))
    new = [
        {"contact_id": contact_id, "position": n, "kind": k, "value": v, "state": s}
        for contact_id, rows_of_one in methods.items()
        for n, (k, v, s) in enumerate(rows_of_one)
    ]
    if new:
        tx.conn.execute(insert(ContactMethod), new)


def zones(conn: Connection) -> list[ZoneRecord]:
    """Return all zones, retired ones included, in the order in which they were added."""
    return fetch(conn, ZoneRecord, select(StoredZone).order_by(StoredZone.id))


def zone_scopes(conn: Connection) -> list[StoredZoneScope]:
    """Return all assignments of zones, in the order in which they were made."""
    query = select(ZoneScope.zone, ZoneScope.kind, ZoneScope.row_id, ZoneScope.value)
    return fetch(conn, StoredZoneScope, query.order_by(ZoneScope.id))


def insert_zone(tx: Tx, values: Mapping[str, Any]) -> int:
    """Insert a zone with all columns but the id. Return its id."""
    added = tx.conn.execute(insert(StoredZone).values(values).returning(StoredZone.id))
    return int(added.scalar_one())


def update_zone(tx: Tx, zone_id: int, values: Mapping[str, Any]) -> None:
    """Change columns of a zone."""
    tx.conn.execute(update(StoredZone).where(StoredZone.id == zone_id).values(values))


def insert_zone_scope(tx: Tx, zone: str, kind: ZoneScopeKind, row_id: int, value: str) -> None:
    """Let the endpoints of a scope be visited from a zone."""
    row = {"zone": zone, "kind": kind, "row_id": row_id, "value": value, "created_at": tx.at}
    tx.conn.execute(insert(ZoneScope).values(row))
