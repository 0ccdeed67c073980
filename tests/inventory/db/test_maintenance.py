"""Migration, backup and restore of both kinds of database."""

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
from sqlalchemy import insert, select, text

from inventory.db import integrity, maintenance
from inventory.db.database import HEAD, Database, make_engine, prepare_file, version
from inventory.db.opening import open_database
from inventory.db.restore import restore_backup
from inventory.errors import DatabaseError, DatabaseVersion
from inventory.models import Client, StoredAnnouncement, Ticket
from inventory.models.schema import metadata
from inventory.store import clients
from tests.databases import open_sqlite


def test_migrations_create_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []


def make_older(url: str) -> None:
    """Create a database of the first version with a client."""
    engine = make_engine(url)
    if engine.dialect.name == "sqlite":
        prepare_file(Path(url))
    maintenance.migrate(engine, "0001")
    with engine.connect().execution_options(certmgr_write=True) as conn, conn.begin():
        conn.execute(insert(Client).values(number="1", name="One", created_at=1))
    engine.dispose()


def version_of(url: object) -> str | None:
    """Return the revision of a database."""
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
            assert clients.find(conn, "1").name == "One"
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
        assert clients.find(conn, "1").name == "One"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_stored_name_of_the_announcement_template_is_migrated(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = (
        str(tmp_path / "old.db") if kind == "sqlite" else request.getfixturevalue("new_postgres")()
    )
    engine = make_engine(url)
    if kind == "sqlite":
        prepare_file(Path(url))
    maintenance.migrate(engine, "0006")
    key = "broadcast:bulletin:tls13:7"
    with engine.connect().execution_options(certmgr_write=True) as conn, conn.begin():
        announcement = {"deadline": "tls13", "by": "Ada", "created_at": 1}
        for template in ("bulletin", "own"):
            conn.execute(insert(StoredAnnouncement).values(template=template, **announcement))
        ticket = {"kind": "broadcast", "opened_at": 1}
        for reference, name, cause in (
            ("C-1", key, "broadcast tls13 bulletin"),
            ("C-2", "broadcast:own:tls13:7", "broadcast tls13 own"),
            ("C-3", "fault:1:expired:7", "certificate bulletin"),
        ):
            values = {"reference": reference, "key": name, "cause": cause}
            conn.execute(insert(Ticket).values(**values, **ticket))
    maintenance.migrate(engine)
    with engine.connect() as conn:
        names = list(conn.scalars(select(StoredAnnouncement.template).order_by(text("id"))))
        tickets = conn.execute(select(Ticket.key, Ticket.cause).order_by(Ticket.id)).all()
    engine.dispose()
    assert names == ["announcement", "own"]
    assert [tuple(t) for t in tickets] == [
        ("broadcast:announcement:tls13:7", "broadcast tls13 announcement"),
        ("broadcast:own:tls13:7", "broadcast tls13 own"),
        ("fault:1:expired:7", "certificate bulletin"),
    ]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_state_of_a_verification_is_migrated_from_its_text(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = (
        str(tmp_path / "old.db") if kind == "sqlite" else request.getfixturevalue("new_postgres")()
    )
    engine = make_engine(url)
    if kind == "sqlite":
        prepare_file(Path(url))
    maintenance.migrate(engine, "0007")
    proofs = (
        (None, None, None),
        ("verified live at 1 address(es): 192.0.2.1", 5, "live"),
        ("served at 1 address(es), but not at: 192.0.2.2", None, "partial"),
        ("not served at any address; another certificate at: 192.0.2.1", None, "absent"),
        ("no place was probed: its names cover no endpoint of the inventory", None, None),
        ("it could not be determined: 192.0.2.1", None, "unknown"),
    )
    with engine.connect().execution_options(certmgr_write=True) as conn, conn.begin():
        conn.execute(text("INSERT INTO client (number, name, created_at) VALUES ('1', 'One', 1)"))
        conn.execute(
            text(
                "INSERT INTO acme_account (name, ca, directory, key_reference, created_at)"
                " VALUES ('main', 'test', 'https://ca.test/dir', 'file:key', 1)"
            )
        )
        for number, (proof, proven_at, _) in enumerate(proofs):
            conn.execute(
                text(
                    "INSERT INTO lineage (name, client_id, account_id, key_type, solver, proof,"
                    " proven_at, created_at) SELECT :name, client.id, acme_account.id, 'ec-p256',"
                    " 'web', :proof, :proven_at, 1 FROM client, acme_account"
                ),
                {"name": f"l{number}", "proof": proof, "proven_at": proven_at},
            )
    maintenance.migrate(engine)
    with engine.connect() as conn:
        states = list(conn.scalars(text("SELECT verification FROM lineage ORDER BY name")))
    engine.dispose()
    assert states == [state for _, _, state in proofs]


def test_failed_migration_leaves_the_old_version_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    make_older(str(path))
    original_run = maintenance._run

    def failing_run(conn: object, target: str) -> None:
        original_run(conn, target)  # type: ignore[arg-type]
        raise DatabaseError("the power went out")

    monkeypatch.setattr(maintenance, "_run", failing_run)
    with pytest.raises(DatabaseError):
        open_database(str(path))
    assert version_of(path) == "0001"
    with make_engine(str(path)).connect() as conn:
        assert (
            conn.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'finding'")).scalar()
            == 0
        )


def test_kill_during_the_migration_leaves_the_old_version_intact(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    make_older(str(path))
    program = f"""
        import os, signal
        from inventory.db import integrity, maintenance
        from inventory.db.opening import open_database
        original_run = maintenance._run
        def killed(conn, target):
            original_run(conn, target)
            os.kill(os.getpid(), signal.SIGKILL)
        maintenance._run = killed
        open_database({str(path)!r})
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=Path(__file__).parents[3]
    )
    assert process.returncode == -signal.SIGKILL
    assert version_of(path) == "0001"
    open_database(str(path)).close()
    assert version_of(path) == HEAD


def test_restore_replaces_the_database_and_keeps_the_old_one(tmp_path: Path) -> None:
    opened = open_sqlite(tmp_path / "a.db")
    with opened.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    maintenance.backup(opened.engine, tmp_path / "copy.db")
    with pytest.raises(DatabaseError, match="never overwritten"):
        maintenance.backup(opened.engine, tmp_path / "copy.db")
    with opened.write() as tx:
        clients.add(tx, {"number": "2", "name": "Two"})
    kept = restore_backup(opened.engine, tmp_path / "copy.db")
    assert kept is not None
    with open_sqlite(tmp_path / "a.db").read() as conn:
        assert [r.number for r in clients.listing(conn)] == ["1"]
    with open_sqlite(kept).read() as conn:
        assert [r.number for r in clients.listing(conn)] == ["1", "2"]
    assert integrity.check(opened) == []


def test_restore_of_an_invalid_file_changes_nothing(tmp_path: Path) -> None:
    opened = open_sqlite(tmp_path / "a.db")
    with opened.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    with pytest.raises(DatabaseError):
        restore_backup(opened.engine, tmp_path / "junk")
    with opened.read() as conn:
        assert len(clients.listing(conn)) == 1
