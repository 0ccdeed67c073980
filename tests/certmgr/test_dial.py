"""Dialling: politeness towards one address, deadlines, and families without a route."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

import pytest

from certmgr.checks.judge import Context, Judge
from certmgr.checks.trust import TrustStore
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.scan.dial import Dialled, Dialler, Limits, Request
from certmgr.scan.evidence import AddressEvidence, Evidence, Failure, Kind, Resolution
from certmgr.scan.guard import networks, refusal
from inventory.certificates import parse
from inventory.targets import Target
from tests.clock import clock

HOST = "shop.example.test"


def dial(limits: Limits, port: int, count: int, address: str = "127.0.0.1") -> tuple[list[Dialled], float]:
    async def run() -> list[Dialled]:
        dialler = Watched(limits)
        try:
            return await asyncio.gather(*[dialler.dial(Request(address, port, "tls", HOST)) for _ in range(count)])
        finally:
            dialler.close()

    Watched.most = 0
    begun = time.monotonic()
    return asyncio.run(run()), time.monotonic() - begun


class Watched(Dialler):
    """Counts how many connections were open at once, on this side."""

    most = 0

    def _start(self, dial: Any) -> None:
        super()._start(dial)
        Watched.most = max(Watched.most, self.active)


def slow(talk: servers.Talk, hold: float) -> servers.Talk:
    """Waits before its handshake."""

    def held(sock: socket.socket) -> None:
        time.sleep(hold)
        talk(sock)

    return held


@pytest.fixture
def talk(issuer: Authority) -> servers.Talk:
    return servers.tls(server_context(issuer.issue(HOST)))


def test_connections_at_once_towards_one_address(talk: servers.Talk, opened: contextlib.ExitStack) -> None:
    server = Server(slow(talk, 0.03))
    opened.callback(server.close)
    results, _ = dial(Limits(per_address=3, rate=0, timeout=10), server.port, 30)
    assert all(r.failure is None for r in results)
    assert Watched.most == 3


def test_connections_a_second_towards_one_address(talk: servers.Talk, opened: contextlib.ExitStack) -> None:
    server = Server(talk)
    opened.callback(server.close)
    results, took = dial(Limits(per_address=4, rate=20, timeout=10), server.port, 24)
    assert all(r.failure is None for r in results)
    assert took >= (24 - 4 - 1) / 20, "a burst of four, then twenty a second"


def test_waiting_for_ones_turn_costs_no_time_of_ones_own(talk: servers.Talk, opened: contextlib.ExitStack) -> None:
    server = Server(slow(talk, 0.2))
    opened.callback(server.close)
    results, took = dial(Limits(per_address=1, rate=0, timeout=1.0), server.port, 8)
    assert [r.failure for r in results] == [None] * 8
    assert took > 1.0


def test_a_slow_server_is_not_given_up_for_the_second_look(talk: servers.Talk, opened: contextlib.ExitStack) -> None:
    """It answers after eight tenths of the time, to the first connection."""
    server = Server(slow(talk, 1.6))
    opened.callback(server.close)
    ((result,), _) = dial(Limits(timeout=2.0), server.port, 1)
    assert result.failure is None, "a connection that was begun anew would end after its time"


def test_the_whole_time_is_kept(opened: contextlib.ExitStack) -> None:
    server = Server(servers.silent)
    opened.callback(server.close)
    ((result,), took) = dial(Limits(timeout=1.0), server.port, 1)
    assert result.failure is not None
    assert (result.failure.kind, result.looks) == (Kind.TIMEOUT, 2)
    begun = time.monotonic()
    dial(Limits(timeout=2.0), server.port, 1)
    assert took < time.monotonic() - begun, "both attempts together have one time, not one each"


def test_the_limit_of_all_connections(talk: servers.Talk, opened: contextlib.ExitStack) -> None:
    server = Server(slow(talk, 0.02))
    opened.callback(server.close)
    results, _ = dial(Limits(in_flight=5, per_address=0, rate=0, timeout=20), server.port, 40)
    assert all(r.failure is None for r in results)
    assert Watched.most == 5


def test_a_family_without_a_route_is_no_finding(issuer: Authority) -> None:
    """As evidence, since a test must not depend on how this machine is connected."""
    now = clock()
    good = AddressEvidence("192.0.2.1", (issuer.issue(HOST).der, issuer.der), "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    far = AddressEvidence("2001:db8::1", failure=Failure("local", Kind.NO_ROUTE, "Network is unreachable"))
    assert issuer.parent is not None
    judge = Judge(TrustStore([parse(issuer.parent.der)]), parse)

    def codes(*addresses: AddressEvidence) -> list[str]:
        evidence = Evidence(Target(HOST), now, Resolution("ok", tuple(a.address for a in addresses)), addresses)
        return [f.code for f in judge.judge(evidence, Context(), now).findings if f.code != "sct-missing"]

    assert codes(good, far) == []
    assert codes(far) == ["scanner-error"], "nothing at all could be looked at: nobody can tell"


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:192.168.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001::1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    assert refusal(address, ()) is not None
    whole = networks(["0.0.0.0/0", "::/0"], "test")
    assert refusal(address, whole) is None, "unless that network is configured"


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450::1"])
def test_addresses_that_are_visited(address: str) -> None:
    assert refusal(address, ()) is None


def test_dialling_without_epoll(talk: servers.Talk, opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems that have none: the loop watches each socket."""
    import select

    monkeypatch.delattr(select, "epoll")
    server, silent = Server(talk), Server(servers.silent)
    opened.callback(server.close)
    opened.callback(silent.close)
    results, _ = dial(Limits(timeout=3), server.port, 5)
    assert all(r.failure is None and len(r.chain) == 2 for r in results)
    (result,), _ = dial(Limits(timeout=0.6), silent.port, 1)
    assert result.failure is not None


def test_a_family_without_a_route_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    from certmgr.cli.scan_report import note_families
    from certmgr.scan.report import make

    far = [AddressEvidence(f"2001:db8::{n}", failure=Failure("local", Kind.NO_ROUTE, "Network is unreachable")) for n in range(3)]
    broken = AddressEvidence("192.0.2.1", failure=Failure("local", Kind.LOCAL, "Too many open files"))
    now = clock()
    evidence = Evidence(Target(HOST), now, Resolution("ok", tuple(a.address for a in far)), (*far, broken))
    families = make(Judge(TrustStore([]), parse).judge(evidence, Context(), now)).families_without_route()
    assert families == {6}
    note_families(families)
    assert capsys.readouterr().err.count("IPv6") == 1
