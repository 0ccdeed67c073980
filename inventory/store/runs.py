"""Runs: one scan at a time for a database, and how complete each was.

The holder is known by a lock that dies with its process: flock on a file beside an SQLite database,
an advisory lock of the session on PostgreSQL. A run that is marked as running while nobody holds
the lock died, and becomes incomplete.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import case, delete, insert, select, update

from inventory.db.database import Database, Tx, from_epoch
from inventory.db.locks import LockHeld, held
from inventory.errors import Busy
from inventory.models.tables import proposal, run, standing


def vantage() -> str:
    """From where we look: the name of this machine."""
    return socket.gethostname()


@contextmanager
def exclusive(database: Database) -> Iterator[None]:
    """Holds the database for one scan. Raises :class:`Busy`, which names the holder."""
    try:
        with held(database, "scan"):
            yield
    except LockHeld:
        raise _busy(database) from None


def _busy(database: Database) -> Busy:
    with database.read() as conn:
        row = (
            conn.execute(select(run).where(run.c.state == "running").order_by(run.c.id.desc()))
            .mappings()
            .first()
        )
    holder = "another process"
    if row is not None:
        since = from_epoch(row["started_at"])
        holder = (
            f"run {row['id']} on {row['vantage']}, process {row['pid']}, since"
            f" {since:%Y-%m-%d %H:%M:%S} UTC"
        )
    return Busy(
        "Another scan is running", holder, "Wait for it to end; one scan at a time for a database."
    )


def start(tx: Tx, scope: str, planned: int) -> int:
    """Marks runs that died as incomplete (and drops what they proposed), then begins a new one.

    Only under :func:`exclusive`.
    """
    dead = list(tx.conn.scalars(select(run.c.id).where(run.c.state == "running")))
    for run_id in dead:
        tx.conn.execute(delete(proposal).where(proposal.c.run_id == run_id))
        tx.conn.execute(
            update(run)
            .where(run.c.id == run_id)
            .values(state="incomplete", reason="its process died", finished_at=tx.at)
        )
        tx.audit("died", "run", run_id)
    values = {
        "state": "running",
        "vantage": vantage(),
        "pid": os.getpid(),
        "started_at": tx.at,
        "scope": scope,
        "planned": planned,
    }
    key = tx.conn.execute(insert(run).values(values)).inserted_primary_key
    assert key is not None
    tx.audit("start", "run", int(key[0]), {"scope": scope, "planned": planned})
    return int(key[0])


def finish(
    tx: Tx, run_id: int, state: str, reason: str | None, looked: int, undetermined: int
) -> None:
    """``state``: complete, incomplete or suspect.

    Other states than complete take back what the run counted against endpoints.
    """
    if state != "complete":
        tx.conn.execute(delete(proposal).where(proposal.c.run_id == run_id))
    if state == "complete":
        is_good = case((standing.c.last_good == standing.c.last_attempt, 1), else_=0)
        tx.conn.execute(
            update(standing)
            .where(standing.c.last_run_id == run_id, standing.c.good != is_good)
            .values(good=is_good)
        )
    else:
        tx.conn.execute(
            update(standing)
            .where(standing.c.last_run_id == run_id, standing.c.failing_runs > 0)
            .values(failing_runs=standing.c.failing_runs - 1)
        )
    tx.conn.execute(
        update(run)
        .where(run.c.id == run_id)
        .values(
            state=state, reason=reason, finished_at=tx.at, looked=looked, undetermined=undetermined
        )
    )
    tx.audit(
        "finish",
        "run",
        run_id,
        {"state": state, "reason": reason, "looked": looked, "undetermined": undetermined},
    )
