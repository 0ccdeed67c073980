"""The protocol of a page request: ALPN, HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.exceptions import ProtocolError
from hpack import Encoder
from OpenSSL import SSL

from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.net.http2_exchange import MAX_FIELDS, Http2Exchange
from certmgr.net.http2_frames import END_HEADERS, FrameKind, frame
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialLimits
from certmgr.scan.page_connection import PageConnection, WebOptions
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve
from tests.certmgr.websites import NO_RATE_LIMIT, codes, document
from tests.clock import clock
from tests.servers import real
from tests.servers.haproxy import haproxy

PAGE = "<!doctype html><title>Shop</title><img src=http://images.example.test/a.png>"
RETURN = (
    f'status 200 content-type "text/html" string "{PAGE}"'
    ' hdr Strict-Transport-Security "max-age=31536000"'
)


def scan_https(settings: Settings, opened: Stack, port: int) -> EndpointReport:
    """Scan a site whose HTTPS is at ``port``, and whose plain HTTP is closed."""
    options = ScanOptions(
        overrides={(HOST, port): ("127.0.0.1",)}, http_port=refusing_port(opened), timeout=60
    )
    visiting = replace(settings, http=NO_RATE_LIMIT)
    (report,) = scan_targets(visiting, options, [Target(HOST, port)], clock=clock)
    return report


@pytest.mark.parametrize("bind", ["alpn h2 proto h2", "alpn h2,http/1.1", "alpn h2"])
def test_page_of_a_server_with_any_protocol_is_read(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path, bind: str
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    port = opened.enter_context(haproxy(tmp_path, pair, bind, RETURN))
    report = scan_https(settings, opened, port)
    assert set(codes(report)) == {"mixed-content"}
    assert document(report)["title"] == "Shop"
    assert document(report)["hsts"]["max_age"] == 31536000


@pytest.mark.parametrize("status", [426, 464, 505])
def test_server_that_refuses_the_version_gets_http_2(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path, status: int
) -> None:
    """HAProxy answers HTTP/1.1 with a status that asks for another version."""
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    answer = f"{RETURN} if {{ req.ver 2.0 }}\n  http-request return status {status}"
    port = opened.enter_context(haproxy(tmp_path, pair, "alpn h2,http/1.1", answer))
    report = scan_https(settings, opened, port)
    assert document(report)["title"] == "Shop"


def test_page_request_offers_alpn(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    """Some servers close connections without ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*real.write_pair(tmp_path, issuer.issue(HOST)))
    context.set_alpn_protocols(["http/1.1"])
    offered = []

    def talk(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            offered.append(tls.selected_alpn_protocol())
            if tls.selected_alpn_protocol() == "http/1.1" and tls.recv(65536):
                tls.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
                    b"Strict-Transport-Security: max-age=9\r\n\r\n<title>Shop</title>"
                )

    report = scan_https(settings, opened, serve(opened, talk))
    assert codes(report) == {}
    assert document(report)["title"] == "Shop"
    assert None not in offered


Frames = Callable[[H2Connection], None]


def http2_only(opened: Stack, issuer: Authority, folder: Path, send: Frames) -> int:
    """Serve HTTP/2 only: another ALPN is refused with an alert (no_application_protocol)."""
    certificate, key = real.write_pair(folder, issuer.issue(HOST))
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(certificate))
    context.use_privatekey_file(str(key))

    def select(_connection: Any, protocols: list[bytes]) -> bytes:
        assert b"h2" in protocols  # pyOpenSSL sends the alert for an exception
        return b"h2"

    context.set_alpn_select_callback(select)

    def talk(connection: socket.socket) -> None:
        tls = SSL.Connection(context, connection)
        tls.set_accept_state()
        http = H2Connection(H2Configuration(client_side=False))
        with suppress(SSL.Error, OSError, AssertionError):
            tls.do_handshake()
            http.initiate_connection()
            while True:
                tls.sendall(http.data_to_send())
                for event in http.receive_data(tls.recv(65536)):
                    if isinstance(event, RequestReceived):
                        send(http)

    return serve(opened, talk)


def page(
    http: H2Connection, *headers: tuple[str, str], body: bytes = b"<title>Shop</title>"
) -> None:
    http.send_headers(1, [(":status", "200"), ("content-type", "text/html"), *headers])
    http.send_data(1, body[:16_000], end_stream=True)


