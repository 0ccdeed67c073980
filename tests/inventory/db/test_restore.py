"""The commands ``certmgr database backup`` and ``restore``: damage, running scans, file names."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from certmgr.demo import servers
from certmgr.demo.servers import Server
from inventory.db import maintenance, restore
from inventory.db.database import make_engine, prepare_file, sqlite_module
from inventory.db.foreign_schema import foreign_parts_of_sqlite
from inventory.db.stored_values import wrong_values
from tests.certmgr.scanning import add, running_scan
from tests.databases import open_sqlite
from tests.inventory.store.full_inventory import add_everything, add_shared
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
        # SQLite computes them for each row that is written or checked.
        "CREATE INDEX slow ON client (length(hex(zeroblob(400000000))))",
        "CREATE INDEX slow ON client (note) WHERE hex(zeroblob(50000)) LIKE '%0%0%0%0%0%0%0%01'",
        # Under the names of ours.
        "DROP INDEX ix_client_reseller_id; CREATE UNIQUE INDEX ix_client_reseller_id ON client"
        " (note)",
        "DROP INDEX ix_client_reseller_id; CREATE INDEX ix_client_reseller_id ON client"
        " (reseller_id) WHERE note IS NULL",
        "ALTER TABLE alembic_version ADD COLUMN g AS (hex(zeroblob(1000000)))",
        CHANGED.format("alembic_version", "NOT NULL", "NOT NULL CHECK (version_num IS NOT NULL)"),
        "CREATE TABLE other (a); PRAGMA writable_schema=ON; UPDATE sqlite_master SET"
        " name = 'sqlite_other', tbl_name = 'sqlite_other', sql = 'CREATE TABLE sqlite_other (a)'"
        " WHERE name = 'other'; PRAGMA writable_schema=RESET",
        # More text than any schema of ours.
        "PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = sql || ' /*' ||"
        " hex(zeroblob(500000)) WHERE name = 'client'; PRAGMA writable_schema=RESET",
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


def test_many_unclosed_comments_in_a_schema_do_not_keep_the_check_busy(
    certmgr: Runner, tmp_path: Path
) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(tmp_path / "copy.db")).code == 0
    with closing(sqlite_module().connect(tmp_path / "copy.db")) as connection:
        # A comment may end with the text. Its 100,000 beginnings must not be searched from each.
        connection.executescript(
            "PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = sql || ' ' ||"
            " replace(hex(zeroblob(100000)), '00', '/* [') WHERE name = 'client';"
            " PRAGMA writable_schema=RESET"
        )
    assert certmgr("database", "restore", str(tmp_path / "copy.db"), "--yes").code == 0
    assert "One" in certmgr("client", "list").out


PAGE = 4096


def _interior(children: list[int], start: int) -> bytearray:
    """Return an interior page of a table (SQLite file format, 1.6), from ``start`` in the page."""
    page, at, cells = bytearray(PAGE), PAGE, []
    for child in children[:-1]:
        at -= 5
        page[at : at + 5] = child.to_bytes(4, "big") + b"\x7f"
        cells.append(at)
    page[start] = 5
    page[start + 3 : start + 5] = len(cells).to_bytes(2, "big")
    page[start + 5 : start + 7] = at.to_bytes(2, "big")
    page[start + 8 : start + 12] = children[-1].to_bytes(4, "big")
    for i, cell in enumerate(cells):
        page[start + 12 + 2 * i : start + 14 + 2 * i] = cell.to_bytes(2, "big")
    return page


def _repeat_rows(path: Path, root: int) -> None:
    """Let the rows of a table with one page stand in it 100**9 times.

    Nine pages above it name the same page below them a hundred times each.
    """
    data = bytearray(path.read_bytes())
    header = 100 if root == 1 else 0
    leaf = bytearray(data[(root - 1) * PAGE : root * PAGE])
    count = int.from_bytes(leaf[header + 3 : header + 5], "big")
    start = leaf[header : header + 8 + 2 * count]
    leaf[: header + 8 + 2 * count] = start + bytes(header)
    data += leaf
    if root == 1:
        # The pages that repeat have the last entry alone, an index of SQLite's own, which may be
        # repeated, and a table may not.
        last = bytearray(leaf)
        last[3:5], last[8:10] = (1).to_bytes(2, "big"), leaf[6 + 2 * count : 8 + 2 * count]
        data += last
    for _ in range(9):
        data += _interior([len(data) // PAGE] * 100, 0)
    top = _interior([len(data) // PAGE] * 2, header)
    if root == 1:
        top = _interior([len(data) // PAGE - 10, len(data) // PAGE], header)
        top[:28], top[32:header] = data[:28], data[32:header]
        top[28:32] = (len(data) // PAGE).to_bytes(4, "big")
    else:
        data[28:32] = (len(data) // PAGE).to_bytes(4, "big")
    data[(root - 1) * PAGE : root * PAGE] = top
    path.write_bytes(data)


@pytest.mark.parametrize("table", ["sqlite_master", "alembic_version", "client"])
def test_rows_that_a_file_repeats_without_end_are_damage(
    certmgr: Runner, tmp_path: Path, table: str
) -> None:
    copy, root = tmp_path / "copy.db", 1
    certmgr("client", "add", "1", "One")
    if table == "sqlite_master":
        with closing(sqlite_module().connect(copy)) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT PRIMARY KEY)")
    else:
        assert certmgr("database", "backup", str(copy)).code == 0
        with closing(sqlite_module().connect(copy)) as connection:
            query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
            (root,) = connection.execute(query, (table,)).fetchone()
    _repeat_rows(copy, root)
    ran = certmgr("database", "restore", str(copy), "--yes")
    assert (ran.code, "Nothing was changed" in ran.err) == (3, True)
    assert "One" in certmgr("client", "list").out


WRONG_VALUES = {
    "text-that-is-not-utf-8": ("UPDATE client SET name = CAST(x'ff' AS TEXT)", "name is not UTF-8"),
    "surrogate": ("UPDATE client SET name = CAST(x'eda080' AS TEXT)", "name is not UTF-8"),
    "binary-for-a-text": ("UPDATE client SET name = x'4142'", "name is not a text"),
    "text-for-a-number": ("UPDATE endpoint SET port = 'abc'", "port is not a whole number"),
    "fraction": ("UPDATE client SET created_at = 1.5", "created_at is not a whole number"),
    "infinity": ("UPDATE client SET created_at = 9e999", "created_at is not a whole number"),
    "large-number": ("UPDATE client SET created_at = 9223372036854775807", "too large"),
    "small-number": ("UPDATE client SET created_at = -9223372036854775808", "too large"),
    "unknown-word": ("UPDATE domain SET state = 'nonsense'", "state is an unknown word"),
    "no-json": ("INSERT INTO job (name, detail) VALUES ('x', '[')", "detail is not JSON"),
    "deep-json": (
        "INSERT INTO job (name, detail) VALUES ('x', replace(hex(zeroblob(50000)), '0', '['))",
        "detail is not JSON",
    ),
}


@pytest.mark.parametrize("kind", WRONG_VALUES)
def test_backup_with_a_value_that_certmgr_cannot_have_written_is_refused(
    certmgr: Runner, tmp_path: Path, kind: str
) -> None:
    """Each later command that reads it would fail."""
    statement, reason = WRONG_VALUES[kind]
    certmgr("client", "add", "1", "One")
    certmgr("domain", "add", "shop.example.com", "--client", "1")
    backup = tmp_path / "copy.db"
    assert certmgr("database", "backup", str(backup)).code == 0
    with closing(sqlite_module().connect(backup)) as conn:
        conn.execute(statement)
        conn.commit()
    ran = certmgr("database", "restore", str(backup), "--yes")
    assert (ran.code, reason in ran.err, "Nothing was changed" in ran.err) == (3, True, True), ran
    assert "One" in certmgr("client", "list").out
    # A change that was made by hand.
    checked = certmgr("--database", str(backup), "database", "check")
    assert reason in checked.out + checked.err
    assert checked.code != 0


def test_text_that_is_not_utf8_is_named_with_what_to_do(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    with closing(sqlite_module().connect(tmp_path / "cli.db")) as conn:
        conn.execute("UPDATE client SET name = CAST(x'ff' AS TEXT)")
        conn.commit()
    ran = certmgr("client", "list")
    assert (ran.code, "not UTF-8" in ran.err, "database check" in ran.err) == (3, True, True)


def test_ordinary_values_are_restored(tmp_path: Path) -> None:
    database = open_sqlite(tmp_path / "full.db", clock=lambda: datetime(2026, 2, 1, tzinfo=UTC))
    with database.write() as tx:
        # A row in each table that knows clients.
        add_everything(tx, "one", add_shared(tx))
        tx.conn.execute(text("UPDATE domain SET note = 'a' || char(0) || 'ü'"))
        tx.conn.execute(text("UPDATE certificate SET not_after = 253402300799"))
    database.close()
    with closing(sqlite_module().connect(tmp_path / "full.db")) as conn:
        assert wrong_values(conn) == []


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_backup_with_a_log_of_another_user_next_to_it_is_refused(
    certmgr: Runner, tmp_path: Path, suffix: str
) -> None:
    copy, other = tmp_path / "copy.db", tmp_path / "other" / "copy.db"
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(copy)).code == 0
    other.parent.mkdir()
    shutil.copy(copy, other)
    with closing(sqlite_module().connect(other, isolation_level=None)) as connection:
        mode = "WAL" if suffix == "-wal" else "DELETE"
        connection.executescript(f"PRAGMA journal_mode={mode}; PRAGMA cache_size=1; BEGIN")
        connection.execute("UPDATE client SET name = 'Hostile'")
        if suffix == "-wal":
            connection.execute("COMMIT")
        # Another user can place it in a folder such as /tmp, whoever owns the backup.
        shutil.copy(f"{other}{suffix}", f"{copy}{suffix}")
    ran = certmgr("database", "restore", str(copy), "--yes")
    assert (ran.code, f"remove {copy}{suffix}" in ran.err) == (3, True), ran.err
    Path(f"{copy}{suffix}").unlink()
    assert certmgr("database", "restore", str(copy), "--yes").code == 0
    assert "One" in certmgr("client", "list").out


class _Growing(io.FileIO):
    """A file to which another program writes whenever it is read."""

    def read(self, size: int | None = -1) -> bytes:
        with Path(str(self.name)).open("ab") as other:
            other.write(b"x" * 4096)
        return super().read(size) or b""


def test_backup_that_grows_while_it_is_copied_is_refused(
    certmgr: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(tmp_path / "copy.db")).code == 0
    monkeypatch.setattr(restore, "open_regular", _Growing)
    ran = certmgr("database", "restore", str(tmp_path / "copy.db"), "--yes")
    assert (ran.code, "changed while it was copied" in ran.err) == (3, True), ran.err
    assert "One" in certmgr("client", "list").out


def test_backup_of_holes_that_does_not_fit_is_refused_before_it_is_copied(
    certmgr: Runner, tmp_path: Path
) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(tmp_path / "copy.db")).code == 0
    os.truncate(tmp_path / "copy.db", 1 << 42)
    ran = certmgr("database", "restore", str(tmp_path / "copy.db"), "--yes")
    assert (ran.code, "4,398,046,511,104 bytes" in ran.err) == (3, True), ran.err
    assert list(tmp_path.glob(".cli.db.restoring-*")) == []


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory", "b%00.db"])
def test_name_that_is_special_for_sqlite_is_a_file(
    certmgr: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    certmgr("client", "add", "1", "One")
    monkeypatch.chdir(tmp_path)
    assert certmgr("database", "backup", name).code == 0
    certmgr("client", "add", "2", "Two")
    assert certmgr("database", "restore", name, "--yes").code == 0
    assert "One" in (listed := certmgr("client", "list").out)
    assert "Two" not in listed


@pytest.mark.parametrize("size", [512, 65_536])
def test_backup_with_another_page_size_is_restored(
    certmgr: Runner, tmp_path: Path, size: int
) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(tmp_path / "copy.db")).code == 0
    with closing(sqlite_module().connect(tmp_path / "copy.db")) as connection:
        connection.executescript(f"PRAGMA page_size={size}; VACUUM")
    certmgr("client", "add", "2", "Two")
    ran = certmgr("database", "restore", str(tmp_path / "copy.db"), "--yes")
    assert ran.code == 0, ran.err
    assert "Two" not in certmgr("client", "list").out
    assert certmgr("database", "check").code == 0


def test_tables_of_each_earlier_version_are_known(tmp_path: Path) -> None:
    for revision in sorted(p.name[:4] for p in (maintenance.MIGRATIONS / "versions").glob("0*.py")):
        engine = make_engine(str(tmp_path / f"{revision}.db"))
        prepare_file(tmp_path / f"{revision}.db")
        maintenance.migrate(engine, revision)
        engine.dispose()
        with closing(sqlite_module().connect(tmp_path / f"{revision}.db")) as connection:
            assert foreign_parts_of_sqlite(connection) == []
