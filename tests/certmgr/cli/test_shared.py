"""Tests of the database that every command opens."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran

Runner = Callable[..., Ran]


def _list(certmgr: Runner, database: str | Path) -> Ran:
    return certmgr("--database", str(database), "client", "list")


def test_database_that_cannot_be_opened_is_refused(certmgr: Runner, tmp_path: Path) -> None:
    new = ("--database", "/proc/nowhere/x.db", "client", "add", "1", "One")
    assert_refused(certmgr(*new), 3, "cannot be opened")
    assert_refused(_list(certmgr, "/proc/nowhere/x.db"), 2, "/proc/nowhere/x.db does not exist")
    (tmp_path / "folder.db").mkdir()
    assert_refused(_list(certmgr, tmp_path / "folder.db"), 3, "folder.db")


def test_file_that_is_not_a_database_is_refused_and_kept(certmgr: Runner, tmp_path: Path) -> None:
    # certmgr must never overwrite a file that it did not create.
    content = b"this is not a database " * 100
    (tmp_path / "junk.db").write_bytes(content)
    assert_refused(_list(certmgr, tmp_path / "junk.db"), 3, "cannot be used")
    assert (tmp_path / "junk.db").read_bytes() == content


def test_database_of_a_newer_version_is_refused(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    with closing(sqlite3.connect(tmp_path / "cli.db")) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
        conn.commit()
    assert_refused(certmgr("client", "list"), 3, "newer certmgr")


def test_database_of_another_program_is_refused(certmgr: Runner, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as conn:
        conn.execute("CREATE TABLE client (x)")
        conn.commit()
    ran = _list(certmgr, tmp_path / "other.db")
    assert (ran.code, "another program" in ran.err) == (3, True)


def test_database_url_that_cannot_be_used_is_refused(certmgr: Runner) -> None:
    assert_refused(_list(certmgr, "mysql://x/y"), 3, "not supported")
    assert_refused(_list(certmgr, "postgresql://user@127.0.0.1:1/x"), 3, "cannot be used")
