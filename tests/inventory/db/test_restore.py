"""The commands ``certmgr database backup`` and ``restore``: damage, running scans, file names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from certmgr.demo import servers
from certmgr.demo.servers import Server
from inventory.db import maintenance
from inventory.db.database import make_engine, prepare_file, sqlite_module
from inventory.db.foreign_schema import foreign_parts_of_sqlite
from tests.certmgr.scanning import add, running_scan
from tests.databases import open_sqlite
from tests.program import Ran

Runner = Callable[..., Ran]


def test_restore_over_a_damaged_database_keeps_the_damaged_file(
    certmgr: Runner,
    tmp_path: Path,
) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(tmp_path / "copy.db")).code == 0
    with (tmp_path / "cli.db").open("r+b") as file:
        file.write(b"\xff" * 200)
    assert certmgr("client", "list").code == 3
    ran = certmgr("database", "restore", str(tmp_path / "copy.db"), "--yes")
    assert ran.code == 0, ran.err
    assert "One" in certmgr("client", "list").out
    (kept,) = tmp_path.glob("cli.db.replaced-*")
    assert kept.read_bytes()[:10] == b"\xff" * 10


def test_restore_during_a_scan_is_refused(
    certmgr: Runner,
    tmp_path: Path,
    opened: ExitStack,
) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    database = open_sqlite(tmp_path / "cli.db")
    add(database, silent.port, "a.example.test")
    database.close()
    certmgr("database", "backup", str(tmp_path / "copy.db"))
    with running_scan(tmp_path / "cli.db", silent):
        ran = certmgr("database", "restore", str(tmp_path / "copy.db"), "--yes")
    assert (ran.code, "scan is running" in ran.err) == (3, True)


def test_file_name_with_characters_of_a_url_is_not_parsed_as_a_url(
    certmgr: Runner,
    tmp_path: Path,
) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(tmp_path / "b?1#.db")).code == 0
    assert certmgr("database", "restore", str(tmp_path / "b?1#.db"), "--yes").code == 0
    assert certmgr("--database", str(tmp_path / "q?mark.db"), "client", "add", "1", "One").code == 0
    assert (tmp_path / "q?mark.db").exists()
    assert not (tmp_path / "q").exists()


def test_restore_to_postgresql_is_refused_before_a_person_is_asked(
    certmgr: Runner,
    tmp_path: Path,
) -> None:
    url = "postgresql://certmgr@127.0.0.1:1/certmgr"
    ran = certmgr("--database", url, "database", "restore", str(tmp_path / "b.db"), input="n\n")
    assert (ran.code, ran.out) == (3, "")
    assert "does not restore" in ran.err and "Use pg_restore." in ran.err


# The definition of a table, changed in place: what SQLite offers for it needs a new table.
CHANGED = (
    "PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = replace(sql, '{1}', '{2}')"
    " WHERE name = '{0}'; PRAGMA writable_schema=RESET"
)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON notice BEGIN DELETE FROM contact; END",
        "CREATE VIEW v AS SELECT * FROM client",
        "CREATE TABLE t (a)",
        "CREATE VIRTUAL TABLE t USING fts5(a)",
        "ALTER TABLE client ADD COLUMN g TEXT GENERATED ALWAYS AS (name || 'x') VIRTUAL",
        "ALTER TABLE client ADD COLUMN extra TEXT DEFAULT 'x'",
        "ALTER TABLE client RENAME COLUMN note TO notes",
        "CREATE UNIQUE INDEX evil ON client (note) WHERE note IS NOT NULL",
        "DROP TABLE acceptance",
        CHANGED.format("client", "note TEXT", "note TEXT CHECK (note IS NULL)"),
        CHANGED.format("notice", "id INTEGER", "id INTEGER /* ) */ check(0)"),
        CHANGED.format("client", "UNIQUE (name)", "UNIQUE (name) ON /* */ CONFLICT REPLACE"),
        CHANGED.format("endpoint", "domain (id)", "domain (id) ON DELETE CASCADE"),
        CHANGED.format("client", "name TEXT", "name TEXT COLLATE NOCASE"),
        CHANGED.format("client", "note TEXT", "note TEXT DEFAULT (1 + 1)"),
        CHANGED.format("case", "price TEXT", "price TEXT NOT NULL"),
        CHANGED.format("client", "note TEXT", "note TEXT REFERENCES server (name)"),
        "CREATE TEMP TRIGGER t AFTER INSERT ON notice BEGIN DELETE FROM contact; END",
    ],
)
def test_backup_with_a_foreign_part_is_refused_and_reported_by_check(
    certmgr: Runner, tmp_path: Path, statement: str
) -> None:
    copy = tmp_path / "copy.db"
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(copy)).code == 0
    for path in (copy, tmp_path / "cli.db"):
        with closing(sqlite_module().connect(path)) as connection:
            connection.executescript(statement)
    ran = certmgr("database", "restore", str(copy), "--yes")
    check = certmgr("database", "check")
    # A temporary trigger ends with its connection, and the backup remains usable.
    if "TEMP" in statement:
        assert (ran.code, check.code) == (0, 0)
        return
    assert (ran.code, "certmgr does not create" in ran.err) == (3, True), ran.err
    assert list(tmp_path.glob("cli.db.replaced-*")) == []
    assert (check.code, "not created by certmgr" in check.out) == (3, True)


def test_tables_of_each_earlier_version_are_known(tmp_path: Path) -> None:
    for revision in sorted(p.name[:4] for p in (maintenance.MIGRATIONS / "versions").glob("0*.py")):
        engine = make_engine(str(tmp_path / f"{revision}.db"))
        prepare_file(tmp_path / f"{revision}.db")
        maintenance.migrate(engine, revision)
        engine.dispose()
        with closing(sqlite_module().connect(tmp_path / f"{revision}.db")) as connection:
            assert foreign_parts_of_sqlite(connection) == []
