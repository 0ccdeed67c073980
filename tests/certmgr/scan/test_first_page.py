"""The home page over HTTPS on the connection of the probe."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from certmgr.net.http_body import MAX_BODY
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialLimits
from certmgr.scan.page_connection import (
    MAX_FIRST_BODIES,
    MAX_FIRST_BYTES,
    MAX_SMALL_BODIES,
    SMALL_BODY,
    PageConnection,
    WebOptions,
)
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve
from tests.certmgr.websites import NO_RATE_LIMIT, codes, document
from tests.clock import clock
from tests.servers import real

ADDRESS = "127.0.0.1"
PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nStrict-Transport-Security: max-age=9\r\n"
    b"Connection: close\r\n\r\n<title>Shop</title>"
)


@dataclass(slots=True)
class Site:
    """A site whose answer may depend on the number of its connection.

    Attributes:
        port: Its port of HTTPS.
        requests: The request of each connection whose handshake was completed, in their order.
    """

    port: int = 0
    requests: list[bytes] = field(default_factory=list)


def site(
    opened: Stack, folder: Path, issuer: Authority, answer: Callable[[ssl.SSLSocket, int], None]
) -> Site:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*real.write_pair(folder, issuer.issue(HOST)))
    found = Site()

    def talk(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
            found.requests.append(tls.recv(65_536))
            answer(tls, len(found.requests))

    found.port = serve(opened, talk)
    return found


def scan(settings: Settings, opened: Stack, port: int, timeout: float = 60) -> EndpointReport:
    options = ScanOptions(
        overrides={(HOST, port): (ADDRESS,)}, http_port=refusing_port(opened), timeout=timeout
    )
    visiting = replace(settings, http=NO_RATE_LIMIT)
    (report,) = scan_targets(visiting, options, [Target(HOST, port)], clock=clock)
    return report


def test_handshake_and_home_page_take_one_connection(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    found = site(opened, tmp_path, issuer, lambda tls, number: tls.sendall(PAGE))
    report = scan(settings, opened, found.port)
    assert codes(report) == {}
    assert document(report)["title"] == "Shop"
    assert [r.partition(b"\r\n")[0] for r in found.requests] == [b"GET / HTTP/1.1"]


def test_page_whose_connection_ends_is_requested_again(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    def answer(tls: ssl.SSLSocket, number: int) -> None:
        if number > 1:
            tls.sendall(PAGE)

    found = site(opened, tmp_path, issuer, answer)
    report = scan(settings, opened, found.port)
    assert codes(report) == {}
    assert document(report)["title"] == "Shop"
    assert len(found.requests) == 2


def test_page_that_does_not_come_is_no_failure_of_the_handshake(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    def wait(tls: ssl.SSLSocket, number: int) -> None:
        tls.recv(1)  # until the scan closes the connection

    found = site(opened, tmp_path, issuer, wait)
    report = scan(settings, opened, found.port, timeout=2)
    assert set(codes(report)) == {"http-unknown"}
    assert report.addresses[0].chain
    # A second connection would only wait for the same time again.
    assert len(found.requests) == 1


def test_answer_that_is_not_complete_is_not_shown_as_a_page(
    settings: Settings, issuer: Authority, opened: Stack, tmp_path: Path
) -> None:
    """HTTP/1.1 is refused, so the visit continues as a fetch does."""
    refused = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"
    found = site(opened, tmp_path, issuer, lambda tls, number: tls.sendall(refused))
    scan(settings, opened, found.port)
    assert len(found.requests) > 1


async def first_turns(count: int, options: WebOptions) -> list[int]:
    dialler = Dialler(DialLimits())
    try:
        connection = PageConnection(dialler, options)
        return [connection.enter_first(ADDRESS) for _ in range(count)]
    finally:
        dialler.close()


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        (WebOptions(per_address=2, rate=0.0), 2),
        (WebOptions(per_address=2, rate=0.01), 2),
        (WebOptions(per_address=1, rate=5.0), 1),
        (WebOptions(per_address=0, rate=0.0), MAX_SMALL_BODIES),
    ],
)
def test_first_page_keeps_the_limits_of_its_address_and_of_memory(
    options: WebOptions, allowed: int
) -> None:
    turns = asyncio.run(first_turns(MAX_SMALL_BODIES + 3, options))
    rooms = [MAX_BODY] * MAX_FIRST_BODIES + [SMALL_BODY] * (MAX_SMALL_BODIES - MAX_FIRST_BODIES)
    assert turns == rooms[:allowed] + [0] * (len(turns) - allowed)


def test_page_larger_than_its_room_is_requested_again_in_its_turn(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("certmgr.scan.page_connection.MAX_FIRST_BODIES", 0)
    body = b"<!--" + b"x" * SMALL_BODY + b"--><input type=password>"
    found = site(opened, tmp_path, issuer, lambda tls, number: tls.sendall(PAGE + body))
    report = scan(settings, opened, found.port)
    assert document(report)["visits"][-1]["page"]["secrets"] == ["<input type=password>"]
    assert document(report)["visits"][-1]["error"] is None
    assert len(found.requests) == 2


def test_first_pages_that_wait_for_the_parser_are_bounded_in_bytes() -> None:
    async def check() -> list[int]:
        dialler = Dialler(DialLimits())
        try:
            connection = PageConnection(dialler, WebOptions(per_address=0, rate=0.0))
            connection.hold_first(MAX_FIRST_BYTES)
            full = connection.enter_first(ADDRESS)
            connection.hold_first(-MAX_FIRST_BYTES)
            return [full, connection.enter_first(ADDRESS)]
        finally:
            dialler.close()

    assert asyncio.run(check()) == [0, MAX_BODY]
