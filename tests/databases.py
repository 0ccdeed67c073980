"""Databases of the current version for tests, copied from one that was migrated once per process.

A migration takes longer than most tests. Tests of migrations start with an empty database.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from inventory.clock import Clock
from inventory.db.database import Database, prepare_file
from inventory.db.opening import open_database
from tests.clock import clock as test_clock


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory(prefix="certmgr-template-") as folder:
        path = Path(folder) / "inventory.db"
        open_database(str(path), actor="tester").close()
        # The file is complete: SQLite removes the write-ahead log when the database is closed.
        assert [p.name for p in path.parent.iterdir()] == [path.name]
        return path.read_bytes()


def write_sqlite(path: Path) -> str:
    """Write an SQLite database without rows to ``path``, and return it as a URL."""
    prepare_file(path)
    path.write_bytes(_template())
    return str(path)


def open_sqlite(path: Path, actor: str = "tester", clock: Clock = test_clock) -> Database:
    """Open an SQLite database at ``path``, which is created if it does not exist."""
    return open_database(
        str(path) if path.exists() else write_sqlite(path), actor=actor, clock=clock
    )
