"""Migration, backup, restore and integrity check of a database.

A migration has these steps: backup, integrity check of the backup, one transaction with all
changes, check of the foreign keys, commit. Foreign keys are off during the transaction, because
Alembic's batch mode would delete dependent rows. A failure or a kill leaves the old version.
"""

from __future__ import annotations

import logging
import os
import shutil
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
    prepare_file,
    sqlite_module,
    version,
)
from inventory.db.foreign_schema import foreign_parts_of_postgresql, foreign_parts_of_sqlite
from inventory.db.locks import file_lock
from inventory.errors import DatabaseError, DatabaseVersion
from inventory.files import rename_new
from inventory.text import printable

_log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
_FILE_TIME = "%Y%m%dT%H%M%SZ"  # time in a file name


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
    target = path.with_name(f"{path.name}.before-{HEAD}-{clock():{_FILE_TIME}}")
    _copy_sqlite(path, target)
    with closing(sqlite_module().connect(target)) as conn:
        if conn.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise DatabaseError(
                f"The database {path} is damaged",
                "",
                "Restore a backup: certmgr database restore FILE.",
            )
    return target


def _copy_sqlite(source: Path, target: Path, *, overwrite: bool = True) -> None:
    """Copy an SQLite database that may be in use.

    The copy goes to a temporary file next to ``target``, is synced to disk, and is then renamed.
    Without ``overwrite``, an existing name (also a link) is an error.
    """
    module = sqlite_module()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    os.close(descriptor)
    try:
        with closing(module.connect(source)) as original, closing(module.connect(name)) as copy:
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
        _sync_directory(target.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _only_sqlite(engine: Engine, verb: str, tool: str) -> DatabaseError:
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
        raise _only_sqlite(engine, "back up", "pg_dump -Fc")
    # An administrator may have only this one backup.
    exists = DatabaseError(
        f"{target} exists already", "a backup is never overwritten", "Name another file."
    )
    if os.path.lexists(target):
        raise exists
    try:
        _copy_sqlite(Path(str(engine.url.database)), target, overwrite=False)
    except FileExistsError:
        raise exists from None
    except (OSError, sqlite3.Error, sqlite_module().Error) as error:
        raise DatabaseError(
            f"The backup {target} cannot be written",
            str(error),
            "No file was written. Check the directory and its free space.",
        ) from None


def restore(engine: Engine, source: Path, *, clock: Clock = system_clock) -> Path | None:
    """Replace the SQLite database by a backup, even if the database is damaged.

    First the old database is copied to another name. Then its content is replaced in one
    transaction. Only if the old file cannot be read as a database, the file itself is replaced, by
    one rename.

    Args:
        engine: Engine of the database to replace.
        source: The backup.
        clock: Time in the name of the kept copy.

    Returns:
        The copy of the old database; None if that was empty.

    Raises:
        DatabaseError: The backup is unusable, or the database cannot be replaced.
        Busy: A scan is running.
    """
    if engine.dialect.name != "sqlite":
        raise _only_sqlite(engine, "restore", "pg_restore")
    # SQLite opens the file itself, so that a pipe or device must be refused before.
    if not source.is_file():
        raise DatabaseError(
            f"{source} is not a file", "", "Name a file that certmgr database backup wrote."
        )
    target = Path(str(engine.url.database))
    # An unusable backup must be detected before the database is changed.
    _check_backup(source)
    prepare_file(target)
    with file_lock(target):
        try:
            return _replace(target, source, clock)
        except (OSError, sqlite3.Error, sqlite_module().Error) as error:
            raise DatabaseError(
                f"{target} cannot be replaced",
                str(error),
                "The previous database was kept, at its path or next to it.",
            ) from None


def _check_backup(source: Path) -> None:
    module = sqlite_module()
    try:
        with closing(module.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as conn:
            intact = conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            foreign = foreign_parts_of_sqlite(conn)
            row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    except module.Error as error:
        raise DatabaseError(
            f"{source} is not a backup of certmgr",
            str(error),
            "Name another backup. Nothing was changed.",
        ) from None
    if not intact or row is None:
        raise DatabaseError(
            f"{source} is damaged",
            "its integrity check failed",
            "Name another backup. Nothing was changed.",
        )
    _refuse_foreign(source, foreign)
    if not is_known(row[0]):
        raise DatabaseVersion(
            f"{source} belongs to a newer certmgr",
            f"its version is {row[0]}",
            "Install the newer certmgr. Nothing was changed.",
        )


def _refuse_foreign(source: Path, foreign: list[str]) -> None:
    """Refuse a backup with parts that would act with the rights of the administrator."""
    if foreign:
        raise DatabaseError(
            f"{source} is not a backup of certmgr",
            f"it contains {printable(', '.join(foreign[:5]), 300)}, which certmgr does not create",
            "Name a backup from a trusted place. Nothing was changed.",
        )


def _mark(staged: Path, source: Path) -> None:
    """Check the copy once more, and mark its queued notices.

    The file of the backup may have been replaced since the first check.
    """
    with closing(sqlite_module().connect(staged)) as copy:
        _refuse_foreign(source, foreign_parts_of_sqlite(copy))
        _mark_notices_unknown(copy)


def _replace(target: Path, source: Path, clock: Clock) -> Path | None:
    # A new file has no content that could be kept.
    if not target.stat().st_size:
        _overwrite(source, target)
        return None
    kept = target.with_name(f"{target.name}.replaced-{clock():{_FILE_TIME}}")
    try:
        _copy_sqlite(target, kept)
        _overwrite(source, target)
    except sqlite_module().DatabaseError as error:
        # A locked database is not damaged.
        if isinstance(error, sqlite_module().OperationalError) and "lock" in str(error):
            raise
        _replace_damaged(target, source, kept)
    return kept


def _overwrite(source: Path, target: Path) -> None:
    """Replace the content of the database by that of the backup.

    SQLite's backup API writes in one transaction of the target. After a kill, the target has either
    the old or the new content.
    """
    module = sqlite_module()
    staged = target.with_name(f".{target.name}.restoring")
    try:
        # Queued notices are marked in a copy first. If the process died after the content was
        # replaced, notices that were sent since the backup would otherwise be sent again.
        _copy_sqlite(source, staged)
        _mark(staged, source)
        with closing(module.connect(staged)) as new, closing(module.connect(target)) as current:
            new.backup(current)
    finally:
        staged.unlink(missing_ok=True)


def _mark_notices_unknown(connection: Any) -> None:
    """Mark notices that were queued at the time of the backup as unknown.

    They may have been sent since, so an administrator decides about them.
    """
    # Backups of older versions have no notices.
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'notice'").fetchone():
        connection.execute(
            "UPDATE notice SET state = 'unknown', token = NULL, error = 'restored from a backup: it"
            " may have been sent since' WHERE state IN ('queued', 'leased', 'sending')"
        )
        connection.commit()


def _replace_damaged(target: Path, source: Path, kept: Path) -> None:
    """Replace a file that cannot be read as a database.

    The damaged file and its write-ahead log are copied byte by byte before they are removed.
    """
    restored = target.with_name(f".{target.name}.restored")
    _copy_sqlite(source, restored)
    _mark(restored, source)
    for suffix in ("", "-wal", "-shm"):
        if (part := target.with_name(target.name + suffix)).exists():
            shutil.copy2(part, kept.with_name(kept.name + suffix))
    _sync_directory(target.parent)
    # An old write-ahead log would be applied to the restored database.
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    restored.replace(target)
    _sync_directory(target.parent)


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


def check(database: Database) -> list[str]:
    """Return the problems of the stored data; an empty list if there are none."""
    problems = []
    with database.read() as conn:
        if conn.dialect.name == "sqlite":
            result = conn.exec_driver_sql("PRAGMA integrity_check").scalar()
            if result != "ok":
                problems.append(f"integrity: {result}")
            problems += [
                f"{row[0]}: row {row[1]} refers to a missing row"
                for row in conn.exec_driver_sql("PRAGMA foreign_key_check")
            ]
            foreign = foreign_parts_of_sqlite(conn.connection.dbapi_connection)
            # The database contains personal data, so only its owner may read it.
            path = database.path
            if path and path.stat().st_mode & 0o077:
                problems.append(f"{path} can be read by other users: chmod 600 {path}")
        else:
            foreign = foreign_parts_of_postgresql(conn)
        problems += [
            f"{part} was not created by certmgr, and may change what it stores" for part in foreign
        ]
        running = (
            conn.execute(text("SELECT count(*) FROM run WHERE state = 'running'")).scalar() or 0
        )
        # One running scan is normal, and the lock prevents a second one.
        if running > 1:
            problems.append(
                f"{running} scan runs are marked as running; the next scan marks those that died as"
                " incomplete"
            )
    return problems
