"""URL -> :class:`Database`: connections, transactions, and the migration on opening.

SQLite: WAL, synchronous=FULL, foreign keys on; writes begin with BEGIN IMMEDIATE (pysqlite's own
transaction mode loses updates under concurrent writers), reads do not. The WAL-reset bug of SQLite
before 3.51.3 is avoided by using pysqlite3. Files are created 0600 in a 0700 directory.
"""

from __future__ import annotations

import getpass
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from inventory.clock import Clock, system_clock
from inventory.db import audit_chain
from inventory.errors import DatabaseError
from inventory.models.tables import audit as audit_table

HEAD = "0006"
SAFE_SQLITE = (3, 51, 3)
_CHAIN_LOCK = 7301003


def to_epoch(moment: datetime) -> int:
    return int(moment.timestamp())


def from_epoch(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def sqlite_module() -> Any:
    """The DB-API module whose SQLite is free of the WAL-reset bug, where one is installed."""
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        try:
            import pysqlite3
        except ImportError:
            return sqlite3
        return pysqlite3
    return sqlite3


@dataclass(slots=True)
class Tx:
    """One write transaction: who does it and when.

    Every change through it is audited in the same transaction.
    """

    conn: Connection
    actor: str
    now: datetime
    _entries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def at(self) -> int:
        return to_epoch(self.now)

    def audit(
        self, action: str, kind: str, row_id: int | None, detail: Mapping[str, Any] | None = None
    ) -> None:
        self.audit_many(action, kind, [(row_id, detail or {})])

    def audit_many(
        self, action: str, kind: str, rows: list[tuple[int | None, Mapping[str, Any]]]
    ) -> None:
        """Personal data is taken out (inventory/db/audit_chain.py).

        The entries are written when the transaction ends.
        """
        for row_id, detail in rows:
            self._entries.append(
                {
                    "at": self.at,
                    "actor": self.actor,
                    "action": action,
                    "kind": kind,
                    "row_id": row_id,
                    "detail": audit_chain.encode(audit_chain.redact(kind, detail)),
                }
            )

    def write_audit(self) -> None:
        """Last of all in a transaction, so that the lock that keeps the chain one is held for a
        moment and nothing is waited for under it.
        """
        if not self._entries:
            return
        if self.conn.dialect.name == "postgresql":
            self.conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _CHAIN_LOCK})
        before = (
            self.conn.execute(
                select(audit_table.c.hash).order_by(audit_table.c.id.desc()).limit(1)
            ).scalar()
            or audit_chain.START
        )
        for entry in self._entries:
            before = entry["hash"] = audit_chain.link(before, **entry)
        self.conn.execute(insert(audit_table), self._entries)
        self._entries.clear()


class Database:
    """An opened database of the current version. ``actor`` is written to the audit table.

    ``clock`` dates a transaction that names no time.
    """

    def __init__(self, engine: Engine, actor: str, clock: Clock = system_clock) -> None:
        self.engine, self.actor, self.clock = engine, actor, clock

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None for another kind."""
        name = self.engine.url.database
        return Path(name) if self.engine.dialect.name == "sqlite" and name else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with _mapped(self.engine.url), self.engine.connect() as conn:
            yield conn

    @contextmanager
    def write(self, now: datetime | None = None) -> Iterator[Tx]:
        """Commits at the end, rolls back on any exception."""
        with (
            _mapped(self.engine.url),
            self.engine.connect().execution_options(certmgr_write=True) as conn,
            conn.begin(),
        ):
            tx = Tx(conn, self.actor, now or self.clock())
            yield tx
            tx.write_audit()

    def close(self) -> None:
        self.engine.dispose()


def shown(url: URL) -> str:
    """The URL without its password."""
    return (
        str(url.database)
        if url.get_backend_name() == "sqlite"
        else url.render_as_string(hide_password=True)
    )


@contextmanager
def _mapped(url: URL) -> Iterator[None]:
    """Third-party errors of a database as ours.

    A constraint that a caller should have checked stays what it is.
    """
    try:
        yield
    except (exc.OperationalError, exc.DatabaseError) as error:
        if isinstance(error, exc.IntegrityError):
            raise
        raise explain(error.orig or error, url) from error


def explain(error: BaseException, url: URL) -> DatabaseError:
    reason = " ".join(str(error).split())[:300]
    todo = "Check that its directory exists and that this user may write there."
    if "locked" in reason:
        todo = "Another program holds it; try again when that has ended."
    elif "full" in reason:
        todo = "Free space on its disk; nothing of this step was written."
    elif "not a database" in reason or "malformed" in reason:
        todo = "Restore a backup: certmgr database restore FILE."
    elif url.get_backend_name() != "sqlite":
        todo = "Check the URL, the server and the user's rights."
    return DatabaseError(f"The database {shown(url)} cannot be used", reason, todo)


def default_actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


LOCK_TIMEOUT = 30.0  # seconds


def make_engine(url: str, lock_timeout: float = LOCK_TIMEOUT) -> Engine:
    """An engine with the rules of this module.

    ``url``: an SQLAlchemy URL, or a path of an SQLite file.
    """
    try:
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            if parsed.database in (None, "", ":memory:") or parsed.query:
                raise DatabaseError(
                    f"'{url[:80]}' names no database file",
                    "an inventory is kept in a file",
                    "Write sqlite:////path/to/file.db.",
                )
            return _sqlite_engine(parsed, lock_timeout)
        if backend == "postgresql":
            return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (exc.ArgumentError, ImportError, ValueError) as error:
        raise DatabaseError(
            "The database URL cannot be used",
            str(error)[:200],
            "Write sqlite:////path/to/file.db or postgresql://user@host/name.",
        ) from None
    raise DatabaseError(
        f"Databases of the kind '{backend}' are not supported", "", "Use SQLite or PostgreSQL."
    )


def _sqlite_engine(url: URL, lock_timeout: float) -> Engine:
    engine = create_engine(
        url, module=sqlite_module(), poolclass=NullPool, connect_args={"timeout": lock_timeout}
    )

    @event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(lock_timeout * 1000)}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-16000")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        write = conn.get_execution_options().get("certmgr_write")
        conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def prepare_file(path: Path) -> None:
    """Makes the SQLite file 0600 in a 0700 directory before anything is written to it."""
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DatabaseError(
            f"The database {path} cannot be opened",
            error.strerror or str(error),
            "Check that its directory exists and that this user may write there.",
        ) from None


def version(engine: Engine) -> str | None:
    """The schema's revision; None for an empty database."""

    with engine.connect() as conn:
        found = set(inspect(conn).get_table_names())
        known = (
            conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if "alembic_version" in found
            else None
        )
        if known is None and found - {"alembic_version"}:
            raise DatabaseError(
                f"{shown(engine.url)} is not a database of certmgr",
                "it has tables of another program",
                "Name another one; nothing was changed.",
            )
        return known
