"""Migration, backup, restore and check of a database.

A migration is safe by order: backup, integrity check, then one transaction (BEGIN IMMEDIATE with
foreign keys off, since Alembic's batch mode deletes cascading rows otherwise), foreign-key check,
commit. A kill or a failure at any point leaves the old version whole.
"""

from __future__ import annotations

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
    explain,
    prepare_file,
    shown,
    sqlite_module,
    version,
)
from inventory.db.locks import file_lock
from inventory.errors import DatabaseError, DatabaseVersion

MIGRATIONS = Path(__file__).parent / "migrations"
_STAMP = "%Y%m%dT%H%M%SZ"  # of a file name


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
    return any(script.revision == revision for script in _script().walk_revisions())


def migrate(engine: Engine, target: str = HEAD, *, clock: Clock = system_clock) -> Path | None:
    """Brings the schema to ``target``.

    Returns the backup that was made first (SQLite with content only).
    """
    try:
        backup_path = None
        if engine.dialect.name == "sqlite" and version(engine) is not None:
            backup_path = _backup_before(engine, clock)
        with engine.connect().execution_options(certmgr_write=True) as conn:
            if conn.dialect.name == "sqlite":
                # Outside of a transaction, or the pragma has no effect.
                raw = conn.connection.dbapi_connection
                raw.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
            with conn.begin():
                if conn.dialect.name == "postgresql":
                    conn.execute(text("SELECT pg_advisory_xact_lock(7301001)"))
                _run(conn, target)
                if conn.dialect.name == "sqlite" and (
                    broken := conn.exec_driver_sql("PRAGMA foreign_key_check").first()
                ):
                    raise DatabaseError(
                        "The migration was undone",
                        f"rows of {broken[0]} would point nowhere",
                        "Report this.",
                    )
        return backup_path
    except (exc.OperationalError, exc.DatabaseError) as error:
        raise explain(error.orig or error, engine.url) from error


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
    target = path.with_name(f"{path.name}.before-{HEAD}-{clock():{_STAMP}}")
    _copy_sqlite(path, target)
    with closing(sqlite_module().connect(target)) as conn:
        if conn.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise DatabaseError(
                f"The database {path} is damaged",
                "",
                "Restore a backup: certmgr database restore FILE.",
            )
    return target


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copies a live SQLite database whole: to a temporary file beside ``target``, fsync, then one
    rename.
    """
    module = sqlite_module()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # 0600
    os.close(descriptor)
    try:
        with closing(module.connect(source)) as old, closing(module.connect(name)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")
        with open(name, "rb") as file:  # noqa: PTH123
            os.fsync(file.fileno())
        Path(name).replace(target)
        _sync_directory(target.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_sqlite(engine: Engine, verb: str, tool: str) -> DatabaseError:
    return DatabaseError(
        f"certmgr does not {verb} {shown(engine.url)}",
        "PostgreSQL has its own tools",
        f"Use {tool}.",
    )


def backup(engine: Engine, target: Path) -> None:
    """Writes a whole copy of the SQLite database to ``target`` (0600), which must not exist."""
    if engine.dialect.name != "sqlite":
        raise _not_sqlite(engine, "back up", "pg_dump -Fc")
    if target.exists():
        raise DatabaseError(
            f"{target} exists already", "a backup is never overwritten", "Name another file."
        )
    try:
        _copy_sqlite(Path(str(engine.url.database)), target)
    except (OSError, sqlite3.Error, sqlite_module().Error) as error:
        raise DatabaseError(
            f"The backup {target} cannot be written", str(error), "Nothing was left behind."
        ) from None


def restore(engine: Engine, source: Path, *, clock: Clock = system_clock) -> Path | None:
    """Puts ``source`` in the place of the SQLite database, whatever state that is in.

    What was there is kept beside it; its path is returned. Raises Busy while a scan runs.

    Order: the old one is kept under another name; then the new content goes in within one
    transaction. Only where the old one cannot be read as a database is the file itself replaced, by
    one rename.
    """

    if engine.dialect.name != "sqlite":
        raise _not_sqlite(engine, "restore", "pg_restore")
    if not source.is_file():
        raise DatabaseError(
            f"{source} is not a file", "", "Name a file that certmgr database backup wrote."
        )
    target = Path(str(engine.url.database))
    _check_backup(source)
    prepare_file(target)
    with file_lock(target):
        try:
            return _replace(target, source, clock)
        except (OSError, sqlite3.Error, sqlite_module().Error) as error:
            raise DatabaseError(
                f"{target} cannot be replaced",
                str(error),
                "What was there is still there, or beside it.",
            ) from None


def _check_backup(source: Path) -> None:
    module = sqlite_module()
    try:
        with closing(module.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as conn:
            good = conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    except module.Error as error:
        raise DatabaseError(
            f"{source} is not a backup of certmgr", str(error), "Nothing was changed."
        ) from None
    if not good or row is None:
        raise DatabaseError(
            f"{source} is damaged", "its integrity check failed", "Nothing was changed."
        )
    if not is_known(row[0]):
        raise DatabaseVersion(
            f"{source} belongs to a newer certmgr",
            f"its version is {row[0]}",
            "Nothing was changed.",
        )


def _replace(target: Path, source: Path, clock: Clock) -> Path | None:
    if not target.stat().st_size:
        _pour(source, target)
        return None
    kept = target.with_name(f"{target.name}.replaced-{clock():{_STAMP}}")
    try:
        _copy_sqlite(target, kept)
        _pour(source, target)
    except sqlite_module().DatabaseError as error:
        if isinstance(error, sqlite_module().OperationalError) and "lock" in str(error):
            raise
        _replace_damaged(target, source, kept)
    return kept


def _pour(source: Path, target: Path) -> None:
    """The backup API writes in one transaction of the target: a kill leaves the old or the new."""
    module = sqlite_module()
    doubted = target.with_name(f".{target.name}.restoring")
    try:
        # What is not known any more is marked in a copy first: a death after the content came in
        # must not leave a queue that is sent again.
        _copy_sqlite(source, doubted)
        with closing(module.connect(doubted)) as copy:
            _unsure(copy)
        with closing(module.connect(doubted)) as old, closing(module.connect(target)) as new:
            old.backup(new)
    finally:
        doubted.unlink(missing_ok=True)


def _unsure(connection: Any) -> None:
    """Notices queued when the backup was made may have been sent since: a person decides."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'notice'").fetchone():
        connection.execute(
            "UPDATE notice SET state = 'unknown', token = NULL, error = 'restored from a backup: it"
            " may have been sent since' WHERE state IN ('queued', 'leased', 'sending')"
        )
        connection.commit()


