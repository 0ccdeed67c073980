"""Opening of a database; an older version is migrated first."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, exc

from inventory.clock import Clock, system_clock
from inventory.db import maintenance
from inventory.db.database import (
    HEAD,
    LOCK_TIMEOUT,
    Database,
    database_error,
    default_actor,
    display_url,
    make_engine,
    prepare_file,
    version,
)
from inventory.errors import DatabaseVersion


def open_database(
    url: str,
    *,
    actor: str | None = None,
    migrate: bool | None = None,
    clock: Clock = system_clock,
    lock_timeout: float = LOCK_TIMEOUT,
) -> Database:
    """Open a database of the current version.

    A missing SQLite file is created, and an older one is migrated after a backup.

    Args:
        url: An SQLAlchemy URL, or the path of an SQLite file.
        actor: User for the audit log. Default: the system user.
        migrate: Whether to migrate an older database. Default: only SQLite. The backup of a
            PostgreSQL database is the task of its administrator.
        clock: Time of transactions.
        lock_timeout: Seconds to wait for a lock of another process.

    Raises:
        DatabaseError: The database cannot be opened.
        DatabaseVersion: The database has another version and was not migrated.
    """
    engine = make_engine(url, lock_timeout)
    try:
        _prepare(engine, migrate, clock)
    except BaseException:
        # Otherwise a connection stays open until the garbage collector finds it.
        engine.dispose()
        raise
    return Database(engine, actor or default_actor(), clock)


def _prepare(engine: Engine, migrate: bool | None, clock: Clock) -> None:
    """Migrate the database to the current version, if that is allowed."""
    sqlite = engine.dialect.name == "sqlite"
    # Before the first connection, since SQLite would create the file with the umask of the user.
    if sqlite and engine.url.database:
        prepare_file(Path(engine.url.database))
    try:
        current = version(engine)
    except (exc.OperationalError, exc.DatabaseError) as error:
        raise database_error(error.orig or error, engine.url) from error
    if current != HEAD:
        # An older program must not write to a newer schema.
        if current is not None and not maintenance.is_known(current):
            raise DatabaseVersion(
                f"The database {display_url(engine.url)} belongs to a newer certmgr",
                f"its version is {current}, and this program knows versions up to {HEAD}",
                "Install the newer certmgr. Nothing was changed.",
            )
        # Only SQLite is backed up before a migration, so PostgreSQL is migrated on command only.
        if migrate is False or (migrate is None and not sqlite):
            raise DatabaseVersion(
                f"The database {display_url(engine.url)} is"
                f" {'empty' if current is None else 'of an older version'}",
                f"its version is {current or 'none'}, and this program needs {HEAD}",
                "Back it up, then run: certmgr database upgrade.",
            )
        maintenance.migrate(engine, clock=clock)
