"""The command line as a user meets it: contracts, exit codes, and wrong input."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from tests.program import Ran
from tests.servers.ports import free_port

Stack = contextlib.ExitStack
Runner = Callable[..., Ran]
HOST = "shop.example.test"


def refused(ran: Ran, code: int, *words: str) -> None:
    """One clear line on stderr, the right exit code, nothing on stdout, no traceback."""
    assert ran.code == code, ran.err + ran.out
    assert "Traceback" not in ran.err
    assert "should not be" not in ran.err
    for word in words:
        assert word in ran.err
    if ran.err.startswith("certmgr:"):
        assert ran.err.count("\n") == 1
    assert ran.out == ""


# -- scan -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def port(issuer: Authority, opened: Stack) -> int:
    server = Server(servers.tls(server_context(issuer.issue(HOST))))
    opened.callback(server.close)
    return server.port


def test_the_json_of_a_scan_is_a_contract(certmgr: Runner, port: int, root_file: Path) -> None:
    ran = certmgr(
        "scan", f"{HOST}:{port}", "--resolve", f"{HOST}:{port}:127.0.0.1", "--ca-file", str(root_file), "--format", "json"
    )
    assert ran.code == 0, ran.err
    document = ran.json
    assert document["schema"] == "certmgr.scan/1"
    assert set(document) == {"schema", "started_at", "finished_at", "endpoints", "summary"}
    (endpoint,) = document["endpoints"]
    assert set(endpoint) == {
        "target",
        "host",
        "port",
        "protocol",
        "client",
        "verdict",
        "certificate",
        "addresses",
        "http",
        "findings",
    }
    assert (endpoint["target"], endpoint["protocol"], endpoint["client"], endpoint["verdict"]) == (
        f"{HOST}:{port}",
        "https",
        None,
        "ok",
    )
    assert set(endpoint["certificate"]) == {
        "sha256",
        "serial",
        "subject",
        "issuer",
        "names",
        "not_before",
        "not_after",
        "days_left",
        "key",
    }
    assert endpoint["certificate"]["not_after"].endswith("Z")
    assert endpoint["certificate"]["key"] == "EC P-256"
    (address,) = endpoint["addresses"]
    assert set(address) == {"address", "tls_version", "cipher", "group", "alpn", "ocsp", "chain", "trusted", "error"}
    assert (address["trusted"], address["error"], len(address["chain"])) == (True, None, 2)
    assert document["summary"] == {"endpoints": 1, "ok": 1, "attention": 0, "fault": 0, "unknown": 0}


def test_a_finding_in_json(certmgr: Runner) -> None:
    ran = certmgr("scan", f"127.0.0.1:{free_port()}", "--format", "json")
    assert ran.code == 1
    (endpoint,) = ran.json["endpoints"]
    (finding,) = endpoint["findings"]
    assert set(finding) == {"code", "severity", "actor", "outcome", "addresses", "detail", "evidence"}
    assert (finding["code"], finding["severity"], finding["actor"]) == ("https-missing", "high", "staff")
    assert endpoint["addresses"][0]["error"] == {"layer": "connect", "reason": "Connection refused"}
    assert endpoint["certificate"] is None
    assert ran.json["summary"]["fault"] == 1


def test_exit_codes_of_a_scan(certmgr: Runner, port: int, opened: Stack) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    dead = f"127.0.0.1:{free_port()}"
    assert certmgr("scan", dead).code == 1
    assert certmgr("scan", dead, "--exit-zero").code == 0
    assert certmgr("scan", f"127.0.0.1:{silent.port}", "--timeout", "1").code == 3


def test_targets_store_nothing(certmgr: Runner, tmp_path: Path, port: int) -> None:
    certmgr("scan", f"127.0.0.1:{port}")
    assert not (tmp_path / "cli.db").exists()


def test_the_table_in_a_pipe_is_plain(certmgr: Runner, port: int) -> None:
    ran = certmgr("scan", f"127.0.0.1:{port}")
    assert "\x1b" not in ran.out
    assert ran.err == ""
    assert "✗ fault" in ran.out
    assert "wrong name" in ran.out


def test_inventory_scan_status_and_acceptance(certmgr: Runner, tmp_path: Path, port: int, root_file: Path) -> None:
    assert certmgr("client", "add", "1001", "Example Ltd", "--renews", "client").code == 0
    assert certmgr("domain", "add", HOST, "--client", "1001").code == 0
    assert certmgr("endpoint", "edit", HOST, "--port", str(port), "--address", "127.0.0.1").code == 0
    ran = certmgr("scan", "--format", "json")
    assert ran.code == 1, ran.err
    (endpoint,) = ran.json["endpoints"]
    assert (endpoint["client"], endpoint["verdict"]) == ("1001", "fault")
    assert ran.json["run"]["state"] == "complete"
    status = certmgr("status", "--format", "json")
    assert status.code == 1
    assert status.json["endpoints"][0]["codes"] == ["chain-incomplete"] or status.json["endpoints"][0]["codes"]
    code = status.json["endpoints"][0]["codes"][0]
    assert certmgr("finding", "accept", code, "--until", "2099-01-01", "--reason", "known", "--domain", HOST).code == 0
    again = certmgr("status", "--format", "json", "--all")
    assert (again.code, again.json["summary"]["fault"]) == (0, 0)
    assert again.json["endpoints"][0]["accepted"][0]["code"] == code
    rescan = certmgr("scan", "--format", "json")
    assert rescan.code == 0
    assert rescan.json["endpoints"][0]["findings"][0]["accepted"]["reason"] == "known"
    page = certmgr("domain", "show", HOST)
    assert page.code == 0
    for word in ("Example Ltd", "127.0.0.1", "accepted", "last attempt", "serial"):
        assert word in page.out
    assert certmgr("domain", "show", HOST, "--format", "json").json["schema"] == "certmgr.domain/1"
    causes = certmgr("status", "--causes", "--format", "json")
    assert causes.json["schema"] == "certmgr.causes/1"
    assert causes.json["causes"] == []


def test_csv_of_a_scan(certmgr: Runner, port: int) -> None:
    ran = certmgr("scan", f"127.0.0.1:{port}", "--format", "csv")
    header, row = ran.out.splitlines()
    assert header.startswith("target,client,verdict,days_left")
    assert row.startswith(f"127.0.0.1:{port},,fault,")


@pytest.mark.parametrize("noun", ["client", "contact", "server", "domain", "endpoint"])
def test_each_noun_has_its_verbs(certmgr: Runner, noun: str) -> None:
    ran = certmgr(noun, "--help")
    for verb in ("add", "list", "show", "edit", "retire"):
        assert f"  {verb} " in ran.out
    for form in ("table", "json", "csv"):
        assert certmgr(noun, "list", "--format", form).code == 0


def test_import_and_export(certmgr: Runner, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("client,client_name,domain\n1,One,a.example.com\n1,One,bad name\n")
    dry = certmgr("import", str(source), "--from", "csv", "--dry-run")
    assert dry.code == 3
    assert "+ domain a.example.com" in dry.out
    assert f"{source}:3" in dry.err
    assert certmgr("domain", "list", "--format", "json").json["domains"] == []
    assert certmgr("import", str(source), "--from", "csv").code == 3
    assert [d["name"] for d in certmgr("domain", "list", "--format", "json").json["domains"]] == ["a.example.com"]
    source.write_text(source.read_text().replace("1,One,bad name\n", ""))
    again = certmgr("import", str(source), "--from", "csv")
    assert (again.code, "nothing to change" in again.out) == (0, True)
    out = tmp_path / "out.json"
    assert certmgr("export", "--output", str(out)).code == 0
    assert json.loads(out.read_text())["schema"] == "certmgr.inventory/1"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


# -- wrong input ------------------------------------------------------------------------------------------------------


def test_an_unknown_host_is_a_finding(certmgr: Runner) -> None:
    ran = certmgr("scan", "no-such-host.invalid")
    assert ran.code in (1, 3)
    assert "name does not exist" in ran.out or "DNS did not answer" in ran.out


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("shop.example.com:99999", "not a port"),
        ("shop.example.com:https", "not a port"),
        ("shop.example.com/gopher", "not a protocol"),
        ("a b.example.com", "not a domain name"),
        ("", "empty"),
        ("a" * 300 + ".example", "not a domain name"),
        ("https://shop.example.com", "URL"),
    ],
)
def test_wrong_targets(certmgr: Runner, target: str, words: str) -> None:
    refused(certmgr("scan", target), 2, words)


def test_wrong_ca_files(certmgr: Runner, tmp_path: Path) -> None:
    refused(certmgr("scan", "127.0.0.1", "--ca-file", str(tmp_path / "none.pem")), 2, "cannot be read")
    (tmp_path / "junk.pem").write_text("junk")
    refused(certmgr("scan", "127.0.0.1", "--ca-file", str(tmp_path / "junk.pem")), 2, "cannot be used")


@pytest.mark.parametrize("text", ["shop.example.com", "shop.example.com:443", "shop.example.com:443:nowhere", "shop:x:127.0.0.1"])
def test_wrong_overrides(certmgr: Runner, text: str) -> None:
    refused(certmgr("scan", "shop.example.com", "--resolve", text), 2)


def test_an_unwritable_database(certmgr: Runner, tmp_path: Path) -> None:
    refused(certmgr("--database", "/proc/nowhere/x.db", "client", "list"), 3, "cannot be opened")
    (tmp_path / "folder.db").mkdir()
    refused(certmgr("--database", str(tmp_path / "folder.db"), "client", "list"), 3, "folder.db")


def test_a_file_that_is_no_database(certmgr: Runner, tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"this is no database " * 100)
    refused(certmgr("--database", str(tmp_path / "junk.db"), "client", "list"), 3, "cannot be used")
    assert (tmp_path / "junk.db").read_bytes() == b"this is no database " * 100


def test_a_database_of_a_newer_version(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    with contextlib.closing(sqlite3.connect(tmp_path / "cli.db")) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
        conn.commit()
    refused(certmgr("client", "list"), 3, "newer certmgr")


def test_a_database_url_that_is_none(certmgr: Runner) -> None:
    refused(certmgr("--database", "mysql://x/y", "client", "list"), 3, "not supported")
    refused(certmgr("--database", "postgresql://nobody@127.0.0.1:1/x", "client", "list"), 3, "cannot be used")


def test_a_client_twice(certmgr: Runner) -> None:
    assert certmgr("client", "add", "1", "One").code == 0
    refused(certmgr("client", "add", "1", "Another"), 3, "exists already")
    refused(certmgr("client", "add", "2", "One"), 3, "exists already", "1 One")
    assert len(certmgr("client", "list", "--format", "json").json["clients"]) == 1


@pytest.mark.parametrize("name", ["two words", "", "a" * 64 + ".example", ".".join(["label"] * 50)])
def test_wrong_domain_names(certmgr: Runner, name: str) -> None:
    certmgr("client", "add", "1", "One")
    refused(certmgr("domain", "add", name, "--client", "1"), 2)
    assert certmgr("endpoint", "list", "--format", "json").json["endpoints"] == []


def test_what_does_not_exist(certmgr: Runner) -> None:
    refused(certmgr("client", "show", "404"), 2, "There is no client '404'")
    refused(certmgr("domain", "show", "none.example.com"), 2, "There is no domain")
    refused(certmgr("domain", "add", "a.example.com", "--client", "404"), 2, "There is no client")
    refused(certmgr("scan"), 2, "no active endpoint", "certmgr domain add")
    refused(certmgr("scan", "--client", "404"), 2, "There is no client")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[scan]\ntimout = 3\n", "Did you mean 'timeout'"),
        ("[scna]\n", "Did you mean 'scan'"),
        ("[scan\n", "not TOML"),
        ("[scan]\ntimeout = 'x'\n", "it must be a number"),
        ("[scan]\ntimeout = -1\n", "above 0"),
        ("timeout = 1\n", "unknown section"),
        ("[network]\nallow = ['300.0.0.0/8']\n", "not a network"),
        ("[provider]\ntime_zone = 'Mars/Base'\n", "Europe/Berlin"),
    ],
)
def test_wrong_configuration(certmgr: Runner, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    refused(certmgr("--config", str(tmp_path / "bad.toml"), "scan", "127.0.0.1"), 2, words)


def test_configuration_from_the_environment(certmgr: Runner) -> None:
    refused(certmgr("scan", "127.0.0.1", environment={"CERTMGR_SCAN_TIMOUT": "1"}), 2, "Did you mean 'timeout'")
    refused(certmgr("scan", "127.0.0.1", environment={"CERTMGR_SCAN_TIMEOUT": "soon"}), 2, "must be a number")
    refused(certmgr("--config", "/nowhere.toml", "scan", "127.0.0.1"), 2, "cannot be read")


@pytest.mark.parametrize("date", ["yesterday", "2026-13-01", "2026-02-30", ""])
def test_a_date_that_is_none(certmgr: Runner, date: str) -> None:
    refused(certmgr("status", "--as-of", date), 2, "not a date")


def test_acceptances_need_a_scope_a_reason_and_a_future(certmgr: Runner) -> None:
    certmgr("client", "add", "1", "One")
    refused(certmgr("finding", "accept", "key-weak", "--until", "2099-01-01", "--reason", "x"), 2, "scope")
    refused(
        certmgr("finding", "accept", "key-week", "--until", "2099-01-01", "--reason", "x", "--client", "1"),
        2,
        "Did you mean 'key-weak'",
    )
    refused(certmgr("finding", "accept", "key-weak", "--until", "2001-01-01", "--reason", "x", "--client", "1"), 2, "has passed")
    refused(certmgr("finding", "accept", "key-weak", "--reason", "x", "--client", "1"), 2, "--until")


def test_imports_that_cannot_be_read(certmgr: Runner, tmp_path: Path) -> None:
    refused(certmgr("import", str(tmp_path / "none.csv"), "--from", "csv"), 2, "cannot be read")
    refused(certmgr("import", str(tmp_path), "--from", "zone"), 2, "needs --client")
    refused(certmgr("export", "--output", "/nowhere/out.json"), 3, "cannot be written")


def test_debug_shows_the_traceback(certmgr: Runner) -> None:
    ran = certmgr("--debug", "client", "show", "404")
    assert ran.code == 2
    assert "Traceback" in ran.err


def test_help_is_quick_to_import() -> None:
    """The heavy libraries are imported where they are used."""
    program = "import sys; import certmgr.cli.main; print([m for m in ('sqlalchemy', 'cryptography', 'OpenSSL', 'rich', 'acme', 'apprise', 'alembic') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, certmgr: Runner) -> None:
    if not Path("/dev/full").exists():
        pytest.fail("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "certmgr", "--database", str(tmp_path / "x.db"), "client", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


# -- more of what a user sees -----------------------------------------------------------------------------------------


def test_domain_add_proposes_what_resolves(certmgr: Runner, opened: Stack) -> None:
    from tests.servers import real

    resolver = opened.enter_context(
        real.dns({"example.test": ["192.0.2.1"], "www.example.test": ["192.0.2.1"], "mail.example.test": "NXDOMAIN"})
    )
    certmgr("client", "add", "1", "One")
    environment = {"CERTMGR_SCAN_RESOLVERS": resolver}
    ran = certmgr("domain", "add", "shop.example.test", "--client", "1", environment=environment)
    assert "certmgr domain add example.test --client 1" in ran.out
    assert "certmgr domain add www.example.test --client 1" in ran.out
    assert "mail" not in ran.out
    ran = certmgr("domain", "add", "other.example.test", "--client", "1", "--with-proposed", environment=environment)
    assert "www.example.test added too" in ran.out
    assert len(certmgr("domain", "list", "--format", "json").json["domains"]) == 4


def test_progress_on_a_terminal_and_nothing_of_it_in_a_pipe(certmgr: Runner, tmp_path: Path, opened: Stack) -> None:
    import pty

    silent = Server(servers.silent)
    opened.callback(silent.close)
    certmgr("client", "add", "1", "One")
    for i in range(3):
        certmgr("domain", "add", f"h{i}.example.test", "--client", "1", environment={"CERTMGR_SCAN_RESOLVERS": "127.0.0.1:9"})
        certmgr("endpoint", "edit", f"h{i}.example.test", "--port", str(silent.port), "--address", f"127.0.0.{i + 1}")
    piped = certmgr("scan", "--timeout", "1")
    assert "left" not in piped.err + piped.out
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "certmgr", "--database", str(tmp_path / "cli.db"), "scan", "--timeout", "1"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=30)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "3 of 3 (100%)" in shown
    assert "s left" in shown
    assert done.returncode == 1, "two of the three addresses refuse"


def test_a_second_scan_exits_3_and_names_the_first(certmgr: Runner, tmp_path: Path, opened: Stack) -> None:
    import time

    silent = Server(servers.silent)
    opened.callback(silent.close)
    certmgr("client", "add", "1", "One")
    certmgr("domain", "add", HOST, "--client", "1")
    certmgr("endpoint", "edit", HOST, "--port", str(silent.port), "--address", "127.0.0.1")
    first = subprocess.Popen(
        [sys.executable, "-m", "certmgr", "--database", str(tmp_path / "cli.db"), "scan", "--timeout", "20"],
        stderr=subprocess.DEVNULL,
    )
    while silent.connections == 0:
        time.sleep(0.05)
    ran = certmgr("scan")
    first.terminate()
    first.wait(10)
    assert (ran.code, f"process {first.pid}" in ran.err) == (3, True)


def test_two_clients_with_one_certificate_stay_apart(certmgr: Runner, tmp_path: Path, issuer: Authority, opened: Stack) -> None:
    """Nothing that is made for one client names the other, though both show the same faulty certificate."""
    names = ("one.first.test", "two.second.test")
    server = Server(servers.tls(server_context(issuer.issue(*names))))
    opened.callback(server.close)
    for number, name in zip(("1", "2"), names, strict=True):
        certmgr("client", "add", number, f"Client {number}")
        certmgr("contact", "add", f"Owner {number}", "--client", number, "--way", f"owner{number}@example.com")
        certmgr("domain", "add", name, "--client", number, environment={"CERTMGR_SCAN_RESOLVERS": "127.0.0.1:9"})
        certmgr("endpoint", "edit", name, "--port", str(server.port), "--address", "127.0.0.1")
    certmgr("scan")
    outputs = [
        certmgr("status", "--client", "1", "--all", "--format", "json"), certmgr("status", "--client", "1", "--causes"),
        certmgr("domain", "list", "--client", "1"), certmgr("endpoint", "list", "--client", "1"), certmgr("contact", "list", "--client", "1"),
        certmgr("finding", "list", "--client", "1"), certmgr("client", "show", "1"), certmgr("scan", "--client", "1", "-v"),
    ]  # fmt: skip
    for ran in outputs:
        assert "Client 2" not in ran.out
        assert "owner2@" not in ran.out
        assert "two.second.test:" not in ran.out
