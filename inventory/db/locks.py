"""Locks that end with their process: one scan and one run of notices at a time per database.

SQLite: flock on a file next to the database. PostgreSQL: an advisory lock of a transaction.

They are apart from certmgr/deploy/locks.py on purpose. A job is refused at once if another process
has its lock, under one name and error on both databases. A switch of certificates waits for its
turn, may lock again within its thread, and records the last reload in the locked file.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from inventory.db.database import Database, map_errors
from inventory.errors import Busy

# Fixed numbers: all versions of the program must use the same key for a lock.
_ADVISORY_KEYS = {
    "scan": 7301002,
    "notify": 7301004,
    "cases": 7301005,
    "renew": 7301006,
    "revocation": 7301007,
    "audit head": 7301008,
}


class LockHeld(Busy):
    """Another process holds the lock."""


@contextmanager
def exclusive_lock(database: Database, name: str) -> Iterator[None]:
    """Hold the lock of this name until the block ends.

    It is a lock on a file next to an SQLite database, or an advisory lock of PostgreSQL.

    Raises:
        Busy: Another process holds the lock.
    """
    # Read for both databases, so that no lock works on one of them only.
    key, path = _ADVISORY_KEYS[name], database.path
    if path is not None:
        with file_lock(path, name):
            yield
        return
    with _advisory_lock(database, name, key):
        yield


@contextmanager
def _advisory_lock(database: Database, name: str, number: int) -> Iterator[None]:
    """Hold an advisory lock of a transaction that stays open until the block ends.

    A lock of the session would be lost behind a pooler such as PgBouncer, which lends the
    connection to other clients after each transaction; it does not lend it within one. The
    transaction has no snapshot and no id while it is idle, so it does not hold back VACUUM.
    """
    key = {"k": number}
    with map_errors(database.engine.url), database.engine.connect() as conn:
        # The server notices the end of a killed holder a little later, so the lock is tried for two
        # seconds.
        end = time.monotonic() + 2
        while True:
            # The server would otherwise end a transaction that is idle for longer than its limit.
            conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            if conn.execute(text("SELECT pg_try_advisory_xact_lock(:k)"), key).scalar():
                break
            conn.rollback()
            if time.monotonic() > end:
                raise LockHeld(
                    f"Another {name} is running on this database", "", "Wait until it ends."
                )
            time.sleep(0.1)
        yield
        # The end of the transaction releases the lock.
        conn.rollback()


@contextmanager
def file_lock(path: Path, name: str = "scan") -> Iterator[None]:
    """Hold the lock next to an SQLite file, without opening the database.

    The descriptor is closed on exec. The scanning processes do not inherit it, because they are
    started before.

    Raises:
        Busy: Another process holds the lock.
    """
    descriptor = os.open(
        # A separate file: SQLite locks parts of its database, and closing any descriptor of it
        # would release those locks (POSIX).
        path.with_name(f"{path.name}.{name}.lock"),
        os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
        0o600,
    )
    try:
        try:
            # flock ends with the process, so a killed process leaves no lock.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(
                f"A {name} is running on this database", "", "Wait until it ends."
            ) from None
        try:
            yield
        finally:
            # Closing is not enough: a program that another thread starts at this moment has a copy
            # of the descriptor until its exec, and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
