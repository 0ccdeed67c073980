"""Who can be notified: contacts with their contact methods, clients with their resellers.

A run of notices reads them once, so that all its messages are based on one state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Row, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, fetch_all
from inventory.models import Client, Contact, ContactMethod
from inventory.records import ClientSummary, ContactMethodRecord, ReachableContact


def contacts(conn: Connection, client_ids: Iterable[int] | None = None) -> list[ReachableContact]:
    """Return active contacts with their contact methods in order of preference.

    Staff are always included, since each run may have something for them.
    """
    rows: list[dict[str, Any]] = []
    methods: dict[int, list[ContactMethodRecord]] = {}
    for which in _scopes(client_ids):
        own = Contact.state == "active"
        query = select(Contact).where(own) if which is None else select(Contact).where(own, which)
        rows += fetch_all(conn, query)
        of_contacts = select(ContactMethod).join(Contact).where(own)
        of_contacts = of_contacts if which is None else of_contacts.where(which)
        for row in conn.execute(
            of_contacts.order_by(ContactMethod.contact_id, ContactMethod.position)
        ):
            methods.setdefault(row.contact_id, []).append(_method(row))
    found = [ReachableContact(**r, methods=tuple(methods.get(r["id"], ()))) for r in rows]
    # Chunks come in the order of clients; the result must not depend on them.
    return sorted(found, key=lambda r: r.id)


def _method(row: Row[Any]) -> ContactMethodRecord:
    return ContactMethodRecord(id=row.id, kind=row.kind, value=row.value, state=row.state)


def _scopes(client_ids: Iterable[int] | None) -> Iterator[Any]:
    """Yield conditions for the contacts of these clients, and for the staff; None: all contacts."""
    if client_ids is None:
        yield None
        return
    yield Contact.client_id.is_(None)
    wanted = sorted(set(client_ids))
    for part in chunks(wanted):
        yield Contact.client_id.in_(part)


def contact_of(conn: Connection, contact_id: int) -> ReachableContact | None:
    """Return one active contact with its contact methods; None if there is none any more."""
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
    methods = tuple(_method(m) for m in conn.execute(query))
    return ReachableContact(**row, methods=methods)


def clients(conn: Connection, ids: Iterable[int] | None = None) -> dict[int, ClientSummary]:
    """Return id -> client, without retired ones: all clients, or these and their resellers."""
    columns = (
        Client.id,
        Client.number,
        Client.name,
        Client.account_manager,
        Client.reseller_id,
    )
    query = select(*columns).where(Client.state != "retired")
    if ids is None:
        return {r.id: r for r in fetch(conn, ClientSummary, query)}
    found: dict[int, ClientSummary] = {}
    asked: set[int] = set()
    wanted = sorted(set(ids))
    # A reseller may have a reseller. Each round asks for the next level.
    while wanted:
        asked |= set(wanted)
        for part in chunks(wanted):
            for record in fetch(conn, ClientSummary, query.where(Client.id.in_(part))):
                found[record.id] = record
        # A retired reseller is not found, and must not be asked for again and again.
        wanted = sorted(
            {r.reseller_id for r in found.values() if r.reseller_id is not None} - asked
        )
    return found


def mark_method(tx: Tx, contact_id: int, value: str, state: str) -> bool:
    """Mark an address as bad or good, and return whether that was a change."""
    done = tx.conn.execute(
        update(ContactMethod)
        .where(
            ContactMethod.contact_id == contact_id,
            ContactMethod.value == value,
            # Only a change is audited: each bounce of a dead address would otherwise be an entry.
            ContactMethod.state != state,
        )
        .values(state=state)
    )
    if done.rowcount:
        tx.audit("way", "contact", contact_id, {"state": state})
    return bool(done.rowcount)
