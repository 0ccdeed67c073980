"""Where a TXT record is set."""

from __future__ import annotations

from pathlib import Path

from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import Shop
from tests.servers.pebble import Pebble


def test_delegated_challenge_is_set_at_the_target_of_the_cname(
    place: Shop, ca: Pebble, tmp_path: Path
) -> None:
    place.solve(dns=hook(tmp_path, ca))
    ca.add_cname("_acme-challenge.shop.test", "shop-test.acme.provider.test")
    try:
        assert place.order(place.lineage("1001", ["shop.test"], solver="dns")).state == "issued"
    finally:
        ca.clear_cname("_acme-challenge.shop.test")
    assert {line.split()[1] for line in (tmp_path / "calls").read_text().splitlines()} == {
        "shop-test.acme.provider.test"
    }
