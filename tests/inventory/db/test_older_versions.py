"""Databases of all earlier versions, with rows in each table, arrive whole at today's version.

The tables are filled by reflection of the schema of that version, so that a table or column of a
later migration is covered without a change here.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Column,
    Engine,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.types import Integer

from inventory.db import audit_chain, maintenance
from inventory.db.database import HEAD, make_engine, prepare_file, version
from inventory.db.opening import open_database
from inventory.models.base import EnumText, Json, JsonTexts, Words
from inventory.models.schema import metadata
from inventory.store import audit_log
from tests.campaign import Campaign, size

ROWS = 3
OLDER = sorted(
    script.revision
    for script in ScriptDirectory(str(maintenance.MIGRATIONS)).walk_revisions()
    if script.revision != HEAD
)
# Columns that a migration removed, by the revision that did.
REMOVED = {("broadcast", "ended_at"): "0005", ("decision", "notice_id"): "0005"}
# What migration 0007 renames: (table, column) -> (old, new).
_KEY = ("broadcast:bulletin:2027-03-15:1", "broadcast:announcement:2027-03-15:1")
_CAUSE = ("broadcast 2027-03-15 bulletin", "broadcast 2027-03-15 announcement")
RENAMED = {
    ("broadcast", "template"): ("bulletin", "announcement"),
    ("matter", "key"): _KEY,
    ("notice_item", "subject"): _KEY,
    ("decision", "subject"): _KEY,
    ("matter", "cause"): _CAUSE,
    ("release", "cause"): _CAUSE,
}
Contents = dict[str, list[dict[str, Any]]]


def reflect(engine: Engine) -> MetaData:
    """Return the tables that the database has, without Alembic's."""
    found = MetaData()
    found.reflect(engine)
    found.remove(found.tables["alembic_version"])
    return found


def valid_value(table: Table, column: Column[Any], number: int) -> Any:
    """Return a value of a column in the row with this number, as today's program reads it."""
    if column.foreign_keys:
        (key,) = column.foreign_keys
        if key.column.table is not table:
            return valid_value(key.column.table, key.column, number)
        # A row refers to the row before it, and the first row to none.
        return number if number else None
    if number == 0 and (table.name, column.name) in RENAMED:
        return RENAMED[table.name, column.name][0]
    if (table.name, column.name) == ("audit", "detail"):
        # Migration 0004 reads it, and keeps what is no personal data.
        return '{"state": ["active", "retired"]}'
    declared = metadata.tables[table.name].c.get(column.name) if table.name in metadata else None
    kind = None if declared is None else declared.type
    if isinstance(kind, EnumText):
        members = list(kind.enum.__members__.values())
        return str(members[number % len(members)])
    if isinstance(kind, Json):
        return f'{{"kept": {number}}}'
    if isinstance(kind, JsonTexts):
        return f'["kept {number}"]'
    if isinstance(kind, Words):
        return f"first-{number} second-{number}"
    if isinstance(column.type, LargeBinary):
        return bytes([number, 0, 255])
    if isinstance(column.type, Integer | Numeric):
        return number + 1 if column.primary_key else 1_700_000_000 + number
    return f"{table.name}.{column.name} {number} ü'%"


def _chain(rows: list[dict[str, Any]]) -> None:
    before = audit_chain.START
    for row in rows:
        row["hash"] = before = audit_chain.link(
            before, *(row[c] for c in ("at", "actor", "action", "kind", "row_id", "detail"))
        )


def fill(engine: Engine) -> Contents:
    """Write rows into each table, and return them."""
    with engine.connect().execution_options(certmgr_write=True) as conn, conn.begin():
        for table in reflect(engine).sorted_tables:
            rows = [{c.name: valid_value(table, c, n) for c in table.c} for n in range(ROWS)]
            if table.name == "audit" and "hash" in table.c:
                _chain(rows)
            conn.execute(insert(table), rows)
    return contents(engine)


def contents(engine: Engine) -> Contents:
    """Return all rows of all tables, without Alembic's."""
    names = set(inspect(engine).get_table_names()) - {"alembic_version"}
    with engine.connect() as conn:
        return {
            name: [dict(row) for row in conn.execute(text(f'SELECT * FROM "{name}"')).mappings()]
            for name in sorted(names)
        }


def in_order(rows: Contents) -> Contents:
    """Return the rows in an order that depends on their values alone."""
    return {table: sorted(found, key=repr) for table, found in rows.items()}


def after_migration(before: Contents, old: str) -> Contents:
    """Return the rows of a database of version ``old`` as they must be today."""
    renamed = RENAMED if old < "0007" else {}
    return {
        table: [
            {
                column: new if value == earlier else value
                for column, value in row.items()
                if REMOVED.get((table, column), old) <= old
                for earlier, new in [renamed.get((table, column), (None, None))]
            }
            for row in rows
        ]
        for table, rows in before.items()
    }


@contextmanager
def opened_engine(url: str) -> Iterator[Engine]:
    """The engine of a database of any version, disposed of at the end."""
    engine = make_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("new_postgres")())
    path = tmp_path / "old.db"
    prepare_file(path)
    return str(path)


@pytest.fixture(scope="module")
def migrate_with_kills() -> Iterator[Callable[[int, str], list[list[str]]]]:
    """A function that kills migrations of a database (killed_migration.py), and returns each."""
    command = [sys.executable, "-m", "tests.inventory.db.killed_migration"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        source, sink = process.stdout, process.stdin

        def migrate(kills: int, url: str) -> list[list[str]]:
            print(kills, url, file=sink, flush=True)
            found = []
            while (line := source.readline()) != "\n":
                assert line, "the process ended"
                found.append(line.split())
            return found

        yield migrate


@pytest.mark.campaign
@pytest.mark.parametrize("old", OLDER)
def test_older_version_arrives_whole_although_its_migration_is_killed(
    new_url: str,
    old: str,
    campaign: Campaign,
    migrate_with_kills: Callable[[int, str], list[list[str]]],
) -> None:
    with opened_engine(new_url) as engine:
        maintenance.migrate(engine, old)
        before = fill(engine)
    assert all(len(rows) == ROWS for rows in before.values())
    # Before the commit, and for each third version in the middle too. Each step in a soak.
    kills = size(2 if OLDER.index(old) % 3 == 0 else 1, 1000)
    killed = migrate_with_kills(kills, new_url)
    total = int(killed[0][2])
    campaign.report("kills of a migration", len(killed))
    assert len(killed) == min(kills, total) and total > 3
    assert {(line[0], line[3]) for line in killed} == {(str(int(signal.SIGKILL)), old)}
    with opened_engine(new_url) as engine:
        assert in_order(contents(engine)) == in_order(before)
    with closing(open_database(new_url, actor="tester", migrate=True)) as database:
        assert version(database.engine) == HEAD
        after = contents(database.engine)
        assert {t: len(rows) for t, rows in after.items() if rows} == dict.fromkeys(before, ROWS)
        expected = after_migration(before, old)
        kept = {
            table: [{column: row[column] for column in rows[0]} for row in after[table]]
            for table, rows in expected.items()
        }
        assert in_order(kept) == in_order(expected)
        with database.read() as conn:
            assert audit_chain.verify_chain(audit_log.entries(conn))[0] is None
            # Today's program reads each row by the types of its columns.
            for name in before:
                assert len(conn.execute(select(metadata.tables[name])).all()) == ROWS, name
