"""Engine, connections and transactions of the inventory, in SQLite or PostgreSQL.

SQLite runs with WAL, synchronous=FULL and foreign keys. Write transactions start with BEGIN
IMMEDIATE, because the transaction mode of pysqlite loses updates under concurrent writers. The
package pysqlite3 avoids the WAL-reset bug of SQLite before 3.51.3. A new file has the mode 0600,
and a new directory 0700.
"""

from __future__ import annotations

import os
import pwd
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    exc,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from inventory.clock import Clock, Timestamp, system_clock
from inventory.db import audit_chain
from inventory.db.sql import copy_rows
from inventory.errors import DatabaseError
from inventory.models import AuditEntry
from inventory.text import printable

HEAD = "0017"  # revision of the schema that this program needs
SAFE_SQLITE = (3, 51, 3)  # the first version without the WAL-reset bug
# More entries than this are written by COPY, which takes a tenth of the time.
COPY_FROM_ENTRIES = 50
_CHAIN_LOCK = 7301003  # key of the advisory lock of the audit chain


def to_epoch(timestamp: datetime) -> Timestamp:
    """Return a timestamp in seconds since 1970, as the database stores it."""
    return int(timestamp.timestamp())


def from_epoch(seconds: Timestamp | None) -> datetime | None:
    """Return a stored timestamp in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def sqlite_module() -> Any:
    """Return the DB-API module: pysqlite3 if it is installed and Python's SQLite has the bug."""
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        try:
            import pysqlite3
        except ImportError:
            return sqlite3
        return pysqlite3
    return sqlite3


