"""Clients: the border that no data crosses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, or_, select

from inventory.db.database import Tx
from inventory.errors import Conflict, UsageError
from inventory.models.tables import client, contact, domain, endpoint
from inventory.store import records
from inventory.store.records import Row


def find(conn: Connection, key: str) -> Row:
    """The client of this customer number, or of this name. Raises NotFound."""
    query = (
        select(client)
        .where(or_(client.c.number == key, client.c.name == key))
        .order_by((client.c.number == key).desc())
    )
    return records.one(conn, query, "client", key, "certmgr client list")


def _values(conn: Connection, given: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = dict(records.parties(given))
    if "number" in given:
        values["number"] = records.required(given["number"], "customer number", 60)
    if "name" in given:
        values["name"] = records.required(given["name"], "client name")
    for key, what, limit in (
        ("account_manager", "account manager", 200),
        ("note", "note", records.MAX_TEXT),
    ):
        if key in given:
            values[key] = records.clean(given[key], what, limit)
    if given.get("reseller"):
        values["reseller_id"] = find(conn, given["reseller"])["id"]
    elif "reseller" in given:
        values["reseller_id"] = None
    return values


def add(tx: Tx, given: dict[str, Any], tags: tuple[str, ...] = ()) -> int:
    values = _values(tx.conn, given)
    for column in ("number", "name"):
        other = (
            tx.conn.execute(select(client).where(client.c[column] == values[column]))
            .mappings()
            .first()
        )
        if other:
            raise Conflict(
                f"A client with the {column} '{values[column]}' exists already",
                f"it is {other['number']} {other['name']}",
                f"See certmgr client show {other['number']}.",
            )
    return records.add(tx, client, values, tags)


def edit(tx: Tx, key: str, given: dict[str, Any]) -> dict[str, list[Any]]:
    before = find(tx.conn, key)
    values = _values(tx.conn, given)
    reseller = values.get("reseller_id")
    passed = {before["id"]}
    while reseller is not None:
        if reseller in passed:
            raise UsageError(
                "A client cannot be its own reseller", "the chain of resellers would be a circle"
            )
        passed.add(reseller)
        reseller = tx.conn.execute(
            select(client.c.reseller_id).where(client.c.id == reseller)
        ).scalar()
    return records.edit(tx, client, before, values, "Another client has that number or name")


def retire(tx: Tx, key: str) -> int:
    """Retires the client with its domains, endpoints and contacts. Returns how many domains."""
    row = find(tx.conn, key)
    domains = list(
        tx.conn.scalars(
            select(domain.c.id).where(domain.c.client_id == row["id"], domain.c.state != "retired")
        )
    )
    endpoints = list(
        tx.conn.scalars(
            select(endpoint.c.id)
            .join(domain)
            .where(domain.c.client_id == row["id"], endpoint.c.state != "retired")
        )
    )
    contacts = list(
        tx.conn.scalars(
            select(contact.c.id).where(
                contact.c.client_id == row["id"], contact.c.state != "retired"
            )
        )
    )
    records.retire(tx, endpoint, endpoints)
    records.retire(tx, domain, domains)
    records.retire(tx, contact, contacts)
    records.retire(tx, client, [row["id"]])
    return len(domains)


def listing(conn: Connection, *, retired: bool = False, tag: str | None = None) -> list[Row]:
    """Every client with the count of its domains and its tags."""
    reseller = client.alias("reseller")
    count = (
        select(domain.c.client_id, func.count().label("domains"))
        .where(domain.c.state != "retired")
        .group_by(domain.c.client_id)
    ).subquery()
    query = (
        select(
            client,
            reseller.c.number.label("reseller"),
            func.coalesce(count.c.domains, 0).label("domains"),
        )
        .outerjoin(reseller, reseller.c.id == client.c.reseller_id)
        .outerjoin(count, count.c.client_id == client.c.id)
        .order_by(client.c.number)
    )
    if not retired:
        query = query.where(client.c.state != "retired")
    tags = records.tags_of(conn, "client")
    rows = [dict(r) | {"tags": list(tags.get(r["id"], ()))} for r in conn.execute(query).mappings()]
    return [r for r in rows if tag is None or tag in r["tags"]]


def with_domains(conn: Connection) -> list[str]:
    """The numbers of the active clients that have a domain, in their order."""
    query = (
        select(client.c.number)
        .where(
            client.c.state != "retired",
            client.c.id.in_(select(domain.c.client_id).where(domain.c.state != "retired")),
        )
        .order_by(client.c.number)
    )
    return list(conn.scalars(query))
