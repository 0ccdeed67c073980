"""The location of a TXT record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from certmgr.acme.challenges.dns01 import Dns01, RecordLocation, find_location
from certmgr.acme.challenges.interface import ChallengeProof, NotPublished
from certmgr.net.dns import DnsClient
from certmgr.net.dns_answers import Authoritative
from certmgr.net.dns_answers import NameServer as ZoneServer
from inventory.errors import CertmgrError
from tests.campaign import UNREACHED
from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.certmgr.net.server import NameServer, serving
from tests.servers.bind import Named
from tests.servers.pebble import Pebble

LOOPBACK = (IPv4Network("127.0.0.0/8"),)


def test_delegated_challenge_is_set_at_the_target_of_the_cname(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path
) -> None:
    env.solve(dns=hook(tmp_path, ca))
    ca.add_cname("_acme-challenge.shop.test", "shop-test.acme.provider.test")
    try:
        assert env.order(env.lineage("1001", ["shop.test"], solver="dns")).state == "issued"
    finally:
        ca.clear_cname("_acme-challenge.shop.test")
    assert {line.split()[1] for line in (tmp_path / "calls").read_text().splitlines()} == {
        "shop-test.acme.provider.test"
    }


WILDCARD = "sites.shop.test"


@pytest.mark.parametrize(
    ("cnames", "record", "location"),
    [
        ({"*.w1.shop.test": WILDCARD}, "_acme-challenge.w1.shop.test", ""),
        # A wildcard covers names several labels below it.
        ({"*.w2.shop.test": WILDCARD}, "_acme-challenge.a.b.w2.shop.test", ""),
        (
            {"*.w3.shop.test": WILDCARD, "_acme-challenge.w3.shop.test": "w3.shop.test"},
            "_acme-challenge.w3.shop.test",
            "w3.shop.test",
        ),
        ({"_acme-challenge.w4.shop.test": "v4.shop.test"}, "_acme-challenge.w4.shop.test", "v4"),
        ({}, "_acme-challenge.w5.shop.test", "_acme-challenge.w5.shop.test"),
    ],
)
def test_wildcard_cname_is_no_delegation(
    bind: Named, cnames: dict[str, str], record: str, location: str
) -> None:
    for name, target in cnames.items():
        bind.add(name, "CNAME", f"{target}.")
    found = find_location(DnsClient((bind.resolver,)), record)
    if location:
        assert found.name.startswith(location) and not found.wildcard_cname
    else:
        assert found == RecordLocation(record, WILDCARD)


def test_foreign_zone_is_not_written_to_while_a_wildcard_is_possible() -> None:
    """The delegation is visible, and the name next to it cannot be queried."""
    zone = {("_acme-challenge.shop.test", "CNAME"): ["x.builder.test."], ("*", "TXT"): "SERVFAIL"}
    with serving(zone) as server:
        client = DnsClient((server.address,), timeout=UNREACHED, tries=1)
        ask = client.ask
        client.ask = lambda name, kind, **_: ask(  # type: ignore[method-assign]
            name if name.startswith("_acme") else "*", kind
        )
        with pytest.raises(CertmgrError, match="cannot be determined"):
            find_location(client, "_acme-challenge.shop.test")


@dataclass
class PrimaryZone:
    """A zone whose changes reach the primary server at once, and the secondary by a transfer."""

    primary: NameServer

    def add(self, record: str, value: str) -> None:
        self.primary.records[(record, "TXT")] = [f'"{value}"']

    def remove(self, record: str, value: str) -> None:
        del self.primary.records[(record, "TXT")]

    def removal(self, record: str, value: str) -> str:
        return ""


class TwoServers(DnsClient):
    """A DNS client that finds two name servers for each zone."""

    servers: tuple[str, ...] = ()

    def authoritative(self, name: str) -> Authoritative:
        found = tuple(ZoneServer(f"ns{n}", (a,)) for n, a in enumerate(self.servers))
        return Authoritative("ok", "shop.test", found)


@pytest.mark.parametrize("old", [['"old"'], [], "SERVFAIL"], ids=["old", "none", "failing"])
def test_secondary_that_lags_behind_is_waited_for(old: list[str] | str) -> None:
    """A CA may ask any server of the zone, so that each must publish the new record."""
    proof = ChallengeProof("shop.test", "token", "key", location="_acme-challenge.shop.test")
    record, txt = proof.location, proof.txt
    before: dict[tuple[str, str], Sequence[str] | str] = {("shop.test", "A"): ["192.0.2.1"]}
    with (
        serving(before, authoritative=True) as primary,
        serving({**before, (record, "TXT"): old}, authoritative=True) as secondary,
    ):

        def client() -> DnsClient:
            made = TwoServers((primary.address,), timeout=UNREACHED, tries=1, allowed=LOOPBACK)
            made.servers = (primary.address, secondary.address)
            return made

        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            # The transfer of the zone ends during the third wait.
            if len(waits) == 3:
                secondary.records[(record, "TXT")] = [f'"{txt}"']

        solver = Dns01(PrimaryZone(primary), client, propagation=UNREACHED, wait=wait)
        solver.present([proof])
        # A server that does not answer is no reason to wait: the CA skips it too.
        assert len(waits) == (0 if old == "SERVFAIL" else 3)


@pytest.mark.parametrize(
    ("old", "propagation", "refused"),
    [
        # A CA may ask the secondary alone: the authorization would fail.
        ([], 0.01, True),
        (['"old"'], 0.01, True),
        # What this machine cannot reach proves nothing.
        ("SERVFAIL", 0.01, False),
        # Without a time to wait nothing is checked, for a CA that sees other servers (split DNS).
        ([], 0.0, False),
    ],
)
def test_order_does_not_go_on_while_a_server_answers_without_the_record(
    old: list[str] | str, propagation: float, refused: bool
) -> None:
    proof = ChallengeProof("shop.test", "token", "key", location="_acme-challenge.shop.test")
    record = (proof.location, "TXT")
    with (
        serving({("shop.test", "A"): ["192.0.2.1"]}, authoritative=True) as primary,
        serving({("shop.test", "A"): ["192.0.2.1"], record: old}, authoritative=True) as secondary,
    ):

        def client() -> DnsClient:
            made = TwoServers((primary.address,), timeout=UNREACHED, tries=1, allowed=LOOPBACK)
            made.servers = (primary.address, secondary.address)
            return made

        solver = Dns01(PrimaryZone(primary), client, propagation=propagation, wait=lambda _: None)
        if refused:
            with pytest.raises(NotPublished, match=f"{secondary.address} answers without it"):
                solver.present([proof])
        else:
            solver.present([proof])
        # It stays set for the run that continues the order.
        assert primary.records[record] == [f'"{proof.txt}"']
