"""The location of a TXT record."""

from __future__ import annotations

from pathlib import Path

from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import AcmeEnvironment
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
