"""Clients: the border that no data crosses."""

from __future__ import annotations

import shlex
from typing import Any

from sqlalchemy import Connection, func, or_, select

from inventory.db.database import Tx
from inventory.db.sql import fetch_existing
from inventory.errors import Conflict, UsageError
from inventory.models import Client, Contact, Domain, Endpoint, Tag
from inventory.records import ClientRecord, ListedClient
from inventory.store import editing


def find(conn: Connection, key: str) -> ClientRecord:
    """Return the client with this customer number, or with this name.

    Raises:
        NotFound: There is no such client.
    """
    query = (
        select(Client)
        .where(or_(Client.number == key, Client.name == key))
        # The name of one client may be the number of another; the number decides.
        .order_by((Client.number == key).desc())
    )
    return editing.one(conn, ClientRecord, query, "client", key, "certmgr client list")


def by_id(conn: Connection, client_id: int) -> ClientRecord:
    """Return the client with this id, which exists."""
    return fetch_existing(conn, ClientRecord, select(Client).where(Client.id == client_id))


def _values(conn: Connection, given: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = dict(editing.parties(given))
    if "number" in given:
        values["number"] = editing.required(given["number"], "customer number", 60)
    if "name" in given:
        values["name"] = editing.required(given["name"], "client name")
    for key, what, limit in (
        ("account_manager", "account manager", 200),
        ("note", "note", editing.MAX_TEXT),
    ):
        if key in given:
            values[key] = editing.clean(given[key], what, limit)
    # An empty text removes the reseller; a missing one leaves it.
    if given.get("reseller"):
        values["reseller_id"] = find(conn, given["reseller"]).id
    elif "reseller" in given:
        values["reseller_id"] = None
    return values


def add(tx: Tx, given: dict[str, Any], tags: tuple[str, ...] = ()) -> int:
    """Add a client, and return its id.

    Raises:
        Conflict: Another client has the number or the name.
        UsageError: A value is invalid.
    """
    values = _values(tx.conn, given)
    # Found before the insert, so that the error names the other client.
    for column in ("number", "name"):
        other = (
            tx.conn.execute(select(Client).where(Client.__table__.c[column] == values[column]))
            .mappings()
            .first()
        )
        if other:
            raise Conflict(
                f"A client with the {column} '{values[column]}' exists already",
                f"it is {other['number']} {other['name']}",
                f"See certmgr client show {shlex.quote(other['number'])}.",
            )
    return editing.add(tx, Client, values, tags)


def edit(tx: Tx, key: str, given: dict[str, Any]) -> dict[str, list[Any]]:
    """Change a client, and return column -> [old, new] of what changed.

    Raises:
        NotFound: There is no such client.
        UsageError: A value is invalid, or the resellers would form a circle.
    """
    before = find(tx.conn, key)
    values = _values(tx.conn, given)
    reseller = values.get("reseller_id")
    passed = {before.id}
    # Notices of a client go to its reseller, so a circle would send them to the wrong clients.
    while reseller is not None:
        if reseller in passed:
            raise UsageError(
                "A client cannot be its own reseller", "the chain of resellers would be a circle"
            )
        passed.add(reseller)
        reseller = tx.conn.execute(select(Client.reseller_id).where(Client.id == reseller)).scalar()
    return editing.edit(tx, Client, before, values, "Another client has that number or name")


def retire(tx: Tx, key: str) -> int:
    """Retire a client with its domains, endpoints and contacts; return the number of domains."""
    row = find(tx.conn, key)
    domains = list(
        tx.conn.scalars(
            select(Domain.id).where(Domain.client_id == row.id, Domain.state != "retired")
        )
    )
    endpoints = list(
        tx.conn.scalars(
            select(Endpoint.id)
            .join(Domain)
            .where(Domain.client_id == row.id, Endpoint.state != "retired")
        )
    )
    contacts = list(
        tx.conn.scalars(
            select(Contact.id).where(Contact.client_id == row.id, Contact.state != "retired")
        )
    )
    # An active domain of a retired client would keep its name from the next owner.
    editing.retire(tx, Endpoint, endpoints)
    editing.retire(tx, Domain, domains)
    editing.retire(tx, Contact, contacts)
    editing.retire(tx, Client, [row.id])
    return len(domains)


def listing(
    conn: Connection, *, retired: bool = False, tag: str | None = None
) -> list[ListedClient]:
    """Return the clients, each with its tags and the number of its domains."""
    reseller = Client.__table__.alias("reseller")
    count = (
        select(Domain.client_id, func.count().label("domains"))
        .where(Domain.state != "retired")
        .group_by(Domain.client_id)
    ).subquery()
    query = (
        select(
            Client,
            reseller.c.number.label("reseller"),
            func.coalesce(count.c.domains, 0).label("domains"),
        )
        .outerjoin(reseller, reseller.c.id == Client.reseller_id)
        .outerjoin(count, count.c.client_id == Client.id)
        .order_by(Client.number)
    )
    # Retired clients are kept for the record.
    if not retired:
        query = query.where(Client.state != "retired")
    tags = editing.tags_of(conn, "client")
    rows = [ListedClient(**r, tags=tags.get(r["id"], ())) for r in conn.execute(query).mappings()]
    # Tags are read once for all rows, so the filter costs no further query.
    return [r for r in rows if tag is None or tag in r.tags]


def with_domains(conn: Connection) -> list[str]:
    """Return the numbers of the active clients that have a domain, in ascending order."""
    query = (
        select(Client.number)
        .where(
            Client.state != "retired",
            Client.id.in_(select(Domain.client_id).where(Domain.state != "retired")),
        )
        .order_by(Client.number)
    )
    return list(conn.scalars(query))


def count_with_domains(conn: Connection) -> int:
    """Return the number of active clients that have a domain."""
    query = select(func.count(func.distinct(Domain.client_id))).join(
        Client, Client.id == Domain.client_id
    )
    return int(
        conn.execute(query.where(Domain.state != "retired", Client.state != "retired")).scalar()
        or 0
    )


def tags(conn: Connection, client_id: int | None = None) -> dict[int, frozenset[str]]:
    """Return client id -> its tags."""
    query = select(Tag.row_id, Tag.name).where(Tag.kind == "client")
    if client_id is not None:
        query = query.where(Tag.row_id == client_id)
    found: dict[int, frozenset[str]] = {}
    for row_id, name in conn.execute(query):
        found[row_id] = found.get(row_id, frozenset()) | {name}
    return found


def ids_with_tag(conn: Connection, name: str) -> set[int]:
    """Ids of clients that have the tag, or one of whose domains has it."""
    mine = select(Tag.row_id).where(Tag.kind == "client", Tag.name == name)
    tagged = select(Tag.row_id).where(Tag.kind == "domain", Tag.name == name)
    # An announcement to a tag reaches a client also if only one of its domains has the tag.
    return set(conn.scalars(mine)) | set(
        conn.scalars(
            select(Domain.client_id).where(Domain.id.in_(tagged), Domain.state != "retired")
        )
    )
