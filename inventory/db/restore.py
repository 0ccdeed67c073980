"""Restore a backup of an SQLite database.

The old database is kept under another name before anything of it is replaced.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from inventory.clock import Clock, system_clock
from inventory.db.database import prepare_file, sqlite_module
from inventory.db.foreign_schema import foreign_parts_of_sqlite
from inventory.db.locks import file_lock
from inventory.db.maintenance import FILE_TIME, copy_sqlite, is_known, only_sqlite, sync_directory
from inventory.errors import DatabaseError, DatabaseVersion
from inventory.text import printable

_log = logging.getLogger(__name__)


def require_sqlite(engine: Engine) -> None:
    """Refuse a database that PostgreSQL has tools for, before a person is asked anything.

    Raises:
        DatabaseError: It is not SQLite.
    """
    if engine.dialect.name != "sqlite":
        raise only_sqlite(engine, "restore", "pg_restore")


def restore_backup(engine: Engine, source: Path, *, clock: Clock = system_clock) -> Path | None:
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
    require_sqlite(engine)
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
            kept = _replace(target, source, clock)
        except (OSError, sqlite3.Error, sqlite_module().Error) as error:
            raise DatabaseError(
                f"{target} cannot be replaced",
                str(error),
                "The previous database was kept, at its path or next to it.",
            ) from None
    _log.info("%s restored from %s; the previous database is %s", target, source, kept or "empty")
    return kept


def _check_backup(source: Path) -> None:
    module = sqlite_module()
    try:
        with closing(module.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as conn:
            # First, since the integrity check evaluates the expressions of foreign constraints and
            # indexes, which may take any time and memory.
            _refuse_foreign(source, foreign_parts_of_sqlite(conn))
            intact = conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
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
    kept = target.with_name(f"{target.name}.replaced-{clock():{FILE_TIME}}")
    try:
        copy_sqlite(target, kept)
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
        copy_sqlite(source, staged)
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
    copy_sqlite(source, restored)
    _mark(restored, source)
    for suffix in ("", "-wal", "-shm"):
        if (part := target.with_name(target.name + suffix)).exists():
            shutil.copy2(part, kept.with_name(kept.name + suffix))
    sync_directory(target.parent)
    # An old write-ahead log would be applied to the restored database.
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    restored.replace(target)
    sync_directory(target.parent)
