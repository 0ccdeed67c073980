"""Opening and writing of both kinds of database."""

from __future__ import annotations

import os
import pwd
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from inventory.db import audit_chain
from inventory.db import database as database_module
from inventory.db.database import Database, default_actor, display_url, make_engine, version
from inventory.db.opening import open_database
from inventory.errors import DatabaseError, DatabaseVersion
from inventory.models import AuditEntry, Client
from inventory.store import audit_log, bulk, clients
from tests.campaign import wait_until
from tests.certmgr.net.scripted import scripted
from tests.databases import open_sqlite


def test_database_of_a_newer_version_is_not_changed(url: str) -> None:
    with closing(open_database(url)) as opened, opened.write() as tx:
        tx.conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseVersion, match="newer certmgr"):
        open_database(url)
    engine = make_engine(url)
    assert version(engine) == "9999"
    engine.dispose()


def test_sqlite_commits_wait_for_the_disk_and_erased_rows_are_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what speeds up the engines of all other tests (tests/databases.py)."""
    monkeypatch.setattr(database_module, "create_engine", create_engine)
    with closing(open_sqlite(tmp_path / "inventory.db")) as opened, opened.read() as conn:
        modes = [
            conn.scalar(text(f"PRAGMA {name}"))
            for name in ("synchronous", "journal_mode", "foreign_keys", "secure_delete")
        ]
    assert modes == [2, "wal", 1, 1]  # 2 is FULL


def test_refused_postgresql_database_keeps_no_connection(new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    with pytest.raises(DatabaseVersion, match="certmgr database upgrade"):
        open_database(url)
    name = url.rpartition("/")[2]
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = :n AND pid <> pg_backend_pid()"
    )
    # One transaction sees one snapshot of pg_stat_activity, so each query is a transaction.
    engine = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        # The server ends a process a moment after its client has gone.
        wait_until(
            lambda: conn.execute(others, {"n": name}).scalar() == 0, "the end of the connection"
        )
    engine.dispose()


@pytest.mark.parametrize(("option", "expected"), [("", "10"), ("?connect_timeout=7", "7")])
def test_connection_to_postgresql_has_time_limits_that_the_url_may_change(
    new_postgres: Callable[[], str], option: str, expected: str
) -> None:
    engine = make_engine(new_postgres() + option)
    with engine.connect() as conn:
        driver = conn.connection.driver_connection
        assert driver is not None
        options = driver.info.get_parameters()
    engine.dispose()
    assert options["connect_timeout"] == expected
    assert options["tcp_user_timeout"] == "60000"


def test_server_that_accepts_and_stays_silent_is_an_error_and_no_wait() -> None:
    with scripted(b"", at_once=False) as server:
        url = f"postgresql://user:secret@127.0.0.1:{server.port}/certmgr?connect_timeout=2"
        with pytest.raises(DatabaseError, match="cannot be used") as error:
            open_database(url)
    assert "secret" not in str(error.value)


def test_concurrent_writers_lose_no_update(database: Database) -> None:
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "0"})

    def count() -> None:
        for _ in range(25):
            with database.write() as tx:
                locked = select(Client.name).where(Client.number == "1").with_for_update()
                value = int(tx.conn.execute(locked).scalar() or 0)
                tx.conn.execute(
                    update(Client).where(Client.number == "1").values(name=str(value + 1))
                )

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as conn:
        assert conn.execute(select(Client.name)).scalar() == "100"


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
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


def test_change_is_audited_in_its_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        raise RuntimeError
    with database.read() as conn:
        assert conn.execute(select(AuditEntry)).all() == []
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    with database.read() as conn:
        (entry,) = conn.execute(select(AuditEntry.actor, AuditEntry.action, AuditEntry.kind)).all()
    assert tuple(entry) == ("tester", "add", "client")


def test_actor_is_the_real_user_and_not_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pwd.getpwuid(os.getuid()).pw_name
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "someone-else")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert default_actor() == real
    monkeypatch.setenv("SUDO_USER", "ada\n\x1b[2J")
    assert default_actor().startswith(f"{real} (sudo by ada")
    assert default_actor().isprintable()
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert default_actor().startswith("uid 4000000000 (sudo by ada")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3cretword@db.example/x",
        "postgresql://ada@db.example/x?password=s3cretword",
        "postgresql://ada@db.example/x?sslpassword=s3cretword&sslmode=require",
        "postgresql://db.example/x?user=ada&passfile=/s3cretword",
    ],
)
def test_shown_url_has_no_password(url: str) -> None:
    shown = display_url(make_url(url))
    assert "s3cretword" not in shown
    assert "db.example/x" in shown


def test_violated_constraint_of_many_rows_is_the_error_of_a_single_insert(
    database: Database,
) -> None:
    """PostgreSQL gets many rows by COPY, whose errors come from the driver."""
    row = {"number": "1", "name": "One", "created_at": 1, "state": "active"}
    columns = bulk.columns("client")
    new = [dict.fromkeys(columns) | row for _ in range(2)]
    with pytest.raises(IntegrityError), database.write() as tx:
        bulk.insert_rows(tx, "client", new)


def test_many_entries_of_the_audit_log_follow_each_other(database: Database) -> None:
    with database.write() as tx:
        tx.audit_many("import", "client", [(n, {"label": "ä\t\\N\n"}) for n in range(200)])
    with database.read() as conn:
        assert audit_chain.verify_chain(audit_log.entries(conn))[0] is None
        assert len(list(audit_log.entries(conn))) == 200
