"""Hostile and broken servers: each gives its finding within its time, and the endpoint beside it is unaffected."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certmgr.checks.judge import Context, Judge
from certmgr.checks.trust import TrustStore
from certmgr.config import NetworkSettings, Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.scan.report import Report
from certmgr.survey import Options, Survey, scan_targets
from inventory.certificates import parse
from inventory.database import Database
from inventory.store import clients, domains
from inventory.targets import Target
from inventory.targets import parse as parse_target
from tests.certificates import certificate_message, message, raw_server, record, server_hello, tlv
from tests.clock import clock
from tests.program import Ran
from tests.servers import real
from tests.servers.ports import free_port

HOST = "shop.example.test"
GOOD = "good.example.test"
TIMEOUT = 2.0
Stack = contextlib.ExitStack


def beside(settings: Settings, issuer: Authority, opened: Stack, port: int, timeout: float = TIMEOUT) -> Report:
    """Scan the hostile port and a good server in one run; the good one must be ok.

    That it returns shows the deadline: a hostile server goes on for minutes, or without end.
    """
    good = Server(servers.tls(server_context(issuer.issue(GOOD))))
    opened.callback(good.close)
    overrides = {(HOST, port): ("127.0.0.1",), (GOOD, good.port): ("127.0.0.1",)}
    bad, well = scan_targets(
        settings,
        Options(overrides=overrides, timeout=timeout),
        [parse_target(f"{HOST}:{port}"), parse_target(f"{GOOD}:{good.port}")],
        clock=clock,
    )
    assert well.findings == ()
    return bad


def codes(report: Report) -> set[str]:
    return {f.code for f in report.findings}


def serving(opened: Stack, talk: servers.Talk) -> int:
    server = Server(talk)
    opened.callback(server.close)
    return server.port


def test_silence_after_accept(settings: Settings, issuer: Authority, opened: Stack) -> None:
    assert codes(beside(settings, issuer, opened, serving(opened, servers.silent))) == {"connection-timeout"}


def test_one_byte_a_second(settings: Settings, issuer: Authority, opened: Stack) -> None:
    def drip(sock: socket.socket) -> None:
        sock.recv(4096)
        for byte in record(22, server_hello() + certificate_message([b"x" * 5000])):
            sock.sendall(bytes([byte]))
            time.sleep(0.2)

    assert codes(beside(settings, issuer, opened, serving(opened, drip))) == {"connection-timeout"}


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02" * 50, b"\xff" * 2000, b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03"])
def test_garbage(settings: Settings, issuer: Authority, opened: Stack, garbage: bytes) -> None:
    assert codes(beside(settings, issuer, opened, serving(opened, servers.saying(garbage)))) <= {"not-tls", "handshake-failed"}


def test_plain_http_on_the_tls_port(settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    http = f"server {{ listen 127.0.0.1:{(free := free_port())}; return 200; }}"
    pair = real.write_pair(tmp_path, issuer.issue(GOOD))
    opened.enter_context(real.nginx(tmp_path / "n", [(GOOD, *pair)], http=http))
    assert codes(beside(settings, issuer, opened, free)) == {"not-tls"}


@pytest.mark.parametrize("alert", [10, 20, 40, 47, 50, 51, 70, 71, 80, 86, 109, 112, 113, 120])
def test_alerts(settings: Settings, issuer: Authority, opened: Stack, alert: int) -> None:
    report = beside(settings, issuer, opened, serving(opened, servers.saying(record(21, bytes([2, alert])))))
    assert codes(report) == {"handshake-failed"}
    assert report.findings[0].evidence["alert"] == alert


def test_endless_hello_requests(settings: Settings, issuer: Authority, opened: Stack) -> None:
    def endless(sock: socket.socket) -> None:
        sock.recv(4096)
        for _ in range(200_000):
            sock.sendall(record(22, message(0, b"")) * 50)

    assert codes(beside(settings, issuer, opened, serving(opened, endless))) <= {
        "handshake-failed",
        "connection-timeout",
        "too-large",
    }


def test_endless_key_updates(settings: Settings, issuer: Authority, opened: Stack) -> None:
    """A TLS 1.3 server that goes on talking after its handshake holds nobody up."""
    context = server_context(issuer.issue(HOST))

    def talk(sock: socket.socket) -> None:
        from OpenSSL import SSL

        connection = SSL.Connection(context, sock)
        connection.set_accept_state()
        connection.do_handshake()
        for _ in range(20_000):
            connection.send(b"x" * 1000)

    assert codes(beside(settings, issuer, opened, serving(opened, talk))) == set()


def test_ten_thousand_names(settings: Settings, issuer: Authority, opened: Stack) -> None:
    names = [HOST, *(f"n{i}.a-rather-long-name-of-a-customer.example.test" for i in range(1500))]
    report = beside(settings, issuer, opened, serving(opened, servers.tls(server_context(issuer.issue(*names)))))
    assert codes(report) == set()
    assert report.certificate is not None
    assert len(report.certificate.names) == 1501
    many = issuer.issue(*[f"n{i}.example.test" for i in range(10_000)])
    report = beside(settings, issuer, opened, serving(opened, servers.tls(server_context(many))), timeout=4.0)
    assert codes(report) <= {"too-large", "name-mismatch", "certificate-malformed"}
    assert codes(report)


def test_a_chain_of_four_hundred(settings: Settings, issuer: Authority, opened: Stack) -> None:
    chain = [issuer.issue(HOST).der, *[issuer.der] * 399]
    report = beside(settings, issuer, opened, raw_with(opened, issuer, *chain))
    assert codes(report) <= {"too-large", "handshake-failed", "connection-timeout", "chain-disordered"}
    assert codes(report)


def raw_with(opened: Stack, issuer: Authority, *chain: bytes) -> int:
    server = raw_server(issuer, *chain)
    opened.callback(server.close)
    return server.port


def test_a_leaf_of_a_megabyte(settings: Settings, issuer: Authority, opened: Stack) -> None:
    huge = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), tlv(4, b"\0" * 1_000_000))
    leaf = issuer.issue(HOST, extensions=[(huge, False)])
    assert codes(beside(settings, issuer, opened, raw_with(opened, issuer, leaf.der, issuer.der), timeout=4.0)) == {"too-large"}


def test_reset_in_the_handshake(settings: Settings, issuer: Authority, opened: Stack) -> None:
    assert codes(beside(settings, issuer, opened, serving(opened, servers.reset))) == {"handshake-failed"}


def test_a_socket_that_never_accepts(settings: Settings, issuer: Authority, opened: Stack) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    opened.callback(listener.close)
    for _ in range(3):  # fills the queue: further connections are not answered at all
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        opened.callback(filler.close)
    assert codes(beside(settings, issuer, opened, listener.getsockname()[1])) == {"connection-timeout"}


# -- names that point inside ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "10.0.0.5", "127.0.0.1", "::ffff:10.0.0.1", "fd00::1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"]
)
def test_an_inventory_name_that_points_inside_is_refused(
    database: Database, settings: Settings, opened: Stack, address: str
) -> None:
    visited = Server(servers.silent)
    opened.callback(visited.close)
    resolver = opened.enter_context(real.dns({HOST: [address]}))
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        domains.add(tx, HOST, {"client": "1"})
    told: list[Report] = []
    changed = replace(settings, scan=replace(settings.scan, resolvers=(resolver,)))
    Survey(database, changed, Options(full=True), on_report=lambda _, report: told.append(report)).run()
    assert [(f.code, f.severity, f.actor) for f in told[0].findings] == [("address-refused", "undetermined", "staff")]
    assert told[0].addresses == ()
    assert visited.connections == 0


def test_a_configured_network_is_visited(database: Database, settings: Settings, opened: Stack) -> None:
    resolver = opened.enter_context(real.dns({HOST: ["127.0.0.1"]}))
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        domains.add(tx, HOST, {"client": "1"})
    told: list[Report] = []
    changed = replace(
        settings, scan=replace(settings.scan, resolvers=(resolver,)), network=NetworkSettings(allow=("127.0.0.0/8",))
    )
    Survey(database, changed, Options(full=True), on_report=lambda _, report: told.append(report)).run()
    assert [a.address for a in told[0].addresses] == ["127.0.0.1"]


# -- malformed DER ----------------------------------------------------------------------------------------------------


def _judged(der: bytes) -> set[str]:
    now = clock()
    seen = AddressEvidence("192.0.2.1", (der,), "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    evidence = Evidence(Target(HOST), now, Resolution("fixed", ("192.0.2.1",)), (seen,))
    return {f.code for f in Judge(TrustStore([]), parse).judge(evidence, Context(), now).findings}


def _malformed(issuer: Authority) -> dict[str, bytes]:
    """One certificate for each kind of exception that parsing raises."""
    good = issuer.issue(HOST)
    oid = x509.ObjectIdentifier("2.5.29.17")
    san = good.certificate.extensions.get_extension_for_oid(oid).value.public_bytes()
    odd = issuer.issue(HOST, san=False, extensions=[(x509.UnrecognizedExtension(oid, tlv(0x30, tlv(0xA3, b"\x30\x00"))), False)])
    twice = good.der.replace(bytes.fromhex("0603551d25"), bytes.fromhex("0603551d11"), 1)
    return {
        "InvalidVersion": good.der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1),
        "DuplicateExtension": twice,
        "UnsupportedGeneralNameType": odd.der,
        "UnsupportedAlgorithm": good.der.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0209"), 1),
        "ValueError": good.der[:-40],
        "SAN garbage": good.der.replace(san, b"\x05" * len(san), 1),
        "empty": b"",
        "zeros": b"\0" * 500,
    }


@pytest.mark.parametrize(
    "kind",
    [
        "InvalidVersion",
        "DuplicateExtension",
        "UnsupportedGeneralNameType",
        "UnsupportedAlgorithm",
        "ValueError",
        "SAN garbage",
        "empty",
        "zeros",
    ],
)
def test_malformed_der_is_a_finding_and_keeps_its_bytes(issuer: Authority, kind: str) -> None:
    der = _malformed(issuer)[kind]
    certificate = parse(der)
    assert certificate.problems
    assert certificate.der == der
    assert "certificate-malformed" in _judged(der)


@pytest.mark.parametrize("kind", ["InvalidVersion", "ValueError", "SAN garbage", "zeros"])
def test_malformed_der_from_a_server(settings: Settings, issuer: Authority, opened: Stack, kind: str) -> None:
    report = beside(settings, issuer, opened, raw_with(opened, issuer, _malformed(issuer)[kind], issuer.der))
    assert codes(report) & {"certificate-malformed", "handshake-failed", "connection-timeout"}
    assert report.addresses[0].trusted is not True


# -- what must not reach a terminal, a CSV cell or HTML ---------------------------------------------------------------

NASTY = "=cmd()|' /C calc'!A0 \x1b[31mred\x1b[0m\r\nX-Injected: 1 \u202egnp.exe [/foo] [link=http://evil.test]x[/link] <script>alert(1)</script>"


@pytest.fixture
def nasty_port(issuer: Authority, opened: Stack) -> int:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, NASTY[:60]), x509.NameAttribute(NameOID.COMMON_NAME, NASTY[60:120])]
    )
    leaf = issuer.issue("=cmd().example.test", "a\x1b[31m.example.test", "b[link=x].example.test", subject=subject)
    return serving(opened, servers.tls(server_context(leaf)))


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_nothing_hostile_reaches_a_sink(certmgr: Callable[..., Ran], root_file: Path, nasty_port: int, form: str) -> None:
    ran = certmgr("scan", f"127.0.0.1:{nasty_port}", "--ca-file", str(root_file), "--format", form, "-v")
    assert ran.code == 1, ran.err
    for character in ("\x1b", "\r", "\u202e", "\0"):
        assert character not in ran.out
        assert character not in ran.err
    if form == "json":
        assert ran.json["endpoints"][0]["verdict"] == "fault"
    if form == "csv":
        import csv
        import io

        cells = [c for row in csv.reader(io.StringIO(ran.out)) for c in row]
        assert not [c for c in cells if c.startswith(("=", "+", "-", "@"))]


def test_a_property_of_mutated_certificates(issuer: Authority) -> None:
    """Parser and checks give an answer for any mutation of a certificate, and the answer can be written as JSON."""
    from hypothesis import given
    from hypothesis import strategies as st

    base = issuer.issue(HOST, key=ec.generate_private_key(ec.SECP256R1())).der
    now = clock()
    judge = Judge(TrustStore([parse(issuer.parent.der)] if issuer.parent else []), parse)
    edits = st.lists(st.tuples(st.integers(0, len(base) - 1), st.integers(0, 255)), min_size=1, max_size=6)

    @given(edits, st.integers(0, len(base)))
    def mutated(changes: list[tuple[int, int]], cut: int) -> None:
        data = bytearray(base)
        for position, value in changes:
            data[position] = value
        der = bytes(data[:cut]) if cut % 7 == 0 else bytes(data)
        evidence = Evidence(
            Target(HOST), now, Resolution("fixed", ("192.0.2.1",)), (AddressEvidence("192.0.2.1", (der, issuer.der)),)
        )
        judged = judge.judge(evidence, Context(), now)
        for f in judged.findings:
            json.dumps(f.evidence)
        certificate = parse(der)
        assert certificate.subject.isprintable() and certificate.issuer.isprintable()

    mutated()
