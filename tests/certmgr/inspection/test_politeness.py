"""Rate limits per address: the servers of others are asked slowly, and our own are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from certmgr.config.settings import HttpSettings, ScanSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context, tls
from certmgr.inspection.live_check import LiveCheckTarget, check_live
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.scan.rate_limits import AddressRateLimiter
from inventory.db.database import Database
from inventory.store import domains, servers
from inventory.targets import Target
from tests.campaign import UNREACHED
from tests.certmgr.scanning import add, scan
from tests.certmgr.tls_servers import Stack

OWN, FOREIGN = ("127.0.0.0/8",), ("192.0.2.0/24",)
NAMES = [f"h{n}.example.test" for n in range(12)]


@pytest.fixture
def port(issuer: Authority, opened: Stack) -> int:
    server = Server(tls(server_context(issuer.issue("*.example.test"))))
    opened.callback(server.close)
    return server.port


class SimulatedTime:
    """The event loop of a rate limiter, whose time passes only while a connection waits.

    So the limit is reached however slowly the connections follow each other.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, waited: list[str]) -> None:
        self._loop, self._waited, self._now = loop, waited, 1e6

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, call: Callable[[str], None], address: str) -> None:
        self._waited.append(address)
        self._now = max(self._now, when)
        self._loop.call_soon(call, address)

    def call_soon(self, call: Callable[[str], None], address: str) -> None:
        self._loop.call_soon(call, address)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses for which a connection had to wait for its turn."""
    waited: list[str] = []
    make = AddressRateLimiter.__init__

    def simulated(
        limiter: AddressRateLimiter[Any],
        per_address: int,
        rate: float,
        loop: asyncio.AbstractEventLoop,
        *given: Any,
        **options: Any,
    ) -> None:
        time: Any = SimulatedTime(loop, waited)
        make(limiter, per_address, rate, time, *given, **options)

    monkeypatch.setattr(AddressRateLimiter, "__init__", simulated)
    return waited


def polite(settings: Settings, provider: tuple[str, ...]) -> Settings:
    """Return settings with the limits of a new installation."""
    return replace(
        settings,
        scan=ScanSettings(timeout=UNREACHED),
        network=replace(settings.network, provider=provider),
    )


@pytest.mark.parametrize(("provider", "waits"), [(OWN, False), (FOREIGN, True)])
def test_verification_of_many_names_waits_only_at_servers_of_others(
    settings: Settings, port: int, turns: list[str], provider: tuple[str, ...], waits: bool
) -> None:
    targets = [LiveCheckTarget(Target(name, port), ("127.0.0.1",), ()) for name in NAMES]
    observations = check_live(polite(settings, provider), targets)
    assert sum(o.sha256 is not None for o in observations) == len(NAMES)
    assert bool(turns) is waits


def test_verification_does_not_wait_at_backends_which_the_provider_configured(
    settings: Settings, port: int, turns: list[str]
) -> None:
    backends = (("lb", Target("127.0.0.1", port)),)
    targets = [LiveCheckTarget(Target(n, port), ("127.0.0.1",), backends) for n in NAMES]
    check_live(polite(settings, FOREIGN), targets)
    assert turns == []


@pytest.mark.parametrize(("provider", "waits"), [(OWN, False), (FOREIGN, True)])
def test_scan_of_one_server_waits_only_at_servers_of_others(
    database: Database,
    settings: Settings,
    port: int,
    turns: list[str],
    provider: tuple[str, ...],
    waits: bool,
) -> None:
    add(database, port, *NAMES, "elsewhere.example.test")
    with database.write() as tx:
        servers.add(tx, {"name": "web1"})
        for name in NAMES:
            domains.edit(tx, name, {"server": "web1"})
    summary = scan(database, polite(settings, provider), server="web1")
    assert summary.checked == len(NAMES)
    assert bool(turns) is waits


def test_pages_of_our_networks_are_fetched_without_a_rate(settings: Settings) -> None:
    visiting = replace(polite(settings, OWN), http=HttpSettings())
    setup = setup_for(visiting, ScanOptions(), guarded=True)
    assert setup.web is not None and setup.web.own == setup.limits.own == setup.provider != ()
