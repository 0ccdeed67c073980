"""Servers that flood or drip TLS records: each ends by its own limits, and delays no other site."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from OpenSSL import SSL

from certmgr.config.settings import HttpSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.demo.servers import ConnectionHandler, server_context
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.scan import connection, dial, openssl
from inventory.targets import Target
from tests.campaign import UNREACHED, time_limits
from tests.certificates import certificate_message, record, server_hello
from tests.certmgr.tls_records import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    HELLO_REQUEST,
    KEY_UPDATE,
    KEY_UPDATE_REQUESTED,
    TICKET,
    WARNING,
    RecordWriter,
    after_handshake,
)
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve
from tests.clock import clock

GOOD = [f"good-{n}.example.test" for n in range(10)]
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nPage"


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """The bytes that each TLS connection of the scan has read."""
    read: Counter[int] = Counter()
    # As long as all of them exist, no two have the same id.
    kept: list[openssl.Handshake] = []
    feed = openssl.Handshake.feed

    def counted(self: openssl.Handshake, data: bytes) -> None:
        kept.append(self)
        read[id(self)] += len(data)
        feed(self, data)

    monkeypatch.setattr(openssl.Handshake, "feed", counted)
    return read


def _site(issuer: Authority, host: str) -> ConnectionHandler:
    context = server_context(issuer.issue(host))

    def talk(sock: socket.socket) -> None:
        secure = SSL.Connection(context, sock)
        secure.set_accept_state()
        secure.do_handshake()
        if secure.recv(65536):
            secure.sendall(PAGE)
            secure.shutdown()

    return talk


def scan_among_ten_good_sites(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    hostile: ConnectionHandler,
    limits: Iterable[float] = (UNREACHED,),
) -> EndpointReport:
    """Scan one hostile and ten good sites with their pages; all good ones must be judged.

    A hostile server writes without end, so the return of the scan shows that it was ended.

    Args:
        limits: Time limits, tried until all good sites are judged. Only one server is ended by it.
    """
    ports = {HOST: serve(opened, hostile)} | {h: serve(opened, _site(issuer, h)) for h in GOOD}
    targets = [Target(host, port) for host, port in ports.items()]
    http = refusing_port(opened)
    overrides = {(t.host, p): ("127.0.0.1",) for t in targets for p in (t.port, http)}
    pages = replace(settings, http=HttpSettings(enabled=True, per_address=0, rate=0.0))
    for limit in limits:
        options = ScanOptions(overrides=overrides, timeout=limit, http_port=http)
        reports = {r.target.host: r for r in scan_targets(pages, options, targets, clock=clock)}
        if all({f.code for f in reports[h].findings} == {"hsts-missing"} for h in GOOD):
            break
    for host in GOOD:
        assert {f.code for f in reports[host].findings} == {"hsts-missing"}
    return reports[HOST]


def _flood(*records: tuple[int, bytes]) -> Callable[[RecordWriter], None]:
    def talk(writer: RecordWriter) -> None:
        while True:  # until the client closes the connection
            writer.send(*records * 200)

    return talk


def _key_updates(message: bytes) -> Callable[[RecordWriter], None]:
    def talk(writer: RecordWriter) -> None:
        while True:
            writer.send((HANDSHAKE, message))
            writer.update_key()

    return talk


def _begun(answer: bytes, *records: tuple[int, bytes]) -> Callable[[RecordWriter], None]:
    def talk(writer: RecordWriter) -> None:
        writer.send((APPLICATION_DATA, answer))
        _flood(*records)(writer)

    return talk


FLOODS_13 = {
    "tickets": _flood((HANDSHAKE, TICKET)),
    "ten-tickets-in-a-record": _flood((HANDSHAKE, TICKET * 10)),
    "tickets-after-half-a-page": _begun(PAGE.replace(b"th: 4", b"th: 9"), (HANDSHAKE, TICKET)),
    "key-updates": _key_updates(KEY_UPDATE),
    "key-updates-to-be-answered": _key_updates(KEY_UPDATE_REQUESTED),
    "empty-records": _flood((APPLICATION_DATA, b"")),
    # The content type is followed by zeros (RFC 8446 5.4).
    "padding": _flood((0, bytes([APPLICATION_DATA]) + bytes(16_000))),
    "warnings": _flood((ALERT, bytes([1, 90]))),
    "one-byte-of-a-header-per-ten-tickets": _begun(
        b"HTTP/1.1 200 OK\r\nX-Long: ", (APPLICATION_DATA, b"x"), *[(HANDSHAKE, TICKET)] * 10
    ),
}
FLOODS_12 = {
    "hello-requests": _flood((HANDSHAKE, HELLO_REQUEST)),
    "empty-records": _flood((APPLICATION_DATA, b"")),
    "warnings": _flood((ALERT, WARNING)),
    "empty-records-and-warnings": _flood((APPLICATION_DATA, b""), (ALERT, WARNING)),
}


@pytest.mark.parametrize(
    ("flood", "tls12"),
    [
        *[pytest.param(f, False, id=f"1.3-{name}") for name, f in FLOODS_13.items()],
        *[pytest.param(f, True, id=f"1.2-{name}") for name, f in FLOODS_12.items()],
    ],
)
def test_flood_of_records_without_content_is_read_up_to_a_limit(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    fed: Counter[int],
    flood: Callable[[RecordWriter], None],
    tls12: bool,
) -> None:
    hostile = after_handshake(issuer.issue(HOST), flood, tls12=tls12)
    report = scan_among_ten_good_sites(settings, issuer, opened, hostile)
    # The probe ended with the handshake, so its certificate is judged as ever.
    assert report.addresses[0].trusted is True
    # OpenSSL itself ends some floods, as the library of a browser does.
    ended = {"http-unknown", "answer-invalid", "too-large"}
    assert len({f.code for f in report.findings} & ended) == 1
    # The handshake has about 5 KB.
    assert max(fed.values()) <= connection.MAX_SILENT_BYTES + connection.MAX_PER_TURN


def test_renegotiation_without_end_is_read_up_to_a_limit(
    settings: Settings, issuer: Authority, opened: Stack, fed: Counter[int]
) -> None:
    context = server_context(
        issuer.issue(HOST), lowest=SSL.TLS1_2_VERSION, highest=SSL.TLS1_2_VERSION
    )

    def talk(sock: socket.socket) -> None:
        secure = SSL.Connection(context, sock)
        secure.set_accept_state()
        secure.do_handshake()
        # OpenSSL does not notice that the socket was closed: the thread would go on for ever.
        while sock.fileno() >= 0:
            secure.renegotiate()
            secure.do_handshake()

    report = scan_among_ten_good_sites(settings, issuer, opened, talk, time_limits(2.0))
    assert report.addresses[0].trusted is True
    assert max(fed.values()) <= connection.MAX_SILENT_BYTES + connection.MAX_PER_TURN


def test_flood_after_a_request_for_a_client_certificate_is_read_up_to_a_limit(
    settings: Settings, issuer: Authority, opened: Stack, fed: Counter[int]
) -> None:
    flood = _flood((HANDSHAKE, TICKET))
    hostile = after_handshake(issuer.issue(HOST), flood, verify=SSL.VERIFY_PEER)
    report = scan_among_ten_good_sites(settings, issuer, opened, hostile)
    assert report.addresses[0].trusted is True
    assert max(fed.values()) <= connection.MAX_SILENT_BYTES + connection.MAX_PER_TURN


def test_page_of_one_byte_per_record_is_read(
    settings: Settings, issuer: Authority, opened: Stack
) -> None:
    def talk(writer: RecordWriter) -> None:
        body = b"<title>Slow</title>" + b" " * 2000
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
        for byte in head % len(body) + body:
            writer.send((APPLICATION_DATA, bytes([byte])))
        while writer.sock.recv(65536):  # closing with unread bytes would reset the connection
            pass

    report = scan_among_ten_good_sites(
        settings, issuer, opened, after_handshake(issuer.issue(HOST), talk)
    )
    assert {f.code for f in report.findings} == {"hsts-missing"}
    assert report.web is not None
    assert report.web.document is not None
    assert report.web.document["title"] == "Slow"


def test_many_bytes_are_read_in_turns(
    settings: Settings, issuer: Authority, opened: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed = []
    resume = connection.Connection.advance

    def talk(writer: RecordWriter) -> None:
        writer.send((APPLICATION_DATA, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"))
        while True:  # the reader stops at its limit for bodies
            writer.send((APPLICATION_DATA, b"x" * 16_000))

    def advance(self: connection.Connection) -> None:
        before = self.content
        resume(self)
        resumed.append(self.content - before)

    monkeypatch.setattr(connection.Connection, "advance", advance)
    scan_among_ten_good_sites(settings, issuer, opened, after_handshake(issuer.issue(HOST), talk))
    # The last read, and a record whose first bytes came with the turn before.
    assert max(resumed) <= connection.MAX_PER_TURN + 2 * connection.MAX_READ
    assert sum(resumed) > 1_000_000


def test_handshakes_that_stall_with_much_in_memory_are_few_at_once(
    settings: Settings, issuer: Authority, opened: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sends most of a large certificate, and then nothing until the client closes."""
    monkeypatch.setattr(dial, "MAX_LARGE", 3)

    def stall(sock: socket.socket) -> None:
        sock.recv(4096)
        message = certificate_message([b"x" * 90_000])
        parts = [message[n : n + 16_000] for n in range(0, 64_000, 16_000)]
        sock.sendall(record(22, server_hello()) + b"".join(record(22, p) for p in parts))
        while sock.recv(65536):
            pass

    ports = {f"stall{n}.example.test": serve(opened, stall) for n in range(9)}
    ports |= {h: serve(opened, _site(issuer, h)) for h in GOOD}
    targets = [Target(host, port) for host, port in ports.items()]
    overrides = {(t.host, t.port): ("127.0.0.1",) for t in targets}
    for limit in time_limits(2.0):
        options = ScanOptions(overrides=overrides, timeout=limit)
        reports = {r.target.host: r for r in scan_targets(settings, options, targets, clock=clock)}
        if not any(reports[h].findings for h in GOOD):  # all of them answered in time
            break
    assert all(not reports[h].findings for h in GOOD)
    found = Counter(f.code for h in ports if h not in GOOD for f in reports[h].findings)
    assert found["too-large"] >= 6
    assert found["too-large"] + found["connection-timeout"] == 9
