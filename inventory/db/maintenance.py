"""Migration and backup of a database. ``restore`` restores backups, ``integrity`` checks.

A migration has these steps: backup, integrity check of the backup, one transaction with all
changes, check of the foreign keys, commit. Foreign keys are off during the transaction, because
Alembic's batch mode would delete dependent rows. A failure or a kill leaves the old version.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, exc, text

from inventory.clock import Clock, system_clock
from inventory.db.database import (
    HEAD,
    Database,
    database_error,
    display_url,
    sqlite_module,
    version,
)
from inventory.errors import DatabaseError
from inventory.files import rename_new

_log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
FILE_TIME = "%Y%m%dT%H%M%SZ"  # time in a file name


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _script() -> Any:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def is_known(revision: str) -> bool:
    """Return whether this program has the migration of the revision."""
    return any(script.revision == revision for script in _script().walk_revisions())


def migrate(engine: Engine, target: str = HEAD, *, clock: Clock = system_clock) -> Path | None:
    """Migrate the schema to the revision ``target``.

    Returns:
        The backup that was written first. None for PostgreSQL, and for an empty database.

    Raises:
        DatabaseError: The migration failed. The database is unchanged.
    """
    try:
        backup_path = None
        if engine.dialect.name == "sqlite" and version(engine) is not None:
            backup_path = _backup_before(engine, clock)
            _log.info("backup before the migration: %s", backup_path)
        with engine.connect().execution_options(certmgr_write=True) as conn:
            if conn.dialect.name == "sqlite":
                # The pragma has no effect within a transaction.
                raw = conn.connection.dbapi_connection
                raw.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
            with conn.begin():
                # Two programs that start at the same time must not both migrate.
                if conn.dialect.name == "postgresql":
                    conn.execute(text("SELECT pg_advisory_xact_lock(7301001)"))
                _run(conn, target)
                if conn.dialect.name == "sqlite" and (
                    violation := conn.exec_driver_sql("PRAGMA foreign_key_check").first()
                ):
                    raise DatabaseError(
                        "The migration was rolled back",
                        f"rows of {violation[0]} would refer to missing rows",
                        "Report the error with this message.",
                    )
        return backup_path
    except (exc.OperationalError, exc.DatabaseError) as error:
        raise database_error(error.orig or error, engine.url) from error


def _run(conn: Connection, target: str) -> None:
    from alembic.runtime.environment import EnvironmentContext

    script = _script()

    def upgrade(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs(target, revision)

    with EnvironmentContext(_config(), script, fn=upgrade) as env:
        env.configure(connection=conn, transactional_ddl=False, render_as_batch=True)
        env.run_migrations()


def _backup_before(engine: Engine, clock: Clock) -> Path:
    path = Path(str(engine.url.database))
    # The name contains the revision, so that several upgrades keep several backups.
    target = path.with_name(f"{path.name}.before-{HEAD}-{clock():{FILE_TIME}}")
    copy_sqlite(path, target)
    with closing(sqlite_module().connect(target)) as conn:
        if conn.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise DatabaseError(
                f"The database {path} is damaged",
                "",
                "Restore a backup: certmgr database restore FILE.",
            )
    return target


def copy_sqlite(source: Path, target: Path, *, overwrite: bool = True) -> None:
    """Copy an SQLite database that may be in use.

    The copy goes to a temporary file next to ``target``, is synced to disk, and is then renamed.
    Without ``overwrite``, an existing name (also a link) is an error.
    """
    module = sqlite_module()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    os.close(descriptor)
    try:
        # Absolute: SQLite takes names such as :memory: and file:x for something else.
        path = source.absolute()
        with closing(module.connect(path)) as original, closing(module.connect(name)) as copy:
            original.backup(copy)
            # The copy must be one file, without a write-ahead log next to it.
            copy.execute("PRAGMA journal_mode=DELETE")
        with open(name, "rb") as file:  # noqa: PTH123
            # The rename must not become durable before the content.
            os.fsync(file.fileno())
        if overwrite:
            Path(name).replace(target)
        else:
            rename_new(name, str(target))
        # The new name must survive a power failure too.
        sync_directory(target.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the entries of a folder durable, such as a renamed file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def only_sqlite(engine: Engine, verb: str, tool: str) -> DatabaseError:
    """Return the error of a command that PostgreSQL has a tool for."""
    return DatabaseError(
        f"certmgr does not {verb} {display_url(engine.url)}",
        "PostgreSQL has tools for that",
        f"Use {tool}.",
    )


def backup(engine: Engine, target: Path) -> None:
    """Write a copy of the SQLite database to a new file with mode 0600.

    Raises:
        DatabaseError: The file exists, cannot be written, or the database is PostgreSQL.
    """
    if engine.dialect.name != "sqlite":
        raise only_sqlite(engine, "back up", "pg_dump -Fc")
    # An administrator may have only this one backup.
    exists = DatabaseError(
        f"{target} exists already", "a backup is never overwritten", "Name another file."
    )
    if os.path.lexists(target):
        raise exists
    try:
        copy_sqlite(Path(str(engine.url.database)), target, overwrite=False)
    except FileExistsError:
        raise exists from None
    except (OSError, sqlite3.Error, sqlite_module().Error) as error:
        raise DatabaseError(
            f"The backup {target} cannot be written",
            str(error),
            "No file was written. Check the directory and its free space.",
        ) from None


def purge_deleted_data(database: Database) -> None:
    """Remove deleted data from the free pages and the write-ahead log of an SQLite file.

    It is called after the erasure of a client. PostgreSQL removes deleted rows by its VACUUM.
    """
    if database.engine.dialect.name != "sqlite":
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        raw: Any = conn.connection.dbapi_connection
        # VACUUM cannot run within a transaction.
        raw.rollback()
        raw.execute("VACUUM")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
