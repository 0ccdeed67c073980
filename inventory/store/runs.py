"""Runs: one scan at a time for a database, and how complete each was.

The holder is known by a lock that dies with its process: flock on a file beside an SQLite database,
an advisory lock of the session on PostgreSQL. A run that is marked as running while nobody holds
the lock died, and becomes incomplete.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import case, delete, insert, select, text, update

from inventory.database import Database, Tx, from_epoch
from inventory.errors import Busy
from inventory.tables import proposal, run, standing

_ADVISORY = {
    "scan": 7301002,
    "notify": 7301004,
    "cases": 7301005,
    "renew": 7301006,
    "revocation": 7301007,
}


def vantage() -> str:
    """From where we look: the name of this machine."""
    return socket.gethostname()


@contextmanager
def exclusive(database: Database) -> Iterator[None]:
    """Holds the database for one scan. Raises :class:`Busy`, which names the holder."""
    try:
        with held(database, "scan"):
            yield
    except _Held:
        raise _busy(database) from None


@contextmanager
def held(database: Database, name: str) -> Iterator[None]:
    """The lock of this name, which dies with its process: a file beside an SQLite database, an
    advisory lock on PostgreSQL. Raises :class:`Busy`.
    """
    path = database.path
    if path is not None:
        with file_lock(path, name):
            yield
        return
    key = {"k": _ADVISORY[name]}
    with database.engine.connect() as conn:
        # The server notices a moment later that a holder was killed, so it is asked for two
        # seconds.
        end = time.monotonic() + 2
        while True:
            got = conn.execute(text("SELECT pg_try_advisory_lock(:k)"), key).scalar()
            conn.commit()
            if got:
                break
            if time.monotonic() > end:
                raise _Held(
                    f"Another {name} is running on this database", "", "Wait for it to end."
                )
            time.sleep(0.1)
        try:
            yield
        finally:
            conn.execute(text("SELECT pg_advisory_unlock(:k)"), key)
            conn.commit()


class _Held(Busy):
    """The lock of a file is held by another process."""


@contextmanager
def file_lock(path: Path, name: str = "scan") -> Iterator[None]:
    """The lock beside an SQLite file, without opening the database. Raises :class:`Busy`.

    Close-on-exec, and not inherited by the scanning processes, which are started before.
    """
    descriptor = os.open(
        path.with_name(f"{path.name}.{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _Held(
                f"A {name} is running on this database", "", "Wait for it to end."
            ) from None
        yield
    finally:
        os.close(descriptor)


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
