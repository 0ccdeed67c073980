"""The commands ``certmgr database backup`` and ``restore``: damage, running scans, file names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from certmgr.demo import servers
from certmgr.demo.servers import Server
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
    assert certmgr("--database", str(tmp_path / "q?mark.db"), "client", "list").code == 0
    assert (tmp_path / "q?mark.db").exists()
    assert not (tmp_path / "q").exists()