def _replace_damaged(target: Path, source: Path, kept: Path) -> None:
    """What cannot be read as a database is kept byte by byte with what belongs to it, before
    anything of it is removed.
    """
    fresh = target.with_name(f".{target.name}.restored")
    _copy_sqlite(source, fresh)
    with closing(sqlite_module().connect(fresh)) as connection:
        _unsure(connection)
    for suffix in ("", "-wal", "-shm"):
        if (part := target.with_name(target.name + suffix)).exists():
            shutil.copy2(part, kept.with_name(kept.name + suffix))
    _sync_directory(target.parent)
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    fresh.replace(target)
    _sync_directory(target.parent)


def forget(database: Database) -> None:
    """After an erasure: what was deleted must not stand in free pages of the file.

    PostgreSQL does that with its own VACUUM.
    """
    if database.engine.dialect.name != "sqlite":
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        raw: Any = conn.connection.dbapi_connection
        raw.rollback()
        raw.execute("VACUUM")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def check(database: Database) -> list[str]:
    """What is wrong with the stored data; empty when nothing is."""
    problems = []
    with database.read() as conn:
        if conn.dialect.name == "sqlite":
            result = conn.exec_driver_sql("PRAGMA integrity_check").scalar()
            if result != "ok":
                problems.append(f"integrity: {result}")
            problems += [
                f"{row[0]}: row {row[1]} points nowhere"
                for row in conn.exec_driver_sql("PRAGMA foreign_key_check")
            ]
            path = database.path
            if path and path.stat().st_mode & 0o077:
                problems.append(f"{path} can be read by others: chmod 600 {path}")
        running = (
            conn.execute(text("SELECT count(*) FROM run WHERE state = 'running'")).scalar() or 0
        )
        if running > 1:
            problems.append(
                f"{running} runs are marked as running; the next scan marks the dead ones as"
                " incomplete"
            )
    return problems
