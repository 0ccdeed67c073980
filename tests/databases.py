"""Databases of the current version for tests, copied from one that was migrated once per process.

A migration takes longer than most tests. Tests of migrations start with an empty database. The
engines of all databases share their compiled statements: compiling them again for each test took a
fifth of the time of a test with a database.
"""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.util import LRUCache

from inventory.clock import Clock
from inventory.db import database as engines
from inventory.db.database import Database, prepare_file
from inventory.db.opening import open_database
from tests.clock import clock as test_clock


class CompiledStatements(LRUCache[Any, Any]):
    """The compiled statements of all engines of one kind of database.

    The cache of an engine has its dialect in each key, an object of that engine alone.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_any_engine(key), value)


def _of_any_engine(key: Any) -> tuple[Any, ...]:
    dialect, *statement = key
    return (type(dialect), *statement)


def share_compiled_statements(patch: pytest.MonkeyPatch) -> None:
    """Let the engines of all databases use one cache of compiled statements."""
    options = {"compiled_cache": CompiledStatements(2000)}
    patch.setattr(engines, "create_engine", partial(create_engine, execution_options=options))


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
