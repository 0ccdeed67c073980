"""Opening, migrating, backing up and restoring; both kinds of database."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

import inventory.tables_acme  # noqa: F401 - completes the metadata
from inventory import upkeep
from inventory.database import HEAD, Database, make_engine, open_database, prepare_file, version
from inventory.errors import DatabaseError, DatabaseVersion
from inventory.store import clients
from inventory.tables import audit, client, metadata


def test_the_migrations_make_what_the_tables_say(database: Database) -> None:
    with database.engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []


def _older(url: str) -> None:
    """A database of the first version, with a client in it."""
    engine = make_engine(url)
    if engine.dialect.name == "sqlite":
        prepare_file(Path(url))
    upkeep.migrate(engine, "0001")
    with engine.connect().execution_options(certmgr_write=True) as conn, conn.begin():
        conn.execute(client.insert().values(number="1", name="One", created_at=1))
    engine.dispose()


def test_an_older_sqlite_database_is_migrated_after_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    _older(str(path))
    opened = open_database(str(path))
    assert version(opened.engine) == HEAD
    with opened.read() as conn:
        assert clients.find(conn, "1")["name"] == "One"
    (backup,) = tmp_path.glob("old.db.before-*")
    assert version(make_engine(str(backup))) == "0001"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_an_older_postgresql_database_is_migrated_only_on_command(new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    _older(url)
    with pytest.raises(DatabaseVersion, match="certmgr database upgrade"):
        open_database(url)
    opened = open_database(url, migrate=True)
    with opened.read() as conn:
        assert clients.find(conn, "1")["name"] == "One"


def test_a_migration_that_fails_leaves_the_old_version_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.db"
    _older(str(path))
    real = upkeep._run

    def broken(conn: object, target: str) -> None:
        real(conn, target)  # type: ignore[arg-type]
        raise DatabaseError("the power went out")

    monkeypatch.setattr(upkeep, "_run", broken)
    with pytest.raises(DatabaseError):
        open_database(str(path))
    engine = make_engine(str(path))
    assert version(engine) == "0001"
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'finding'")).scalar() == 0


def test_a_kill_in_the_migration_leaves_the_old_version_whole(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    _older(str(path))
    program = f"""
        import os, signal
        from inventory import upkeep
        from inventory.database import open_database
        real = upkeep._run
        def killed(conn, target):
            real(conn, target)
            os.kill(os.getpid(), signal.SIGKILL)
        upkeep._run = killed
        open_database({str(path)!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert version(make_engine(str(path))) == "0001"
    assert version(open_database(str(path)).engine) == HEAD


def test_a_database_of_a_newer_version_is_left_alone(empty_url: str) -> None:
    opened = open_database(empty_url, migrate=True)
    with opened.write() as tx:
        tx.conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseVersion, match="newer certmgr"):
        open_database(empty_url)
    assert version(make_engine(empty_url)) == "9999"


def test_concurrent_writers_lose_nothing(database: Database) -> None:
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "0"})

    def count() -> None:
        for _ in range(25):
            with database.write() as tx:
                locked = select(client.c.name).where(client.c.number == "1").with_for_update()
                value = int(tx.conn.execute(locked).scalar() or 0)
                tx.conn.execute(client.update().where(client.c.number == "1").values(name=str(value + 1)))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as conn:
        assert conn.execute(select(client.c.name)).scalar() == "100"


def test_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        opened = open_database(str(tmp_path / "new" / "inventory.db"))
        with opened.write() as tx:
            clients.add(tx, {"number": "1", "name": "One"})
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "new").iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_backup_and_restore(tmp_path: Path) -> None:
    opened = open_database(str(tmp_path / "a.db"))
    with opened.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    upkeep.backup(opened.engine, tmp_path / "copy.db")
    with pytest.raises(DatabaseError, match="never overwritten"):
        upkeep.backup(opened.engine, tmp_path / "copy.db")
    with opened.write() as tx:
        clients.add(tx, {"number": "2", "name": "Two"})
    kept = upkeep.restore(opened.engine, tmp_path / "copy.db")
    with open_database(str(tmp_path / "a.db")).read() as conn:
        assert [r["number"] for r in clients.listing(conn)] == ["1"]
    with open_database(str(kept)).read() as conn:
        assert [r["number"] for r in clients.listing(conn)] == ["1", "2"]
    assert upkeep.check(opened) == []


def test_restoring_what_is_no_backup_changes_nothing(tmp_path: Path) -> None:
    opened = open_database(str(tmp_path / "a.db"))
    with opened.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    with pytest.raises(DatabaseError):
        upkeep.restore(opened.engine, tmp_path / "junk")
    with opened.read() as conn:
        assert len(clients.listing(conn)) == 1


def test_every_change_is_audited_in_its_own_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        raise RuntimeError
    with database.read() as conn:
        assert conn.execute(select(audit)).all() == []
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    with database.read() as conn:
        (entry,) = conn.execute(select(audit.c.actor, audit.c.action, audit.c.kind)).all()
    assert tuple(entry) == ("tester", "add", "client")
