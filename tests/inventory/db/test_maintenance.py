"""Migrating, backing up and restoring databases of both kinds."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import inventory.models.acme_tables  # noqa: F401 - completes the metadata
from inventory.db import maintenance
from inventory.db.database import HEAD, Database, make_engine, prepare_file, version
from inventory.db.opening import open_database
from inventory.errors import DatabaseError, DatabaseVersion
from inventory.models.tables import client, metadata
from inventory.store import clients
from tests.databases import open_sqlite


def test_migrations_create_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []


def make_older(url: str) -> None:
    """Make a database of the first version with a client in it."""
    engine = make_engine(url)
    if engine.dialect.name == "sqlite":
        prepare_file(Path(url))
    maintenance.migrate(engine, "0001")
    with engine.connect().execution_options(certmgr_write=True) as conn, conn.begin():
        conn.execute(client.insert().values(number="1", name="One", created_at=1))
    engine.dispose()


def version_of(url: object) -> str | None:
    engine = make_engine(str(url))
    try:
        return version(engine)
    finally:
        engine.dispose()


def test_older_sqlite_database_is_migrated_after_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    make_older(str(path))
    with closing(open_database(str(path))) as opened:
        assert version(opened.engine) == HEAD
        with opened.read() as conn:
            assert clients.find(conn, "1")["name"] == "One"
    (backup,) = tmp_path.glob("old.db.before-*")
    assert version_of(backup) == "0001"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_older_postgresql_database_is_migrated_only_on_command(
    new_postgres: Callable[[], str],
) -> None:
    url = new_postgres()
    make_older(url)
    with pytest.raises(DatabaseVersion, match="certmgr database upgrade"):
        open_database(url)
    with closing(open_database(url, migrate=True)) as opened, opened.read() as conn:
        assert clients.find(conn, "1")["name"] == "One"


def test_failed_migration_leaves_the_old_version_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    make_older(str(path))
    real = maintenance._run

    def broken(conn: object, target: str) -> None:
        real(conn, target)  # type: ignore[arg-type]
        raise DatabaseError("the power went out")

    monkeypatch.setattr(maintenance, "_run", broken)
    with pytest.raises(DatabaseError):
        open_database(str(path))
    assert version_of(path) == "0001"
    with make_engine(str(path)).connect() as conn:
        assert (
            conn.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'finding'")).scalar()
            == 0
        )


def test_kill_during_the_migration_leaves_the_old_version_whole(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    make_older(str(path))
    program = f"""
        import os, signal
        from inventory.db import maintenance as upkeep
        from inventory.db.opening import open_database
        real = upkeep._run
        def killed(conn, target):
            real(conn, target)
            os.kill(os.getpid(), signal.SIGKILL)
        upkeep._run = killed
        open_database({str(path)!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=Path(__file__).parents[3]
    )
    assert done.returncode == -signal.SIGKILL
    assert version_of(path) == "0001"
    open_database(str(path)).close()
    assert version_of(path) == HEAD


def test_restore_brings_back_the_backup_and_keeps_the_replaced_database(tmp_path: Path) -> None:
    opened = open_sqlite(tmp_path / "a.db")
    with opened.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    maintenance.backup(opened.engine, tmp_path / "copy.db")
    with pytest.raises(DatabaseError, match="never overwritten"):
        maintenance.backup(opened.engine, tmp_path / "copy.db")
    with opened.write() as tx:
        clients.add(tx, {"number": "2", "name": "Two"})
    kept = maintenance.restore(opened.engine, tmp_path / "copy.db")
    assert kept is not None
    with open_sqlite(tmp_path / "a.db").read() as conn:
        assert [r["number"] for r in clients.listing(conn)] == ["1"]
    with open_sqlite(kept).read() as conn:
        assert [r["number"] for r in clients.listing(conn)] == ["1", "2"]
    assert maintenance.check(opened) == []


def test_restore_of_an_invalid_file_changes_nothing(tmp_path: Path) -> None:
    opened = open_sqlite(tmp_path / "a.db")
    with opened.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    with pytest.raises(DatabaseError):
        maintenance.restore(opened.engine, tmp_path / "junk")
    with opened.read() as conn:
        assert len(clients.listing(conn)) == 1
