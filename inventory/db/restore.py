"""Restore a backup of an SQLite database.

The old database is kept under another name before anything of it is replaced.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Engine

from inventory.clock import Clock, system_clock
from inventory.db.database import prepare_file, sqlite_module
from inventory.db.foreign_schema import foreign_parts_of_sqlite
from inventory.db.locks import file_lock
from inventory.db.maintenance import FILE_TIME, copy_sqlite, is_known, only_sqlite, sync_directory
from inventory.db.stored_values import wrong_values
from inventory.errors import DatabaseError, DatabaseVersion
from inventory.files import open_regular
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
    transaction. If the old file cannot be read as a database, the file is replaced by one rename.

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
    target = Path(str(engine.url.database)).absolute()
    try:
        with _staged(source, target) as staged:
            # An unusable backup must be detected before the database is changed.
            _check_backup(staged, source)
            prepare_file(target)
            with file_lock(target):
                kept = _replace(target, staged, clock)
    except (OSError, sqlite3.Error, sqlite_module().Error) as error:
        raise DatabaseError(
            f"{target} cannot be replaced",
            str(error),
            "The previous database was kept, at its path or next to it.",
        ) from None
    _log.info("%s restored from %s; the previous database is %s", target, source, kept or "empty")
    return kept


@contextmanager
def _staged(source: Path, target: Path) -> Iterator[Path]:
    """Copy the backup byte by byte to a private folder next to the database.

    SQLite never opens the backup in its own folder: it would apply a write-ahead log or a journal
    of the same name, which any user can place in a folder such as /tmp, and the file may be
    replaced after it was checked.

    Raises:
        DatabaseError: The backup is not a file, or has such a log next to it.
    """
    if not source.is_file():
        raise DatabaseError(
            f"{source} is not a file", "", "Name a file that certmgr database backup wrote."
        )
    original = source.resolve()
    for log in (original.with_name(original.name + s) for s in ("-wal", "-journal")):
        # Without it, a copied database may lack its last changes, so an administrator decides.
        if log.exists() and log.stat().st_size:
            raise DatabaseError(
                f"{source} is not one complete file",
                f"{log.name} next to it has changes that it lacks, or those of another database",
                f"If both were copied together, merge them: sqlite3 {source} VACUUM. Otherwise"
                f" remove {log}. Nothing was changed.",
            )
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.restoring-") as own:
        copy = Path(own) / "backup.db"
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file, open_regular(source) as backup:
            _copy(backup, file, source, target.parent)
        yield copy


def _copy(backup: BinaryIO, copy: BinaryIO, source: Path, folder: Path) -> None:
    """Copy a backup that another user may change meanwhile.

    Raises:
        DatabaseError: It does not fit into the folder, or it changed.
    """
    left = size = os.fstat(backup.fileno()).st_size
    # A file of holes takes no room where it lies, and the disk of the database would be full.
    if size > (free := shutil.disk_usage(folder).free):
        raise DatabaseError(
            f"{source} cannot be restored",
            f"it has {size:,} bytes, and {folder} has {free:,} left",
            "Make room there, or name another backup. Nothing was changed.",
        )
    while left and (data := backup.read(min(left, 1_048_576))):
        copy.write(data)
        left -= len(data)
    # The copy of a file that grows would never end.
    if left or backup.read(1):
        raise DatabaseError(
            f"{source} changed while it was copied",
            "another program writes to it",
            "Copy it to a folder that only you may write, and name that copy. Nothing was changed.",
        )


def _check_backup(staged: Path, source: Path) -> None:
    module = sqlite_module()
    try:
        with closing(module.connect(staged)) as conn:
            # First, since the integrity check evaluates the expressions of foreign constraints and
            # indexes, which may take any time and memory.
            _refuse_foreign(source, foreign_parts_of_sqlite(conn))
            # The first fault is enough. Pages that are used twice could keep the check busy.
            intact = conn.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
            row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
            # Only an intact file is certain to have a finite number of rows.
            wrong = wrong_values(conn) if intact else []
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
            f"its version is {printable(str(row[0]), 40)}",
            "Install the newer certmgr. Nothing was changed.",
        )
    if wrong:
        raise DatabaseError(
            f"{source} is damaged",
            f"certmgr did not write these values: {printable('; '.join(wrong), 500)}",
            "Name another backup, or correct the values with sqlite3. Nothing was changed.",
        )


def _refuse_foreign(source: Path, foreign: list[str]) -> None:
    """Refuse a backup with parts that would act with the rights of the administrator."""
    if foreign:
        raise DatabaseError(
            f"{source} is not a backup of certmgr",
            f"it contains {printable(', '.join(foreign[:5]), 300)}, which certmgr does not create",
            "Name a backup from a trusted place. Nothing was changed.",
        )


def _replace(target: Path, staged: Path, clock: Clock) -> Path | None:
    # A new file has no content that could be kept.
    if not target.stat().st_size:
        _overwrite(staged, target)
        return None
    kept = target.with_name(f"{target.name}.replaced-{clock():{FILE_TIME}}")
    try:
        copy_sqlite(target, kept)
        _overwrite(staged, target)
    except sqlite_module().DatabaseError as error:
        # A locked database is not damaged.
        if isinstance(error, sqlite_module().OperationalError) and "lock" in str(error):
            raise
        _replace_damaged(target, staged, kept)
    return kept


def _overwrite(staged: Path, target: Path) -> None:
    """Replace the content of the database by that of the backup.

    SQLite's backup API writes in one transaction of the target. After a kill, the target has either
    the old or the new content.
    """
    # Queued notices are marked in the copy first. If the process died after the content was
    # replaced, notices that were sent since the backup would otherwise be sent again.
    module = sqlite_module()
    with closing(module.connect(staged)) as new, closing(module.connect(target)) as current:
        _mark_notices_unknown(new)
        size = current.execute("PRAGMA page_size").fetchone()[0]
        # The API cannot change the page size of a database with a write-ahead log.
        if new.execute("PRAGMA page_size").fetchone()[0] != size:
            new.execute("PRAGMA journal_mode=DELETE")
            new.execute(f"PRAGMA page_size={size}")
            new.execute("VACUUM")
        new.backup(current)


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


def _replace_damaged(target: Path, staged: Path, kept: Path) -> None:
    """Replace a file that cannot be read as a database.

    The damaged file and its write-ahead log are copied byte by byte before they are removed.
    """
    with closing(sqlite_module().connect(staged)) as new:
        _mark_notices_unknown(new)
    restored = target.with_name(f".{target.name}.restored")
    # One file without a log, synced to disk.
    copy_sqlite(staged, restored)
    for suffix in ("", "-wal", "-shm"):
        if (part := target.with_name(target.name + suffix)).exists():
            shutil.copy2(part, kept.with_name(kept.name + suffix))
    sync_directory(target.parent)
    # An old write-ahead log would be applied to the restored database.
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    restored.replace(target)
    sync_directory(target.parent)
