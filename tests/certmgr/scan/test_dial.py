"""The dialler: connections at once and per second, and one deadline for both attempts."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import server_context
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialLimits, DialRequest, DialResult
from certmgr.scan.evidence import FailureKind
from tests.campaign import UNREACHED, time_limits
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve


@dataclass
class Dials:
    """The results of some dials, and the connections of the dialler."""

    results: list[DialResult] = field(default_factory=list)
    seconds: float = 0.0
    most_at_once: int = 0
    """Connections that were open at once."""
    deadlines: list[float | None] = field(default_factory=list)
    """The deadline that each connection started with."""


def dial(limits: DialLimits, port: int, count: int = 1) -> Dials:
    """Dial a port of this machine ``count`` times at once."""
    dials = Dials()

    class Watched(Dialler):
        def _start(self, dial: Any) -> None:
            super()._start(dial)
            dials.most_at_once = max(dials.most_at_once, self.active)
            dials.deadlines.append(dial.request.deadline)

    async def run() -> list[DialResult]:
        dialler = Watched(limits)
        requests = [DialRequest("127.0.0.1", port, "tls", HOST) for _ in range(count)]
        try:
            return await asyncio.gather(*[dialler.dial(request) for request in requests])
        finally:
            dialler.close()

    started = time.monotonic()
    dials.results = asyncio.run(run())
    dials.seconds = time.monotonic() - started
    return dials


def slow(talk: servers.ConnectionHandler, seconds: float) -> servers.ConnectionHandler:
    """Return a server that waits before its handshake."""

    def delayed(sock: socket.socket) -> None:
        time.sleep(seconds)
        talk(sock)

    return delayed


@pytest.fixture
def talk(issuer: Authority) -> servers.ConnectionHandler:
    return servers.tls(server_context(issuer.issue(HOST)))


def test_address_gets_at_most_its_share_of_connections_at_once(
    talk: servers.ConnectionHandler,
    opened: Stack,
) -> None:
    port = serve(opened, slow(talk, 0.03))
    dials = dial(DialLimits(per_address=3, rate=0, timeout=60), port, 30)
    assert all(r.failure is None for r in dials.results)
    assert dials.most_at_once == 3


def test_address_gets_at_most_its_rate_of_connections(
    talk: servers.ConnectionHandler, opened: Stack
) -> None:
    dials = dial(DialLimits(per_address=4, rate=20, timeout=60), serve(opened, talk), 24)
    assert all(r.failure is None for r in dials.results)
    assert dials.seconds >= (24 - 4 - 1) / 20, "a burst of four, then twenty per second"


def test_waiting_for_a_turn_does_not_count_towards_the_timeout(
    talk: servers.ConnectionHandler,
    opened: Stack,
) -> None:
    for limit in time_limits(2.0):
        port = serve(opened, slow(talk, 0.15 * limit))
        dials = dial(DialLimits(per_address=1, rate=0, timeout=limit), port, 8)
        if all(r.failure is None for r in dials.results):
            break
    assert [r.failure for r in dials.results] == [None] * 8
    assert dials.seconds > limit


def test_first_connection_of_a_slow_server_stays_open_next_to_the_second(
    talk: servers.ConnectionHandler,
    opened: Stack,
) -> None:
    """The server answers the first connection once the second arrives, and never the second."""
    second_arrived = threading.Event()

    def answer_the_first(sock: socket.socket) -> None:
        connections.append(sock)
        if len(connections) == 1:
            second_arrived.wait()
            talk(sock)
        else:
            second_arrived.set()
            servers.silent(sock)

    for limit in time_limits(3.0):
        connections: list[socket.socket] = []
        second_arrived.clear()
        (result,) = dial(DialLimits(timeout=limit), serve(opened, answer_the_first)).results
        if result.failure is None:
            break
    assert (result.failure, len(connections)) == (None, 2)


def test_both_attempts_at_a_silent_address_share_one_deadline(opened: Stack) -> None:
    port = serve(opened, servers.silent)
    for limit in time_limits(1.0):
        dials = dial(DialLimits(timeout=limit), port)
        (result,) = dials.results
        if result.probes == 2:
            break
    assert result.failure is not None
    assert (result.failure.kind, result.probes) == (FailureKind.TIMEOUT, 2)
    first, second = dials.deadlines
    assert first == second
    assert dials.seconds >= limit


def test_number_of_all_connections_at_once_is_limited(
    talk: servers.ConnectionHandler, opened: Stack
) -> None:
    port = serve(opened, slow(talk, 0.02))
    dials = dial(DialLimits(in_flight=5, per_address=0, rate=0, timeout=60), port, 40)
    assert all(r.failure is None for r in dials.results)
    assert dials.most_at_once == 5


def test_thousands_of_dials_that_end_at_once_all_get_their_result(opened: Stack) -> None:
    """Each one starts the next, which exceeded the depth of calls and left the rest waiting."""
    limits = DialLimits(in_flight=1, per_address=0, rate=0, timeout=UNREACHED)
    dials = dial(limits, refusing_port(opened), 3000)
    kinds = Counter(r.failure.kind for r in dials.results if r.failure)
    assert kinds == {FailureKind.REFUSED: 3000}


def test_system_without_epoll_dials_too(
    talk: servers.ConnectionHandler,
    opened: Stack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Only Linux has epoll.
    monkeypatch.delattr(select, "epoll")
    dials = dial(DialLimits(timeout=60), serve(opened, talk), 5)
    assert all(r.failure is None and len(r.chain) == 2 for r in dials.results)
    (silent,) = dial(DialLimits(timeout=0.6), serve(opened, servers.silent)).results
    assert silent.failure is not None


def test_server_that_speaks_before_its_client_is_not_tls(opened: Stack) -> None:
    """As SSH and SMTP do. The banner is there before the loop learns of the connection."""
    sent = threading.Event()

    def greet(sock: socket.socket) -> None:
        sock.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
        sent.set()
        while sock.recv(65536):
            pass

    port = serve(opened, greet)

    async def run() -> DialResult:
        dialler = Dialler(DialLimits(timeout=UNREACHED))
        try:
            result = dialler.dial(DialRequest("127.0.0.1", port, "https", HOST))
            sent.wait()  # the loop stands still, so that it sees both events at once
            return await result
        finally:
            dialler.close()

    failure = asyncio.run(run()).failure
    assert failure is not None
    assert failure.kind is FailureKind.NOT_TLS
    assert "SSH-2.0" in failure.reason


def test_connection_comes_from_the_configured_address(
    talk: servers.ConnectionHandler, opened: Stack
) -> None:
    peers: list[str] = []

    def noted(sock: socket.socket) -> None:
        peers.append(sock.getpeername()[0])
        talk(sock)

    port = serve(opened, noted)
    limits = DialLimits(timeout=5, sources=("2001:db8::1", "127.0.77.9"))
    (result,) = dial(limits, port).results
    assert (result.failure, peers) == (None, ["127.0.77.9"])


def test_address_that_is_not_of_this_machine_is_a_fault_of_this_machine(
    talk: servers.ConnectionHandler, opened: Stack
) -> None:
    port = serve(opened, talk)
    (result,) = dial(DialLimits(timeout=5, sources=("192.0.2.77",)), port).results
    assert result.failure is not None
    assert result.failure.kind in (FailureKind.NO_ROUTE, FailureKind.LOCAL)


def test_ip_version_that_may_not_be_used_counts_as_one_without_a_route(
    talk: servers.ConnectionHandler, opened: Stack
) -> None:
    port = serve(opened, talk)
    (result,) = dial(DialLimits(timeout=5, families=frozenset({6})), port).results
    assert result.failure is not None
    assert result.failure.kind is FailureKind.NO_ROUTE


def test_close_cancels_what_waits_for_a_connection_and_what_is_dialled_later(
    opened: Stack,
) -> None:
    silent = serve(opened, servers.silent)

    async def run() -> list[bool]:
        dialler = Dialler(DialLimits(timeout=UNREACHED, in_flight=2))
        requests = [DialRequest("127.0.0.1", silent, "https", f"n{n}.test") for n in range(4)]
        futures = [dialler.dial(r) for r in requests[:3]]
        await asyncio.sleep(0)
        dialler.close()
        futures.append(dialler.dial(requests[3]))
        await asyncio.wait(futures)
        return [f.cancelled() for f in futures]

    assert asyncio.run(run()) == [True] * 4
