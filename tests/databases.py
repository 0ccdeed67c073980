"""Databases of the current version for tests, copied from one that was migrated once per process.

A migration takes longer than most tests. Tests of migrations start with an empty database. The
engines of all databases share their compiled statements: compiling them again for each test took a
fifth of the time of a test with a database. SQLite does not wait for the disk, which took a third
of the CPU and most of the time of a transaction.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import LRUCache

from inventory.clock import Clock
from inventory.db import database as engines
from inventory.db import opening
from inventory.db.database import HEAD, Database, prepare_file
from inventory.db.opening import open_database
from tests.clock import clock as test_clock

if TYPE_CHECKING:
    import psycopg


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


def speed_up_engines(patch: pytest.MonkeyPatch) -> None:
    """Let the engines of this process share compiled statements, and not wait for the disk.

    What a killed process wrote is kept by the kernel, synced or not: only a crash of the machine
    would show the difference.
    """
    compiled = CompiledStatements(2000)

    def create(*arguments: Any, execution_options: Mapping[str, Any], **named: Any) -> Engine:
        options = {**execution_options, "compiled_cache": compiled}
        engine = create_engine(*arguments, execution_options=options, **named)
        if engine.dialect.name == "sqlite":
            # The program sets the mode of a connection when it opens it; a check-out comes later.
            event.listen(engine, "checkout", _do_not_wait)
        return engine

    patch.setattr(engines, "create_engine", create)
    # The program opens the file for each transaction, and so follows a restore by another process.
    # That is a tenth of the CPU of the tests. The program as a process is tested as it is.
    patch.setattr(engines, "NullPool", QueuePool)


def share_statements_with_forks() -> None:
    """For a process that forks children: each would compile all its statements anew."""
    speed_up_engines(pytest.MonkeyPatch())


def _do_not_wait(connection: Any, _record: object, _proxy: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


class PostgresDatabases:
    """The databases of one PostgreSQL server, created and dropped through one connection.

    A new connection costs the server a quarter of what a new database costs it.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: psycopg.Connection[Any] | None = None

    def create(self, template: str = "template0", name: str | None = None) -> str:
        """Create a database like ``template``, to which nothing is connected; return its URL."""
        name = name or f"t{uuid.uuid4().hex[:12]}"
        connection = self._connected()
        # FILE_COPY takes a tenth of the time of the default, which writes each page to the log.
        strategy = "STRATEGY FILE_COPY" if connection.info.server_version >= 150000 else ""
        create: Any = f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}'
        connection.execute(create)
        return f"postgresql://test@127.0.0.1:{self._port}/{name}"

    def drop(self, url: str) -> None:
        """Drop the database of the URL, and end its connections."""
        drop: Any = f'DROP DATABASE "{url.rsplit("/", 1)[1]}" WITH (FORCE)'
        self._connected().execute(drop)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> psycopg.Connection[Any]:
        import psycopg

        if self._connection is None or self._connection.closed:
            address = f"host=127.0.0.1 port={self._port} user=test dbname=postgres"
            self._connection = psycopg.connect(address, autocommit=True)
        return self._connection


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


@contextmanager
def one_engine(path: Path, clock: Clock = test_clock) -> Iterator[Database]:
    """Let everything in the block use one engine for the SQLite database at ``path``.

    A command makes an engine, compares versions, and connects for each transaction. That is a
    quarter of the CPU of most commands, for tests that call a hundred of them.
    """
    url = write_sqlite(path)
    with pytest.MonkeyPatch.context() as patch:
        database = open_database(url, actor="tester", clock=clock)
        real = engines.make_engine
        patch.setattr(
            opening,
            "make_engine",
            lambda given, *rest: database.engine if given == url else real(given, *rest),
        )
        patch.setattr(opening, "version", lambda _engine: HEAD)
        patch.setattr(Database, "close", lambda _database: None)
        try:
            yield database
        finally:
            database.engine.dispose()
