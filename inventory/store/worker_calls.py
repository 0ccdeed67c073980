"""Calls: work that a command leaves to a worker, and whose result it waits for.

A call is stored before its job is deferred, so that a lost job can be deferred again. Its work only
reads: if two workers do it, for example since one was paused, the first result counts. All times
are those of the database, because the clocks of machines may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from inventory.db.database import Tx
from inventory.db.sql import database_now, delete_in, fetch_one, insert_id
from inventory.models import WorkerCall, WorkerCallFile
from inventory.records import BegunCall, CallResult, CallState
from inventory.vocabulary import CallKind

# Calls of commands that died are deleted after this time. No command waits for so long.
KEEP_SECONDS = 86_400


def add(tx: Tx, kind: CallKind, arguments: Mapping[str, Any]) -> int:
    """Store a call, and return its id. Then its job is deferred."""
    row = {"kind": kind, "arguments": dict(arguments), "created_at": database_now(tx.conn)}
    return insert_id(tx.conn, WorkerCall, row)


def begin(tx: Tx, call_id: int) -> BegunCall | None:
    """Record that a worker begins a call; None if it has a result, or no command waits any more."""
    begun = tx.conn.execute(
        update(WorkerCall)
        .where(WorkerCall.id == call_id, WorkerCall.finished_at.is_(None))
        .values(attempts=WorkerCall.attempts + 1)
    )
    if begun.rowcount != 1:
        return None
    columns = (WorkerCall.id, WorkerCall.kind, WorkerCall.arguments, WorkerCall.attempts)
    return fetch_one(tx.conn, BegunCall, select(*columns).where(WorkerCall.id == call_id))


def finish(tx: Tx, call_id: int, result: CallResult) -> bool:
    """Store a result. Return False if another one was stored, or no command waits any more."""
    if not _end(tx, call_id, {"result": dict(result.values)}):
        return False
    # One by one: the statement of several would contain all contents at once.
    for name, content in result.files.items():
        row = {"call_id": call_id, "name": name, "content": content}
        tx.conn.execute(insert(WorkerCallFile).values(row))
    return True


def fail(tx: Tx, call_id: int, error: Mapping[str, str]) -> bool:
    """Store the error that the command reports: its type, what, why and todo."""
    return _end(tx, call_id, {"error": dict(error)})


def _end(tx: Tx, call_id: int, values: Mapping[str, Any]) -> bool:
    # One statement: of two workers with a result, one changes no row.
    ended = tx.conn.execute(
        update(WorkerCall)
        .where(WorkerCall.id == call_id, WorkerCall.finished_at.is_(None))
        .values(finished_at=database_now(tx.conn), **values)
    )
    return ended.rowcount == 1


def state(conn: Connection, call_id: int) -> CallState | None:
    """Return the state of a call; None if it was deleted."""
    query = select(WorkerCall.finished_at, WorkerCall.error).where(WorkerCall.id == call_id)
    row = conn.execute(query).first()
    return None if row is None else CallState(finished=row[0] is not None, error=row[1])


def take(tx: Tx, call_id: int) -> CallResult:
    """Return the result of a finished call, and delete it."""
    values = tx.conn.scalar(select(WorkerCall.result).where(WorkerCall.id == call_id))
    query = select(WorkerCallFile.name, WorkerCallFile.content)
    rows = tx.conn.execute(
        query.where(WorkerCallFile.call_id == call_id).order_by(WorkerCallFile.id)
    )
    found = CallResult(values=values or {}, files={r.name: r.content for r in rows})
    remove(tx, [call_id])
    return found


def remove(tx: Tx, ids: Sequence[int]) -> None:
    """Delete calls. A worker that still has one finds that no command waits for it."""
    # A worker that stores a result at this moment is waited for, and its files go too.
    locked = select(WorkerCall.id).where(WorkerCall.id.in_(ids))
    tx.conn.execute(locked.order_by(WorkerCall.id).with_for_update())
    delete_in(tx.conn, WorkerCallFile, WorkerCallFile.call_id, ids)
    delete_in(tx.conn, WorkerCall, WorkerCall.id, ids)


def remove_old(tx: Tx) -> None:
    """Delete the calls of commands that died."""
    old = select(WorkerCall.id).where(WorkerCall.created_at < database_now(tx.conn) - KEEP_SECONDS)
    remove(tx, list(tx.conn.scalars(old)))


def remove_all(tx: Tx) -> None:
    """Delete all calls. A command that waits for one reports it, and can be repeated."""
    remove(tx, list(tx.conn.scalars(select(WorkerCall.id))))
