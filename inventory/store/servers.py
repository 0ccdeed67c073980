"""Servers and balancers of the provider: their addresses show whether a name points to us."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from inventory.db.database import Tx
from inventory.db.sql import fetch, fetch_existing
from inventory.errors import UsageError
from inventory.models import Domain, Server
from inventory.names import as_ip
from inventory.records import ListedServer, ServerRecord
from inventory.store import editing
from inventory.targets import parse_backend
from inventory.text import printable

KINDS = ("web", "mail", "balancer", "panel", "cdn", "other")


def addresses(texts: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return addresses as they are stored: in their shortest form, each once."""
    found = []
    for text in texts:
        for part in text.replace(",", " ").split():
            address = as_ip(part)
            if address is None:
                raise UsageError(
                    f"'{printable(part, 60)}' is not an IP address",
                    "",
                    "Write 192.0.2.1 or 2001:db8::1.",
                )
            # The shortest form, since addresses are compared as texts.
            found.append(str(address))
    return tuple(dict.fromkeys(found))


def find(conn: Connection, key: str) -> ServerRecord:
    """Return a server by its name, or raise :class:`NotFound`."""
    return editing.one(
        conn,
        ServerRecord,
        select(Server).where(Server.name == key),
        "server",
        key,
        "certmgr server list",
    )


def by_id(conn: Connection, server_id: int) -> ServerRecord:
    """Return the server with this id, which exists."""
    return fetch_existing(conn, ServerRecord, select(Server).where(Server.id == server_id))


def _values(given: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = dict(editing.parties(given))
    if "name" in given:
        values["name"] = editing.required(given["name"], "server name")
    if given.get("kind"):
        values["kind"] = editing.choice(given["kind"], "kind of server", KINDS)
    if "keeper" in given:
        values["keeper"] = editing.clean(given["keeper"], "keeper")
    if "note" in given:
        values["note"] = editing.clean(given["note"], "note", editing.MAX_TEXT)
    # Kept as they are unless given: an empty list removes them, so that no address counts as ours.
    if "addresses" in given:
        values["addresses"] = addresses(given["addresses"])
    if "backends" in given:
        # host[:port], checked as a target and kept as typed
        backends = [parse_backend(b).key for b in given["backends"]]
        values["backends"] = tuple(dict.fromkeys(backends))
    return values


def add(tx: Tx, given: dict[str, Any], tags: tuple[str, ...] = ()) -> int:
    """Add a server, and return its id.

    Raises:
        Conflict: A server has that name.
        UsageError: A value is invalid.
    """
    values = {"kind": "web"} | _values(given)
    return editing.add(tx, Server, values, tags, f"A server '{values['name']}' exists already")


def edit(tx: Tx, key: str, given: dict[str, Any]) -> dict[str, list[Any]]:
    """Change a server, and return column -> [old, new] of what changed."""
    return editing.edit(
        tx, Server, find(tx.conn, key), _values(given), "Another server has that name"
    )


def retire(tx: Tx, key: str) -> None:
    """Retire a server, or raise :class:`UsageError` if an active domain is on it."""
    row = find(tx.conn, key)
    used = tx.conn.execute(
        select(func.count())
        .select_from(Domain)
        .where(Domain.server_id == row.id, Domain.state != "retired")
    ).scalar()
    # Their parties and addresses are inherited from the server, and would change silently.
    if used:
        raise UsageError(
            f"{used} domains are on the server '{key}'",
            "",
            "Move them first: certmgr domain edit NAME --server OTHER.",
        )
    editing.retire(tx, Server, [row.id])


def listing(conn: Connection, *, retired: bool = False) -> list[ListedServer]:
    """Return servers with the number of their active domains, by name."""
    count = (
        select(Domain.server_id, func.count().label("domains"))
        .where(Domain.state != "retired")
        .group_by(Domain.server_id)
    ).subquery()
    query = select(Server, func.coalesce(count.c.domains, 0).label("domains")).outerjoin(
        count, count.c.server_id == Server.id
    )
    if not retired:
        query = query.where(Server.state != "retired")
    return fetch(conn, ListedServer, query.order_by(Server.name))


def all_addresses(conn: Connection) -> frozenset[str]:
    """Return the addresses of all servers that are not retired."""
    # A retired server may have been handed to another company with its addresses.
    rows = conn.scalars(select(Server.addresses).where(Server.state != "retired"))
    return frozenset(address for one in rows for address in one)
