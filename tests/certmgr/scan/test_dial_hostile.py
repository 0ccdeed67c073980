"""Hostile and broken servers: each gets its finding.

None affects a good server in the same run.
"""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import server_context
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from inventory.targets import Target
from tests.campaign import UNREACHED, time_limits
from tests.certificates import (
    certificate_message,
    message,
    raw_server,
    record,
    server_hello,
    tlv,
)
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.malformed import malformed
from tests.certmgr.tls_servers import HOST, Stack, serve, serve_certificate
from tests.clock import clock
from tests.servers import real

GOOD = "good.example.test"


def scan_next_to_a_good_server(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    ports: dict[str, int],
    endless: Collection[str] = (),
) -> dict[str, EndpointReport]:
    """Scan hostile ports and a good server in one run, and return the report of each host.

    The good server must be ok. A hostile server sends for minutes or without end, so the return of
    the scan proves its deadline.

    Args:
        endless: The hosts that may never end their answer, so that the time limit is waited for.
    """
    ports = ports | {GOOD: serve_certificate(opened, issuer.issue(GOOD))}
    targets = [Target(host, port) for host, port in ports.items()]
    overrides = {(t.host, t.port): ("127.0.0.1",) for t in targets}
    for limit in time_limits(4.0) if endless else [UNREACHED]:
        options = ScanOptions(overrides=overrides, timeout=limit)
        reports = {r.target.host: r for r in scan_targets(settings, options, targets, clock=clock)}
        late = {h for h in reports if "connection-timeout" in codes(reports[h])}
        if late <= set(endless):
            break
    assert reports[GOOD].findings == ()
    return reports


def codes(report: EndpointReport) -> set[str]:
    return {f.code for f in report.findings}


GARBAGE = {
    "binary": b"\x00\x01\x02" * 50,
    "ones": b"\xff" * 2000,
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "cut": b"\x16\x03",
}
ALERTS = (10, 20, 40, 47, 50, 51, 70, 71, 80, 86, 109, 112, 113, 120)
ENDLESS = ("silent", "drip", "never accepting")
MALFORMED = ("InvalidVersion", "ValueError", "SAN garbage", "zeros")


def _drip(sock: socket.socket) -> None:
    sock.recv(4096)
    for byte in record(22, server_hello() + certificate_message([b"x" * 5000])):
        sock.sendall(bytes([byte]))
        time.sleep(0.2)


def _never_accepting(opened: Stack) -> int:
    """Return a port whose accept queue is full, so that further connections get no answer."""
    listener = opened.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(3):
        filler = opened.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return int(listener.getsockname()[1])


def _raw(opened: Stack, issuer: Authority, *chain: bytes) -> int:
    server = raw_server(issuer, *chain)
    opened.callback(server.close)
    return server.port


def _host(kind: str) -> str:
    return f"{kind.lower().replace(' ', '-')}.example.test"


@pytest.fixture(scope="session")
def hostile(
    root: Authority,
    issuer: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], EndpointReport]]:
    """Return a function from the kind of a hostile server to its report.

    All are scanned in one run.
    """
    with Stack() as opened:
        ports = {
            "silent": serve(opened, servers.silent),
            "drip": serve(opened, _drip),
            "never accepting": _never_accepting(opened),
            "reset": serve(opened, servers.reset),
        }
        ports |= {
            f"garbage {k}": serve(opened, servers.respond_with(v)) for k, v in GARBAGE.items()
        }
        for alert in ALERTS:
            answer = record(21, bytes([2, alert]))
            ports[f"alert {alert}"] = serve(opened, servers.respond_with(answer))
        for kind in MALFORMED:
            port = _raw(opened, issuer, malformed(issuer, kind), issuer.der)
            ports[f"malformed {kind}"] = port
        settings = loopback_settings(root, tmp_path_factory.mktemp("hostile"))
        by_host = {_host(kind): port for kind, port in ports.items()}
        endless = {_host(k) for k in ports if k in ENDLESS or k.startswith("malformed")}
        reports = scan_next_to_a_good_server(settings, issuer, opened, by_host, endless)
    yield lambda kind: reports[_host(kind)]


@pytest.mark.parametrize("kind", ENDLESS)
def test_server_that_does_not_end_its_answer_times_out(
    hostile: Callable[[str], EndpointReport],
    kind: str,
) -> None:
    assert codes(hostile(kind)) == {"connection-timeout"}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_not_tls_or_a_failed_handshake(
    hostile: Callable[[str], EndpointReport],
    kind: str,
) -> None:
    assert codes(hostile(f"garbage {kind}")) <= {"not-tls", "handshake-failed"}


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_fails_the_handshake_and_is_kept(
    hostile: Callable[[str], EndpointReport],
    alert: int,
) -> None:
    report = hostile(f"alert {alert}")
    assert codes(report) == {"handshake-failed"}
    assert report.findings[0].evidence["alert"] == alert


