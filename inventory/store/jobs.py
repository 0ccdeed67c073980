"""Jobs: when each last succeeded, what it remembers, and one run at a time.

A job that silently does nothing is worse than one that fails, so doctor, check and metrics show the
last success.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from inventory.db.database import Database, Tx
from inventory.db.locks import exclusive_lock
from inventory.db.sql import upsert
from inventory.models import Job
from inventory.records import JobRecord


def state(conn: Connection, name: str) -> JobRecord:
    """Return the state of a job; empty values if it never ran."""
    row = conn.execute(select(Job).where(Job.name == name)).mappings().first()
    if row is None:
        return JobRecord(name=name, started_at=None, success_at=None, error=None, detail={})
    return _record(row)


def every(conn: Connection) -> dict[str, JobRecord]:
    """Return the name of each job -> its record."""
    return {r["name"]: _record(r) for r in conn.execute(select(Job)).mappings()}


def _record(row: RowMapping) -> JobRecord:
    return JobRecord(**row)


def _write(tx: Tx, name: str, values: Mapping[str, Any]) -> None:
    statement = upsert(tx.conn, Job).values(name=name, **values)
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_=dict(values)))


def started(tx: Tx, name: str) -> None:
    """Record that a job begins."""
    _write(tx, name, {"started_at": tx.at})


def succeeded(tx: Tx, name: str, detail: Mapping[str, Any] | None = None) -> None:
    """Record a success. ``detail`` replaces what the job remembers; None keeps it."""
    # The caller passes the transaction of its work, so that no success is recorded without it.
    values: dict[str, Any] = {"success_at": tx.at, "error": None}
    if detail is not None:
        values["detail"] = dict(detail)
    _write(tx, name, values)


def failed(tx: Tx, name: str, error: str) -> None:
    """Record why a job failed."""
    # The last success stays: how long ago it was is the alarm.
    _write(tx, name, {"error": error[:500]})


@contextmanager
def alone(database: Database, name: str) -> Iterator[None]:
    """Hold the lock of a job, so that one process at a time decides what is due.

    Raises:
        Busy: Another process holds it. The lock ends with its process.
    """
    # The lock and not the row decides whether a job is running: a killed process leaves its row.
    with exclusive_lock(database, name):
        yield
