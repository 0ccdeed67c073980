"""Tests of ``certmgr scan``."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlalchemy import func, select

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server
from inventory.models import Run
from tests.certmgr.cli.refusals import assert_refused
from tests.certmgr.scanning import running_scan
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve, serve_certificate
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers import real

Runner = Callable[..., Ran]


def test_json_of_a_scan_has_the_documented_fields(
    certmgr: Runner,
    port: int,
    root_file: Path,
) -> None:
    options = ("--resolve", f"{HOST}:{port}:127.0.0.1", "--ca-file", str(root_file))
    ran = certmgr("scan", f"{HOST}:{port}", *options, "--format", "json")
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
        "trust_rules",
        "http",
        "findings",
    }
    assert endpoint["target"] == f"{HOST}:{port}"
    assert (endpoint["protocol"], endpoint["client"]) == ("https", None)
    assert endpoint["verdict"] == "ok"
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
    assert set(address) == {
        "address",
        "tls_version",
        "cipher",
        "group",
        "post_quantum",
        "alpn",
        "ocsp",
        "chain",
        "trusted",
        "trusted_until",
        "error",
    }
    assert (address["trusted"], address["error"], len(address["chain"])) == (True, None, 2)
    assert document["summary"] == {
        "endpoints": 1,
        "ok": 1,
        "attention": 0,
        "fault": 0,
        "unknown": 0,
    }


def test_json_of_a_finding_has_code_severity_actor_and_evidence(
    certmgr: Runner,
    opened: Stack,
) -> None:
    ran = certmgr("scan", f"127.0.0.1:{refusing_port(opened)}", "--format", "json")
    assert ran.code == 1
    (endpoint,) = ran.json["endpoints"]
    (finding,) = endpoint["findings"]
    assert set(finding) == {
        "code",
        "severity",
        "actor",
        "outcome",
        "addresses",
        "detail",
        "evidence",
    }
    assert (finding["code"], finding["severity"]) == ("https-missing", "high")
    assert finding["actor"] == "staff"
    error = {"layer": "connect", "reason": "Connection refused"}
    assert endpoint["addresses"][0]["error"] == error
    assert endpoint["certificate"] is None
    assert ran.json["summary"]["fault"] == 1


def test_exit_code_is_1_for_a_fault_3_if_undetermined_and_0_on_request(
    certmgr: Runner,
    opened: Stack,
) -> None:
    refusing = f"127.0.0.1:{refusing_port(opened)}"
    silent = f"127.0.0.1:{serve(opened, servers.silent)}"
    assert certmgr("scan", refusing).code == 1
    assert certmgr("scan", refusing, "--exit-zero").code == 0
    assert certmgr("scan", silent, "--timeout", "0.6").code == 3


def test_scan_of_targets_makes_no_database(certmgr: Runner, tmp_path: Path, port: int) -> None:
    certmgr("scan", f"127.0.0.1:{port}")
    assert not (tmp_path / "cli.db").exists()


def test_table_in_a_pipe_is_plain_text(certmgr: Runner, port: int) -> None:
    ran = certmgr("scan", f"127.0.0.1:{port}")
    assert "\x1b" not in ran.out
    assert ran.err == ""
    assert "✗ fault" in ran.out
    assert "wrong name" in ran.out


def test_csv_has_a_header_and_one_row_per_target(certmgr: Runner, port: int) -> None:
    ran = certmgr("scan", f"127.0.0.1:{port}", "--format", "csv")
    header, row = ran.out.splitlines()
    assert header.startswith("target,client,verdict,days_left")
    assert row.startswith(f"127.0.0.1:{port},,fault,")


def test_unknown_host_is_a_fault(certmgr: Runner, opened: Stack) -> None:
    resolver = opened.enter_context(real.dns({}))
    environment = {"CERTMGR_SCAN_RESOLVERS": resolver}
    ran = certmgr("scan", "no-such-host.invalid", environment=environment)
    assert ran.code == 1
    assert "name does not exist" in ran.out


def test_unreachable_name_server_leaves_the_host_undetermined(certmgr: Runner) -> None:
    ran = certmgr("scan", "no-such-host.invalid")
    assert ran.code == 3
    assert "DNS did not answer" in ran.out


@pytest.mark.parametrize("output_format", ["table", "json", "csv"])
def test_hostile_text_of_a_certificate_is_harmless_in_each_format(
    certmgr: Runner, root_file: Path, issuer: Authority, opened: Stack, output_format: str
) -> None:
    text = (
        "=cmd()|' /C calc'!A0 \x1b[31mred\x1b[0m\r\nX-Injected: 1 \u202egnp.exe [/foo]"
        " [link=http://evil.test]x[/link] <script>alert(1)</script>"
    )
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, text[:60])
    subject = x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, text[60:120])])
    names = ("=cmd().example.test", "a\x1b[31m.example.test", "b[link=x].example.test")
    port = serve_certificate(opened, issuer.issue(*names, subject=subject))
    options = ("--ca-file", str(root_file), "--format", output_format, "-v")
    ran = certmgr("scan", f"127.0.0.1:{port}", *options)
    assert ran.code == 1, ran.err
    for character in ("\x1b", "\r", "\u202e", "\0"):
        assert character not in ran.out
        assert character not in ran.err
    if output_format == "json":
        assert ran.json["endpoints"][0]["verdict"] == "fault"
    if output_format == "csv":
        cells = [cell for row in csv.reader(io.StringIO(ran.out)) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("shop.example.com:99999", "not a port"),
        ("shop.example.com:https", "not a port"),
        ("shop.example.com/gopher", "not a protocol"),
        ("a b.example.com", "not a domain name"),
        ("", "empty"),
        ("a" * 300 + ".example", "not a domain name"),
        ("http://shop.example.com:8080/", "--http-port"),
    ],
)
def test_invalid_target_is_refused(certmgr: Runner, target: str, words: str) -> None:
    assert_refused(certmgr("scan", target), 2, words)


def test_unusable_ca_file_is_refused(certmgr: Runner, tmp_path: Path) -> None:
    missing, junk = tmp_path / "none.pem", tmp_path / "junk.pem"
    junk.write_text("junk")
    for path, words in ((missing, "cannot be read"), (junk, "cannot be used")):
        assert_refused(certmgr("scan", "127.0.0.1", "--ca-file", str(path)), 2, words)


@pytest.mark.parametrize(
    "text",
    [
        "shop.example.com",
        "shop.example.com:443",
        "shop.example.com:443:nowhere",
        "shop:x:127.0.0.1",
    ],
)
def test_invalid_override_of_an_address_is_refused(certmgr: Runner, text: str) -> None:
    assert_refused(certmgr("scan", "shop.example.com", "--resolve", text), 2)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_timeout_that_is_not_a_positive_number_is_refused(certmgr: Runner, value: str) -> None:
    assert certmgr("scan", "127.0.0.1", "--timeout", value).code == 2
    environment = {"CERTMGR_SCAN_TIMEOUT": value}
    assert certmgr("scan", "127.0.0.1", environment=environment).code == 2


def test_unreadable_ca_file_starts_no_run(
    certmgr: Runner,
    add_client: Callable[..., None],
    tmp_path: Path,
) -> None:
    add_client("a.example.test")
    ran = certmgr("scan", "--ca-file", "/nowhere.pem")
    assert (ran.code, ran.out) == (2, "")
    database = open_sqlite(tmp_path / "cli.db")
    with database.read() as conn:
        assert conn.execute(select(func.count()).select_from(Run)).scalar() == 0
    database.close()


def test_scan_of_targets_uses_the_intermediates_of_the_inventory(
    certmgr: Runner,
    add_client: Callable[..., None],
    root: Authority,
    root_file: Path,
    opened: Stack,
) -> None:
    hidden = Authority("Hidden Issuer", root)
    full_chain = serve_certificate(opened, hidden.issue(HOST))
    leaf_only = serve_certificate(opened, hidden.issue("127.0.0.1"), chain=())
    add_client(HOST, port=full_chain)
    trusting = ("--ca-file", str(root_file))

    def trusted() -> bool | None:
        ran = certmgr("scan", f"127.0.0.1:{leaf_only}", *trusting, "--format", "json")
        answer: bool | None = ran.json["endpoints"][0]["addresses"][0]["trusted"]
        return answer

    # Without the intermediate the path is undetermined; a scan of the inventory stores it.
    assert trusted() is None
    assert certmgr("scan", *trusting).code == 0
    assert trusted() is True


def test_progress_is_shown_on_a_terminal_and_not_in_a_pipe(
    certmgr: Runner, add_client: Callable[..., None], tmp_path: Path, opened: Stack
) -> None:
    port = serve(opened, servers.silent)
    hosts = [f"h{n}.example.test" for n in range(3)]
    add_client(*hosts, port=port)
    for n, host in enumerate(hosts):  # the second and third address have no server
        certmgr("endpoint", "edit", f"{host}:{port}", "--address", f"127.0.0.{n + 1}")
    piped = certmgr("scan", "--timeout", "0.6")
    assert "left" not in piped.err + piped.out
    # Progress is printed only if stderr is a terminal.
    controller, terminal = pty.openpty()
    files = ("--config", str(tmp_path / "certmgr.toml"), "--database", str(tmp_path / "cli.db"))
    command = [sys.executable, "-m", "certmgr", *files, "scan", "--timeout", "0.6"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = os.read(controller, 65536).decode()
    os.close(controller)
    assert "3 of 3 (100%)" in shown
    assert "pages/s" not in shown, "this scan visits no pages"
    assert done.returncode == 1


def test_second_scan_exits_3_and_names_the_first(
    certmgr: Runner, add_client: Callable[..., None], tmp_path: Path, opened: Stack
) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    add_client(HOST, port=silent.port)
    with running_scan(tmp_path / "cli.db", silent) as first:
        ran = certmgr("scan")
    assert (ran.code, f"process {first.pid}" in ran.err) == (3, True)


@pytest.mark.parametrize("port", [22, 1433, 3389])
def test_port_whose_dialogue_is_not_known_is_a_usage_error(certmgr: Runner, port: int) -> None:
    ran = certmgr("scan", f"127.0.0.1:{port}")
    assert_refused(ran, 2, f"127.0.0.1:{port}/tls")
    assert f"127.0.0.1:{port}/https" in ran.err
