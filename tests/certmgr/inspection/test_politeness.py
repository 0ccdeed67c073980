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
from tests.certmgr.scanning import add, scan
from tests.certmgr.tls_servers import Stack

OWN, FOREIGN = ("127.0.0.0/8",), ("192.0.2.0/24",)
NAMES = [f"h{n}.example.test" for n in range(12)]


@pytest.fixture
def port(issuer: Authority, opened: Stack) -> int:
    server = Server(tls(server_context(issuer.issue("*.example.test"))))
    opened.callback(server.close)
    return server.port


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses for which a connection had to wait for its turn."""
    waited: list[str] = []
    call_at = asyncio.BaseEventLoop.call_at

    def counted(
        loop: asyncio.BaseEventLoop, when: float, call: Callable[..., Any], *args: Any, **kw: Any
    ) -> asyncio.TimerHandle:
        if isinstance(getattr(call, "__self__", None), AddressRateLimiter):
            waited.append(*args)
        return call_at(loop, when, call, *args, **kw)

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_at", counted)
    return waited


def polite(settings: Settings, provider: tuple[str, ...]) -> Settings:
    """Return settings with the limits of a new installation."""
    return replace(
        settings,
        scan=ScanSettings(timeout=4.0),
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
