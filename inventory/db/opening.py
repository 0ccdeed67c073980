"""Open a database of the current version, and migrate an older one first."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, exc

from inventory.clock import Clock, system_clock
from inventory.db import maintenance
from inventory.db.database import (
    HEAD,
    LOCK_TIMEOUT,
    Database,
    default_actor,
    explain,
    make_engine,
    prepare_file,
    shown,
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
    """Opens ``url``; a new SQLite file is created and an older one migrated (after a backup).

    PostgreSQL is migrated only on command: ``migrate=True``. Raises :class:`DatabaseError`;
    :class:`DatabaseVersion` for a database of another version.
    """
    engine = make_engine(url, lock_timeout)
    try:
        _prepare(engine, migrate, clock)
    except BaseException:
        engine.dispose()  # else a connection would stay open until it is collected
        raise
    return Database(engine, actor or default_actor(), clock)


def _prepare(engine: Engine, migrate: bool | None, clock: Clock) -> None:
    """Bring the database of ``engine`` to the current version, if that is allowed."""
    sqlite = engine.dialect.name == "sqlite"
    if sqlite and engine.url.database:
        prepare_file(Path(engine.url.database))
    try:
        current = version(engine)
    except (exc.OperationalError, exc.DatabaseError) as error:
        raise explain(error.orig or error, engine.url) from error
    if current != HEAD:
        if current is not None and not maintenance.is_known(current):
            raise DatabaseVersion(
                f"The database {shown(engine.url)} belongs to a newer certmgr",
                f"its version is {current}, this program knows {HEAD}",
                "Install the newer certmgr; nothing was changed.",
            )
        if migrate is False or (migrate is None and not sqlite):
            raise DatabaseVersion(
                f"The database {shown(engine.url)} is"
                f" {'empty' if current is None else 'of an older version'}",
                f"its version is {current or 'none'}, this program needs {HEAD}",
                "Back it up, then run: certmgr database upgrade.",
            )
        maintenance.migrate(engine, clock=clock)