@dataclass(slots=True)
class Tx:
    """A write transaction, with its actor and time.

    Each change is recorded in the audit log in the same transaction.

    Attributes:
        conn: The connection of the transaction.
        actor: User who makes the changes.
        now: Time of the changes.
    """

    conn: Connection
    actor: str
    now: datetime
    _entries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def at(self) -> Timestamp:
        """The time in seconds since 1970."""
        return to_epoch(self.now)

    def audit(
        self, action: str, kind: str, row_id: int | None, detail: Mapping[str, Any] | None = None
    ) -> None:
        """Record a change of one row. See :meth:`audit_many`."""
        self.audit_many(action, kind, [(row_id, detail or {})])

    def audit_many(
        self, action: str, kind: str, rows: list[tuple[int | None, Mapping[str, Any]]]
    ) -> None:
        """Record changes of several rows.

        Personal data is removed (inventory/db/audit_chain.py). The entries are written at the end
        of the transaction.

        Args:
            action: What was done.
            kind: Kind of the rows.
            rows: (id, detail) of each row.
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
        """Write the entries of the transaction.

        This is the last step of a transaction. The lock that keeps the chain in order is then held
        only for a short time, and no other wait happens under it.
        """
        # A transaction without changes needs no lock.
        if not self._entries:
            return
        if self.conn.dialect.name == "postgresql":
            self.conn.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _CHAIN_LOCK})
        # The lock is held, so no other transaction can add an entry after this one.
        before = (
            self.conn.execute(
                select(AuditEntry.hash).order_by(AuditEntry.id.desc()).limit(1)
            ).scalar()
            or audit_chain.START
        )
        for entry in self._entries:
            before = entry["hash"] = audit_chain.link(before, **entry)
        table = AuditEntry.__table__
        if self.conn.dialect.name == "postgresql" and len(self._entries) > COPY_FROM_ENTRIES:
            assert isinstance(table, Table)
            copy_rows(self.conn, table, self._entries)
        else:
            self.conn.execute(insert(AuditEntry), self._entries)
        self._entries.clear()


class Database:
    """An open database of the current version.

    Attributes:
        engine: The engine.
        actor: User who is recorded in the audit log.
        clock: Time of a transaction for which no time is given.
    """

    def __init__(self, engine: Engine, actor: str, clock: Clock = system_clock) -> None:
        self.engine, self.actor, self.clock = engine, actor, clock

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for PostgreSQL."""
        name = self.engine.url.database
        return Path(name) if self.engine.dialect.name == "sqlite" and name else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection for reading."""
        with map_errors(self.engine.url), self.engine.connect() as conn:
            yield conn

    @contextmanager
    def write(self, now: datetime | None = None) -> Iterator[Tx]:
        """Yield a write transaction; commit it at the end, or roll it back on an exception."""
        with (
            map_errors(self.engine.url),
            self.engine.connect().execution_options(certmgr_write=True) as conn,
            conn.begin(),
        ):
            tx = Tx(conn, self.actor, now or self.clock())
            yield tx
            tx.write_audit()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def display_url(url: URL) -> str:
    """Return the URL without secrets.

    libpq takes passwords in the query too, so only the names of its fields are shown.
    """
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    shown = url.set(query=dict.fromkeys(url.query, "***"))
    return shown.render_as_string(hide_password=True)


@contextmanager
def map_errors(url: URL) -> Iterator[None]:
    """Raise errors of the database driver as :class:`DatabaseError`.

    A violated constraint is not mapped, because the caller must handle it.
    """
    try:
        yield
    except (exc.OperationalError, exc.DatabaseError) as error:
        # Only the caller knows which record caused the conflict.
        if isinstance(error, exc.IntegrityError):
            raise
        raise database_error(error.orig or error, url) from error


def database_error(error: BaseException, url: URL) -> DatabaseError:
    """Return an error of the driver with the action that fixes it."""
    # Messages of drivers contain line breaks.
    reason = " ".join(str(error).split())[:300]
    action = "Check that its directory exists and that this user may write there."
    if "locked" in reason:
        action = "Another program has locked it: try again after that program has ended."
    elif "full" in reason:
        action = "Free space on its disk. This step wrote nothing."
    elif "Could not decode" in reason:
        reason = "it contains a text that is not UTF-8, which certmgr did not write"
        action = "certmgr database check names it. Correct it with sqlite3, or restore a backup."
    elif "not a database" in reason or "malformed" in reason:
        action = "Restore a backup: certmgr database restore FILE."
    elif "query_wait_timeout" in reason:
        action = (
            "PgBouncer had no free connection: a command needs up to"
            f" {POOLED_CONNECTIONS} at a time, so raise default_pool_size."
        )
    elif "statement pooling mode" in reason:
        action = "Set pool_mode of PgBouncer to transaction or session; statement is not enough."
    elif url.get_backend_name() != "sqlite":
        action = "Check the URL, the server and the rights of the user."
    return DatabaseError(f"The database {display_url(url)} cannot be used", reason, action)


def default_actor() -> str:
    """Return the name of the real user, or its number if it has no name.

    LOGNAME and USER are not read: any user may set them. SUDO_USER is shown next to the real user,
    and does not replace it, for the same reason.
    """
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    invoker = printable(os.environ.get("SUDO_USER", ""), 40)
    return f"{name} (sudo by {invoker})" if invoker and invoker != name else name


LOCK_TIMEOUT = 30.0  # seconds
# Connections at a time of one command: a lock per kind of job, a reader and a writer.
POOLED_CONNECTIONS = 5
# The values of a row are read by the names of its columns, and never by the column objects of the
# statement. SQLAlchemy then need not map those of each new statement to the compiled one, which
# costs a third of the time of a short statement. Without effect in a version that lacks the option.
_BY_NAME = {"_result_disable_adapt_to_context": True}


# Seconds, except tcp_user_timeout (milliseconds). Without them, libpq waits for a server that stays
# silent, or whose machine is gone, for as long as the system does: hours.
_POSTGRESQL: Mapping[str, Any] = {
    "prepare_threshold": None,
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def make_engine(url: str, lock_timeout: float = LOCK_TIMEOUT) -> Engine:
    """Return an engine that follows the rules of this module.

    Args:
        url: An SQLAlchemy URL, or the path of an SQLite file.
        lock_timeout: Seconds to wait for a lock of another process.

    Raises:
        DatabaseError: The URL is invalid, or its kind of database is not supported.
    """
    try:
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            # A database in memory would be lost at the end of the command.
            if parsed.database in (None, "", ":memory:") or parsed.query:
                raise DatabaseError(
                    f"'{url[:80]}' is not the path of a database file",
                    "an inventory is stored in a file",
                    "Write sqlite:////path/to/file.db.",
                )
            return _sqlite_engine(parsed, lock_timeout)
        if backend == "postgresql":
            # pool_pre_ping replaces connections that the server has closed.
            # A pooler such as PgBouncer runs the transactions of one client on several connections
            # of the server, which do not have each other's prepared statements.
            return create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                # What the URL sets itself counts.
                connect_args={k: v for k, v in _POSTGRESQL.items() if k not in parsed.query},
                execution_options=_BY_NAME,
            )
    except (exc.ArgumentError, ImportError, ValueError) as error:
        raise DatabaseError(
            "The database URL cannot be used",
            str(error)[:200],
            "Write sqlite:////path/to/file.db or postgresql://user@host/name.",
        ) from None
    raise DatabaseError(
        f"Databases of the type '{backend}' are not supported", "", "Use SQLite or PostgreSQL."
    )


def _sqlite_engine(url: URL, lock_timeout: float) -> Engine:
    engine = create_engine(
        url,
        module=sqlite_module(),
        poolclass=NullPool,
        connect_args={"timeout": lock_timeout},
        execution_options=_BY_NAME,
    )

    @event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: Any) -> None:
        # None turns off the transaction mode of pysqlite; _begin() starts each transaction.
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(lock_timeout * 1000)}")
        # Readers are not blocked by a writer.
        cursor.execute("PRAGMA journal_mode=WAL")
        # A committed notice must survive a power failure.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-16000")
        # Functions in the schema of a file from elsewhere are not called.
        cursor.execute("PRAGMA trusted_schema=OFF")
        # Erased data of a client must not stay in the file.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        # A write transaction takes the lock at its start, so it never has to upgrade a read lock.
        write = conn.get_execution_options().get("certmgr_write")
        conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def prepare_file(path: Path) -> None:
    """Create the SQLite file with mode 0600 in a directory with mode 0700.

    SQLite itself would create it with the umask of the user.
    """
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
    """Return the revision of the schema; None for an empty database.

    Raises:
        DatabaseError: The database belongs to another program.
    """
    with engine.connect() as conn:
        tables = set(inspect(conn).get_table_names())
        revision = (
            conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if "alembic_version" in tables
            else None
        )
        if revision is None and tables - {"alembic_version"}:
            raise DatabaseError(
                f"{display_url(engine.url)} is not a database of certmgr",
                "it has tables of another program",
                "Name another database. Nothing was changed.",
            )
        return revision
