"""The provider's dated rules.

Each has a date, a rule, a scope, a text for the client, and the days that each step takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select

from inventory.db.database import Tx, to_epoch
from inventory.db.sql import fetch_all
from inventory.errors import UsageError
from inventory.models import Client, DeadlineScope, StoredDeadline
from inventory.records import DeadlineRecord, ListedDeadline
from inventory.store import clients, editing
from inventory.vocabulary import DeadlineScopeKind

LEADS = ("purchase_days", "validation_days", "installation_days")
# Two years: a longer step is a typing error.
MAX_DAYS = 730


def find(conn: Connection, name: str) -> DeadlineRecord:
    """Return a deadline of the provider, or raise :class:`NotFound`."""
    return editing.one(
        conn,
        DeadlineRecord,
        select(StoredDeadline).where(StoredDeadline.name == name),
        "deadline of your own",
        name,
        "certmgr deadline list --own",
    )


def _values(given: Mapping[str, Any], rules: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if given.get("at") is not None:
        values["at"] = to_epoch(given["at"])
    if given.get("rule") is not None:
        values["rule"] = editing.choice(given["rule"], "rule", rules)
    if given.get("title") is not None:
        values["title"] = editing.required(given["title"], "title")
    if "text" in given and given["text"] is not None:
        values["text"] = editing.clean(given["text"], "text", editing.MAX_TEXT)
    for name in LEADS:
        if given.get(name) is not None:
            if not 0 <= given[name] <= MAX_DAYS:
                raise UsageError(
                    f"{given[name]} days for {name.removesuffix('_days')}",
                    f"it is 0 to {MAX_DAYS} days",
                )
            values[name] = given[name]
    return values


def add(
    tx: Tx,
    name: str,
    given: Mapping[str, Any],
    rules: Sequence[str],
    *,
    for_clients: Sequence[str],
    tags: Sequence[str],
) -> int:
    """``given``: at (aware datetime), rule, title, text, and the days of each step.

    Without clients and tags it is for all clients.
    """
    row = {"name": editing.required(name, "name", 60), "text": None} | _values(given, rules)
    conflict = f"The deadline '{row['name']}' exists already"
    # The name of a retired deadline stays taken, which the unique index alone would not explain.
    old = tx.conn.execute(
        select(StoredDeadline.state).where(StoredDeadline.name == row["name"])
    ).scalar()
    if old == "retired":
        conflict = (
            f"A retired deadline was called '{row['name']}'; its record stays, so choose another"
            " name"
        )
    row_id = editing.add(tx, StoredDeadline, row, conflict=conflict)
    _scope(tx, row_id, for_clients, tags)
    return row_id


def edit(
    tx: Tx,
    name: str,
    given: Mapping[str, Any],
    rules: Sequence[str],
    *,
    for_clients: Sequence[str] | None,
    tags: Sequence[str] | None,
) -> dict[str, list[Any]]:
    """``for_clients`` and ``tags`` replace what was there; None leaves them."""
    row = find(tx.conn, name)
    # Notices were sent about it as it was, so it is not rewritten.
    if row.state == "retired":
        raise UsageError(
            f"The deadline '{row.name}' is retired",
            "a retired one stays as it was",
            "Add another one.",
        )
    changes = editing.edit(tx, StoredDeadline, row, _values(given, rules))
    if for_clients is not None or tags is not None:
        none = _Scope((), ())
        # Read before the rows are replaced, for the audit log.
        before = _scopes(tx.conn).get(row.id, none)
        new_clients = before.clients if for_clients is None else [c for c in for_clients if c]
        new_tags = before.tags if tags is None else [t for t in tags if t]
        tx.conn.execute(delete(DeadlineScope).where(DeadlineScope.deadline_id == row.id))
        _scope(tx, row.id, new_clients, new_tags)
        # Both are read back: the caller may name a client by its name, and in any order.
        after = _scopes(tx.conn).get(row.id, none)
        if after != before:
            changes["for"] = [
                [*before.clients, *before.tags],
                [*after.clients, *after.tags],
            ]
            tx.audit("edit", "deadline", row.id, {"for": changes["for"]})
    return changes


def _scope(tx: Tx, row_id: int, for_clients: Sequence[str], tags: Sequence[str]) -> None:
    scopes = [(DeadlineScopeKind.CLIENT, str(clients.find(tx.conn, c).id)) for c in for_clients]
    scopes += [(DeadlineScopeKind.TAG, editing.clean_tag(t)) for t in tags]
    # Duplicates show only here: the caller may give a client by its number and by its name.
    unique = dict.fromkeys(scopes)
    rows = [{"deadline_id": row_id, "kind": kind, "value": value} for kind, value in unique]
    if rows:
        tx.conn.execute(insert(DeadlineScope), rows)


def retire(tx: Tx, name: str) -> None:
    """Retire a deadline of the provider, or raise :class:`NotFound`."""
    editing.retire(tx, StoredDeadline, [find(tx.conn, name).id])


@dataclass(frozen=True, slots=True)
class _Scope:
    """The numbers of the clients and the tags that a deadline is for."""

    clients: tuple[str, ...]
    tags: tuple[str, ...]


def _scopes(conn: Connection) -> dict[int, _Scope]:
    """Deadline id -> whom it is for.

    A client is kept by its id, since a number may change and be given again; here it has its
    number.
    """
    numbers = {
        str(row_id): number for row_id, number in conn.execute(select(Client.id, Client.number))
    }
    found: dict[int, _Scope] = {}
    for row_id, kind, value in conn.execute(
        select(DeadlineScope.deadline_id, DeadlineScope.kind, DeadlineScope.value).order_by(
            DeadlineScope.kind, DeadlineScope.value
        )
    ):
        scope = found.get(row_id, _Scope((), ()))
        found[row_id] = (
            replace(scope, clients=(*scope.clients, numbers.get(value, "")))
            if kind is DeadlineScopeKind.CLIENT
            else replace(scope, tags=(*scope.tags, value))
        )
    return found


def listing(
    conn: Connection, *, at: datetime | None = None, retired: bool = False
) -> list[ListedDeadline]:
    """Return deadlines with their clients and tags, the first date first.

    Args:
        conn: The connection.
        at: The deadlines that existed at this time. Default: now.
        retired: Whether to include retired deadlines, if ``at`` is None.
    """
    query = select(StoredDeadline).order_by(StoredDeadline.at, StoredDeadline.name)
    if at is not None:
        timestamp = to_epoch(at)
        # The past shows the deadlines that were known then, and not those that were added since.
        query = query.where(
            StoredDeadline.created_at <= timestamp,
            or_(StoredDeadline.retired_at.is_(None), StoredDeadline.retired_at > timestamp),
        )
    elif not retired:
        query = query.where(StoredDeadline.state == "active")
    scopes = _scopes(conn)
    everyone = _Scope((), ())
    rows = fetch_all(conn, query)
    return [
        ListedDeadline(**r, clients=scope.clients, tags=scope.tags)
        for r in rows
        for scope in (scopes.get(r["id"], everyone),)
    ]
