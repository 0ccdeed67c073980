"""The location of a TXT record."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.acme.challenges.dns01 import RecordLocation, find_location
from certmgr.net.dns import DnsClient
from inventory.errors import CertmgrError
from tests.campaign import UNREACHED
from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.certmgr.net.server import serving
from tests.servers.bind import Named
from tests.servers.pebble import Pebble


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
