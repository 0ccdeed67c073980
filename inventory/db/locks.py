"""Locks that die with their process: one scan, one run of notices at a time for a database.

SQLite: flock on a file next to the database. PostgreSQL: an advisory lock of the session.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from inventory.db.database import Database
from inventory.errors import Busy

_ADVISORY = {
    "scan": 7301002,
    "notify": 7301004,
    "cases": 7301005,
    "renew": 7301006,
    "revocation": 7301007,
}


class LockHeld(Busy):
    """Another process holds the lock."""


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
                raise LockHeld(
                    f"Another {name} is running on this database", "", "Wait for it to end."
                )
            time.sleep(0.1)
        try:
            yield
        finally:
            conn.execute(text("SELECT pg_advisory_unlock(:k)"), key)
            conn.commit()


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
            raise LockHeld(
                f"A {name} is running on this database", "", "Wait for it to end."
            ) from None
        yield
    finally:
        os.close(descriptor)
