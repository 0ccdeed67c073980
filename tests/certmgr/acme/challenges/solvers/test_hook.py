"""A wildcard that a program of the administrator proves."""

from __future__ import annotations

from pathlib import Path

from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, names
from tests.servers.pebble import Pebble


def test_wildcard_is_validated_by_a_hook_at_its_bare_name(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path
) -> None:
    env.solve(dns=hook(tmp_path, ca))
    lineage = env.lineage("1001", ["*.shop.test", "shop.test"], solver="dns")
    done = env.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(env, lineage)) == {"*.shop.test", "shop.test"}
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [c[0] for c in calls] == ["add", "add", "remove", "remove"]
    assert {c[1] for c in calls} == {"_acme-challenge.shop.test"}
