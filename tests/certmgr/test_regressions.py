"""Faults that a hostile tester found once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.demo import servers
from certmgr.demo.servers import Server
from inventory.store import clients
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers.ports import free_port

Runner = Callable[..., Ran]
Stack = contextlib.ExitStack


def test_an_export_never_replaces_a_pipe_or_a_link(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    (tmp_path / "real.json").write_text("")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert certmgr("export", "--output", str(tmp_path / "link.json")).code == 0
    assert (tmp_path / "link.json").is_symlink()
    assert "One" in (tmp_path / "real.json").read_text()
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True)
    assert certmgr("export", "--output", str(tmp_path / "pipe")).code == 0
    assert "One" in reader.communicate(timeout=10)[0]
    assert (tmp_path / "pipe").is_fifo()


def test_the_past_knows_faults_of_endpoints_without_a_certificate(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "One")
    certmgr("domain", "add", "a.example.test", "--client", "1")
    certmgr("endpoint", "edit", "a.example.test", "--port", str(free_port()), "--address", "127.0.0.1")
    assert certmgr("scan").code == 1
    clock.advance(seconds=2)
    ran = certmgr("status", "--as-of", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), "--format", "json")
    assert (ran.code, ran.json["endpoints"][0]["verdict"]) == (1, "fault")


def test_restore_over_a_damaged_database(certmgr: Runner, tmp_path: Path) -> None:
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


def test_no_restore_during_a_scan(certmgr: Runner, tmp_path: Path, opened: Stack) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    certmgr("client", "add", "1", "One")
    certmgr("domain", "add", "a.example.test", "--client", "1")
    certmgr("endpoint", "edit", "a.example.test", "--port", str(silent.port), "--address", "127.0.0.1")
    certmgr("database", "backup", str(tmp_path / "copy.db"))
    command = [sys.executable, "-m", "certmgr", "--database", str(tmp_path / "cli.db"), "scan", "--timeout", "20"]
    # Started as a shell starts a background job: with SIGINT ignored. SIGTERM must end it all the same.
    scan = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), stderr=subprocess.PIPE)
    while silent.connections == 0:
        time.sleep(0.05)
    ran = certmgr("database", "restore", str(tmp_path / "copy.db"), "--yes")
    assert (ran.code, "scan is running" in ran.err) == (3, True)
    scan.send_signal(signal.SIGTERM)
    scan.communicate(timeout=10)
    assert scan.returncode == 3


DOCUMENTS = [
    ({"clients": [{"number": "c1", "name": "N1", "reseller": 1}, {"number": "c2", "name": "N2", "reseller": 0}]}, []),
    ({"clients": [{"number": "c1", "name": "N1", "reseller": 0}]}, []),
    ({"clients": [{"number": "c1", "name": "N1", "reseller": 1}, {"number": "c2", "name": "N2", "hosts": "bogus"}, {"number": "c3", "name": "N3"}]}, ["c3"]),
    ({"clients": [{"number": "c1", "name": "N1"}], "domains": [{"name": "a.example.test"}, {"name": "b.example.test", "client": -1}, {"name": "c.example.test", "client": True}]}, ["c1"]),
    ({"clients": [{"number": "c1", "name": "N1", "created_at": 2**70}, {"number": "c2", "name": "N2"}]}, ["c2"]),
    ({"clients": [{"number": "c1", "name": "N1", "tags": "abc"}, {"number": "c2", "name": "N2", "state": "leaving"}]}, []),
    ({"clients": [{"number": "c1", "name": "N1"}], "contacts": [{"name": "Ada", "client": 0, "language": "!!"}]}, ["c1"]),
]  # fmt: skip


@pytest.mark.parametrize(("document", "taken"), DOCUMENTS)
def test_wrong_json_records_are_left_out_and_the_rest_goes_in(
    certmgr: Runner, tmp_path: Path, document: dict[str, object], taken: list[str]
) -> None:
    source = tmp_path / "in.json"
    source.write_text(json.dumps({"schema": "certmgr.inventory/1", **document}))
    ran = certmgr("import", str(source), "--from", "json")
    assert ran.code == 3
    assert "left out" in ran.err
    assert "should not be" not in ran.err
    assert [c["number"] for c in certmgr("client", "list", "--format", "json").json["clients"]] == taken
    assert certmgr("domain", "list", "--format", "json").json["domains"] == []


def test_the_same_way_twice_is_one(certmgr: Runner, tmp_path: Path) -> None:
    way = {"kind": "email", "value": "a@example.com"}
    source = tmp_path / "in.json"
    source.write_text(
        json.dumps(
            {
                "schema": "certmgr.inventory/1",
                "clients": [{"number": "1", "name": "One"}],
                "contacts": [{"name": "Ada", "client": 0, "ways": [way, way]}],
            }
        )
    )
    assert certmgr("import", str(source), "--from", "json").code == 0


def test_a_rejected_row_reserves_no_name(certmgr: Runner, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("client,client_name,domain\n1,NewCo,a b\n2,NewCo,ok.example.test\n")
    assert certmgr("import", str(source), "--from", "csv").code == 3
    source.write_text("client,client_name\n2,Renamed\n3,NewCo\n")
    assert certmgr("import", str(source), "--from", "csv").code == 0


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_times_that_are_none(certmgr: Runner, value: str) -> None:
    assert certmgr("scan", "127.0.0.1", "--timeout", value).code == 2
    assert certmgr("scan", "127.0.0.1", environment={"CERTMGR_SCAN_TIMEOUT": value}).code == 2


def test_wrong_trust_settings_start_no_run(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    certmgr("domain", "add", "a.example.test", "--client", "1")
    ran = certmgr("scan", "--ca-file", "/nowhere.pem")
    assert (ran.code, ran.out) == (2, "")
    opened = open_sqlite(tmp_path / "cli.db")
    from sqlalchemy import text

    with opened.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM run")).scalar() == 0


def test_wrong_resolvers_are_said_before_anything_is_written(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("domain", "add", "a.example.test", "--client", "1", environment={"CERTMGR_SCAN_RESOLVERS": "foo"}).code == 2
    assert certmgr("domain", "list", "--format", "json").json["domains"] == []


def test_what_is_retired_is_not_used_and_comes_back_whole(certmgr: Runner, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("client,domain,server\n1,a.example.test,web1\n")
    certmgr("import", str(source), "--from", "csv")
    certmgr("endpoint", "retire", "a.example.test")
    assert certmgr("import", str(source), "--from", "csv").code == 0
    clock.advance(seconds=2)
    then = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert certmgr("status", "--all", "--as-of", then, "--format", "json").json["summary"]["endpoints"] == 1
    certmgr("domain", "retire", "a.example.test")
    assert certmgr("server", "retire", "web1").code == 0
    assert certmgr("server", "retire", "web1").code == 2
    assert certmgr("domain", "add", "b.example.test", "--client", "1", "--server", "web1").code == 2
    assert certmgr("import", str(source), "--from", "csv").code == 3


def test_an_endpoint_has_one_owner(certmgr: Runner) -> None:
    for number in ("1", "2"):
        certmgr("client", "add", number, f"Client {number}")
        certmgr("domain", "add", f"c{number}.example.test", "--client", number)
    assert certmgr("endpoint", "add", "c1.example.test:443", "--domain", "c2.example.test").code == 3


def test_a_change_that_is_undone_is_not_announced(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "One")
    ran = certmgr("client", "edit", "1", "--name", "Uno", "--tag", "two words")
    assert (ran.code, ran.out) == (2, "")
    assert "One" in certmgr("client", "list").out


def test_a_closed_pipe_is_no_finding(certmgr: Runner, tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m certmgr --database {tmp_path}/x.db client list | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("contact", "show", "9" * 30),
        ("contact", "show", "²"),
        ("finding", "withdraw", "9" * 30),
        ("status", "--as-of", "9999-12-31T23:59-12:00"),
        ("scan", "[1.2.3.4]"),
        ("scan", "fe80::1%eth0"),
        ("--database", ":memory:", "client", "list"),
        ("--database", "postgresql://u:p@127.0.0.1:port/x", "client", "list"),
    ],
)
def test_wrong_words_are_said_in_one_line(certmgr: Runner, arguments: tuple[str, ...]) -> None:
    ran = certmgr(*arguments)
    assert ran.code in (2, 3)
    assert "should not be" not in ran.err
    assert ran.out == ""


def test_odd_file_names(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    assert certmgr("database", "backup", str(tmp_path / "b?1#.db")).code == 0
    assert certmgr("database", "restore", str(tmp_path / "b?1#.db"), "--yes").code == 0
    assert certmgr("--database", str(tmp_path / "q?mark.db"), "client", "list").code == 0
    assert (tmp_path / "q?mark.db").exists()
    assert not (tmp_path / "q").exists()


def test_a_database_of_another_program_is_left_alone(certmgr: Runner, tmp_path: Path) -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as conn:
        conn.execute("CREATE TABLE client (x)")
        conn.commit()
    ran = certmgr("--database", str(tmp_path / "other.db"), "client", "list")
    assert (ran.code, "another program" in ran.err) == (3, True)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.conf", "Include /\nInclude a**b\n", "apache"),
        ("db.example.test", "$TTL 300\n$GENERATE 1-100000000 h$ A 192.0.2.1\n", "zone"),
    ],
)
def test_configurations_without_bounds(certmgr: Runner, tmp_path: Path, name: str, text: str, kind: str) -> None:
    certmgr("client", "add", "1", "One")
    (tmp_path / name).write_text(text)
    ran = certmgr("import", str(tmp_path / name), "--from", kind, "--client", "1")
    assert ran.code in (2, 3)
    assert "should not be" not in ran.err


def test_resellers_in_a_circle_do_not_hang(tmp_path: Path) -> None:
    """A circle that is in the database all the same (written by an older program) ends in an error."""
    from sqlalchemy import text

    from inventory.errors import UsageError

    database = open_sqlite(tmp_path / "x.db")
    with database.write() as tx:
        for number in ("1", "2", "3"):
            clients.add(tx, {"number": number, "name": number})
        tx.conn.execute(text("UPDATE client SET reseller_id = 3 - id WHERE id < 3"))
        with pytest.raises(UsageError, match="circle"):
            clients.edit(tx, "3", {"reseller": "1"})