def test_server_that_refuses_http_1_by_an_alert_gets_http_2(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    port = http2_only(opened, issuer, tmp_path, page)
    report = scan_https(settings, opened, port)
    assert set(codes(report)) == {"hsts-missing"}
    assert document(report)["title"] == "Shop"


def test_two_redirect_targets_over_http_2_are_an_error_of_browsers(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    def send(http: H2Connection) -> None:
        targets = [("location", f"https://{HOST}/{n}") for n in "ab"]
        http.send_headers(1, [(":status", "302"), *targets], end_stream=True)

    report = scan_https(settings, opened, http2_only(opened, issuer, tmp_path, send))
    found = codes(report)["answer-invalid"]
    assert found.severity == "critical"
    assert found.evidence["browser_error"] == "ERR_RESPONSE_HEADERS_MULTIPLE_LOCATION"


def exchange_with(send: Frames) -> Http2Exchange:
    """Exchange bytes with a server in memory until the client needs no more."""
    exchange = Http2Exchange(HOST, "/", (("User-Agent", "x"),))
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(exchange.request)
    send(server)
    for _ in range(1000):
        data = server.data_to_send()
        if not data:
            exchange.end()
            break
        if exchange.feed(data):
            break
        if answer := exchange.outgoing():
            # A server that went away refuses every further frame.
            with suppress(ProtocolError):
                server.receive_data(answer)
    return exchange


def endless(http: H2Connection) -> None:
    http.send_headers(1, [(":status", "200")])
    for _ in range(100):
        http.send_data(1, b"x" * 16_000)


def frames(http: H2Connection) -> None:
    for _ in range(30_000):
        http.ping(b"12345678")


@pytest.mark.parametrize(
    ("send", "expected"),
    [
        (page, (200, False, False)),
        (endless, (200, True, False)),
        (frames, (None, False, False)),
        (lambda http: http.send_headers(1, [(":status", "200")]), (200, False, True)),
        (lambda http: http.reset_stream(1), (None, False, False)),
        (lambda http: http.close_connection(), (None, False, False)),
        (lambda http: page(http, ("content-length", "5"), body=b"12345"), (200, False, False)),
    ],
    ids=["page", "endless page", "pings", "cut off", "reset", "closed", "length"],
)
def test_http_2_answer_is_bounded_and_says_how_it_ended(
    send: Frames, expected: tuple[int | None, bool, bool]
) -> None:
    exchange = exchange_with(send)
    assert (exchange.status, exchange.truncated, exchange.incomplete) == expected
    # A server that closes the connection before any answer gives nothing to judge.
    unanswered = not exchange.end()
    assert bool(exchange.error or exchange.invalid or unanswered) is (exchange.status is None)
    assert len(exchange.body) <= 1_048_576


def test_fields_that_a_table_expands_are_bounded() -> None:
    """A byte of a block can stand for a field of 4,000; a block is decoded for any stream."""
    encoder = Encoder()
    table = encoder.encode([(b"a", b"b" * 4000)], huffman=False)
    exchange = Http2Exchange(HOST, "/", ())
    exchange.feed(frame(FrameKind.SETTINGS, 0, 0))
    assert not exchange.feed(frame(FrameKind.HEADERS, END_HEADERS, 3, table))
    repeated = frame(FrameKind.HEADERS, END_HEADERS, 3, encoder.encode([(b"a", b"b" * 4000)]) * 60)
    blocks = next(n for n in range(10_000) if exchange.feed(repeated))
    assert blocks * 60 <= MAX_FIELDS
    assert exchange.error
    assert exchange.status is None


def test_refusal_over_http_2_is_an_error_of_browsers(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    port = http2_only(opened, issuer, tmp_path, lambda http: http.reset_stream(1, 7))
    found = codes(scan_https(settings, opened, port))["answer-invalid"]
    assert found.severity == "critical"
    assert found.evidence["browser_error"] == "ERR_HTTP2_SERVER_REFUSED_STREAM"


def test_bytes_that_are_no_http_2_are_no_answer() -> None:
    exchange = Http2Exchange(HOST, "/", ())
    assert exchange.feed(b"HTTP/1.1 200 OK\r\n\r\n" * 100) or exchange.end()
    assert exchange.status is None
    assert exchange.invalid


def test_server_that_answers_only_browsers_is_read(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    """nginx closes the connections of other programs (444), as many sites do with bots."""
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    closing = 'if ($http_user_agent !~ "^Mozilla.*certmgr") { return 444; }'
    _, port = opened.enter_context(
        real.web(tmp_path, pair, "return 200;", f"{closing} return 200 Page;")
    )
    report = scan_https(settings, opened, port)
    assert set(codes(report)) == {"hsts-missing"}


def test_server_that_answers_nobody_is_a_fault_after_the_request_of_a_browser(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    _, port = opened.enter_context(real.web(tmp_path, pair, "return 444;", "return 444;"))
    report = scan_https(settings, opened, port)
    assert codes(report)["answer-invalid"].evidence["browser_error"] == "ERR_EMPTY_RESPONSE"


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_fetch_that_is_cancelled_while_it_waits_gives_its_slot_back(
    opened: Stack, rate: float
) -> None:
    """Ctrl-C cancels all fetches; those that waited for a slot of their address end quietly."""
    silent = Server(servers.silent)
    opened.callback(silent.close)
    url = f"http://h.example.test:{silent.port}/"
    problems: list[dict[str, Any]] = []

    async def fetch(connection: PageConnection) -> None:
        async with connection.fetch(url, "127.0.0.1", None, 600, own=True):
            pass

    async def cancel_fetches() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, problem: problems.append(problem))
        dialler = Dialler(DialLimits())
        connection = PageConnection(dialler, WebOptions(per_address=1, rate=rate))
        fetches = [asyncio.ensure_future(fetch(connection)) for _ in range(4)]
        while not silent.connections:
            await asyncio.sleep(0.01)
        for waiting in (*fetches[1:], fetches[0]):
            waiting.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        # Their slots are free: another fetch has its turn.
        connected = silent.connections
        other = asyncio.ensure_future(fetch(connection))
        while silent.connections == connected:
            await asyncio.sleep(0.01)
        other.cancel()
        dialler.close()

    asyncio.run(cancel_fetches())
    assert problems == []