def test_reset_next_to_a_good_server_fails_the_handshake(
    hostile: Callable[[str], EndpointReport],
) -> None:
    assert codes(hostile("reset")) == {"handshake-failed"}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_certificate_of_a_server_is_a_finding_and_not_trusted(
    hostile: Callable[[str], EndpointReport],
    kind: str,
) -> None:
    report = hostile(f"malformed {kind}")
    assert codes(report) & {"certificate-malformed", "handshake-failed", "connection-timeout"}
    assert report.addresses[0].trusted is not True


def _scan(settings: Settings, issuer: Authority, opened: Stack, port: int) -> EndpointReport:
    return scan_next_to_a_good_server(settings, issuer, opened, {HOST: port})[HOST]


def test_plain_http_on_the_tls_port_is_not_tls(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    tmp_path: Path,
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(GOOD))
    plain, _ = opened.enter_context(real.web(tmp_path, pair, "return 200;", "return 200;"))
    assert codes(_scan(settings, issuer, opened, plain)) == {"not-tls"}


def test_endless_hello_requests_end_with_a_finding(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    def endless(sock: socket.socket) -> None:
        sock.recv(4096)
        while True:  # until the client closes the connection
            sock.sendall(record(22, message(0, b"")) * 50)

    result = codes(_scan(settings, issuer, opened, serve(opened, endless)))
    assert result <= {"handshake-failed", "connection-timeout", "too-large"}


def test_server_that_sends_on_after_the_handshake_is_ok(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    context = server_context(issuer.issue(HOST))

    def talk(sock: socket.socket) -> None:
        connection = SSL.Connection(context, sock)
        connection.set_accept_state()
        connection.do_handshake()
        while True:  # until the client closes the connection
            connection.send(b"x" * 1000)

    assert codes(_scan(settings, issuer, opened, serve(opened, talk))) == set()


def test_certificate_with_1501_names_is_ok(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    long = "a-rather-long-name-of-a-customer.example.test"
    issued = issuer.issue(HOST, *[f"n{i}.{long}" for i in range(1500)])
    report = _scan(settings, issuer, opened, serve_certificate(opened, issued))
    assert codes(report) == set()
    assert report.certificate is not None
    assert len(report.certificate.names) == 1501


def test_certificate_with_ten_thousand_names_is_a_finding(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    issued = issuer.issue(*[f"n{i}.example.test" for i in range(10_000)])
    result = codes(_scan(settings, issuer, opened, serve_certificate(opened, issued)))
    assert result
    # Browsers end a handshake with more than 100 KB of certificates.
    assert result <= {"handshake-failed", "name-mismatch", "certificate-malformed"}


def test_chain_of_four_hundred_is_a_finding(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    chain = [issuer.issue(HOST).der, *[issuer.der] * 399]
    result = codes(_scan(settings, issuer, opened, _raw(opened, issuer, *chain)))
    assert result
    assert result <= {"too-large", "handshake-failed", "connection-timeout", "chain-disordered"}


def test_certificate_of_a_megabyte_fails_as_in_browsers(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
    huge = x509.UnrecognizedExtension(oid, tlv(4, b"\0" * 1_000_000))
    leaf = issuer.issue(HOST, extensions=[(huge, False)])
    port = _raw(opened, issuer, leaf.der, issuer.der)
    assert codes(_scan(settings, issuer, opened, port)) == {"handshake-failed"}


@pytest.mark.parametrize(
    ("bits", "expected"), [(2048, "ciphers-obsolete"), (10_000, "handshake-failed")]
)
def test_large_diffie_hellman_prime_is_refused_before_the_computation(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    tmp_path: Path,
    bits: int,
    expected: str,
) -> None:
    """OpenSSL computes with up to 10,000 bits, and each such handshake costs most of a second."""
    prime, generator = (1 << bits) - 1, 2
    numbers = tlv(2, b"\0" + prime.to_bytes(bits // 8, "big")) + tlv(2, bytes([generator]))
    parameters = base64.encodebytes(tlv(0x30, numbers)).decode()
    (tmp_path / "dh.pem").write_text(
        f"-----BEGIN DH PARAMETERS-----\n{parameters}-----END DH PARAMETERS-----\n"
    )
    issued = issuer.issue(HOST, key=rsa.generate_private_key(65537, 2048))
    pair = real.write_pair(tmp_path, issued)
    options = ("-tls1_2", "-cipher", "kDHE:@SECLEVEL=0", "-dhparam", str(tmp_path / "dh.pem"))
    port = opened.enter_context(real.s_server(*pair, *options))
    # Browsers offer no DHE, so only the tolerant offer reaches the parameters.
    report = _scan(settings, issuer, opened, port)
    assert codes(report) == {expected}
    assert report.certificate is not None
