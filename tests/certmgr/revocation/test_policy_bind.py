"""CAA, DANE and authoritative servers with BIND: signed zones, a validating resolver, and
signatures that are broken in transit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from certmgr.checks.caa import addition, find, permits
from certmgr.config.context import Context
from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.net.dns import DnsClient
from certmgr.revocation.job import run
from inventory.db.database import Database
from inventory.store import clients, domains, findings
from tests.certmgr.cases.place import serve
from tests.clock import START
from tests.databases import open_sqlite
from tests.servers.bind import Named, named, real_clock

pytestmark = real_clock

SIGNED, PLAIN = "shop.example.test", "shop.plain.test"
ANNOUNCED = "3 1 1 " + "ab" * 32


@pytest.fixture(scope="session")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    with named(
        tmp_path_factory.mktemp("bind"), "example.test", dnssec=True, unsigned=("plain.test",)
    ) as server:
        for host in (SIGNED, PLAIN, "broken.example.test"):
            server.add(host, "A", "192.0.2.1")
            server.add(host, "CAA", '0 issue "other.example"')
            server.add(f"_443._tcp.{host}", "TLSA", ANNOUNCED)
        server.add("www.example.test", "CNAME", f"{SIGNED}.")
        server.add("many.example.test", "TXT", *[f'"{i:03} {"x" * 180}"' for i in range(40)])
        server.tamper("broken.example.test", "_443._tcp.broken.example.test")
        yield server


def test_validating_resolver_reports_authentic_and_broken_answers(bind: Named) -> None:
    dns_client = DnsClient((bind.resolver,))
    assert dns_client.ask(f"_443._tcp.{SIGNED}", "TLSA").authentic
    assert dns_client.ask("nothing.example.test", "TLSA").status == "nxdomain"
    assert dns_client.ask("nothing.example.test", "TLSA").authentic, "its absence was validated too"
    plain = dns_client.ask(f"_443._tcp.{PLAIN}", "TLSA")
    assert (plain.status, plain.authentic) == ("ok", False)
    assert dns_client.ask("_443._tcp.broken.example.test", "TLSA").status == "servfail"
    assert len(dns_client.ask("many.example.test", "TXT").records) == 40, "over TCP"


def test_caa_is_found_through_an_alias(bind: Named) -> None:
    found = find(DnsClient((bind.resolver,)).ask, "*.www.example.test")
    assert (found.status, [r.value for r in found.records]) == ("found", ["other.example"])
    assert permits(found, ("other.example",)).allowed is True
    assert permits(found, ("letsencrypt.org",)).allowed is False
    assert (
        permits(
            find(DnsClient((bind.resolver,)).ask, "broken.example.test"), ("other.example",)
        ).allowed
        is None
    )


def test_caa_is_found_through_a_dname_and_a_chain_of_aliases(bind: Named) -> None:
    """The record set that decides is at the end, and the advice names that place."""
    bind.add("moved.plain.test", "DNAME", "new.plain.test.")
    bind.add("www.new.plain.test", "CAA", '0 issue "CA.example; validationmethods=dns-01"')
    bind.add("first.example.test", "CNAME", "second.plain.test.")
    bind.add("second.plain.test", "CNAME", "www.new.plain.test.")
    ask = DnsClient((bind.resolver,)).ask
    for name in ("www.moved.plain.test", "below.www.moved.plain.test", "first.example.test"):
        found = find(ask, name)
        assert (found.status, found.owner) == ("found", "www.new.plain.test"), name
        assert permits(found, ("ca.example",), method="dns-01").allowed is True
        assert permits(found, ("ca.example",), method="http-01").allowed is False
        assert addition(found, "x.example").startswith("www.new.plain.test. IN CAA 0 issue")


def test_alias_that_loops_is_undetermined_and_one_to_nothing_is_passed_over(bind: Named) -> None:
    bind.add("loop.example.test", "CNAME", "loop2.example.test.")
    bind.add("loop2.example.test", "CNAME", "loop.example.test.")
    bind.add(f"gone.{SIGNED}", "CNAME", "nothing.plain.test.")
    ask = DnsClient((bind.resolver,)).ask
    assert find(ask, "loop.example.test").status == "unknown"
    # RFC 8659 3: the search goes on above the name itself, and not above the target of its alias.
    assert find(ask, f"gone.{SIGNED}").found_at == SIGNED


def test_authoritative_server_is_found_and_queried(bind: Named) -> None:
    loopback = (ip_network("127.0.0.0/8"),)
    dns_client = DnsClient((bind.resolver,), allowed=loopback, port=bind.port)
    found = dns_client.authoritative(f"_acme-challenge.{SIGNED}")
    assert (found.zone, found.addresses) == ("example.test", ("127.0.0.1",))
    assert (
        dns_client.ask_at(found.addresses[0], f"_acme-challenge.{SIGNED}", "TXT").status
        == "nxdomain"
    )
    bind.add(f"_acme-challenge.{SIGNED}", "TXT", '"token"')
    assert dns_client.ask_at(found.addresses[0], f"_acme-challenge.{SIGNED}", "TXT").records == (
        "token",
    )
    assert dns_client.ask_at(found.addresses[0], "another.zone.test", "TXT").status == "servfail"


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(open_sqlite(tmp_path / "bind.db")) as database:
        with database.write() as tx:
            clients.add(tx, {"number": "1001", "name": "One", "dns": "client"})
            for host in (SIGNED, PLAIN, "broken.example.test"):
                domains.add(tx, host, {"client": "1001"})
        yield database


def test_job_reports_mismatches_of_signed_and_unsigned_zones(
    bind: Named, inventory: Database, settings: Settings, issuer: Authority
) -> None:
    for host in (SIGNED, PLAIN, "broken.example.test"):
        serve(inventory, host, issuer.issue(host), START)
    scan = replace(settings.scan, resolvers=(bind.resolver,))
    adapted = replace(settings, scan=scan, network=NetworkSettings(allow=("127.0.0.0/8",)))
    context = Context(inventory, adapted, lambda: START)
    summary = run(context, identities_for=lambda _: (("letsencrypt.org",), None, "http-01"))
    assert summary.suspect == []
    with inventory.read() as conn:
        found = sorted((r.host, r.code) for r in findings.listing(conn))
    assert found == [(SIGNED, "caa-mismatch"), (SIGNED, "dane-mismatch"), (PLAIN, "caa-mismatch")]
