"""Ordered from pebble, put in place, reloaded, proved, renewed, taken back: the whole way, with a real nginx."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from certmgr.config_acme import SolverSettings
from certmgr.issuance.renewing import Fleet
from inventory.store import endpoints
from inventory.targets import Target
from tests.certmgr.issuance.shop import Shop
from tests.certmgr.issuance.web import nginx
from tests.servers.pebble import Pebble
from tests.servers.ports import free_port


def test_issue_and_renew(place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack) -> None:
    live, behind = place.office.base / "live" / "shop.test", free_port()
    web = opened.enter_context(
        nginx(
            tmp_path / "nginx", live, ["shop.test"], addresses=("127.0.0.1", "127.0.0.2"), http_port=ca.http_port, behind=behind
        )
    )
    solvers = {"web": SolverSettings(kind="standalone", address="127.0.0.1", port=behind, http_port=ca.http_port)}
    place.settings = replace(place.settings, acme=replace(place.settings.acme, solvers=solvers, places={"nginx": web.target}))
    with place.database.write() as tx:
        endpoints.retire(tx, Target("shop.test"))
        endpoints.add(tx, Target("shop.test", web.port), addresses=("127.0.0.1", "127.0.0.2"))
    lineage = place.lineage("1001", ["shop.test"], targets="nginx")
    summary = Fleet(place.office).named(["shop.test"])
    assert dict(summary.counts) == {"live": 1}, summary
    first = place.row(lineage)
    assert first["proven_at"] and first["deployed"] == first["sha256"] and "2 place(s)" in first["proof"]
    summary = Fleet(place.office).named(["shop.test"])
    assert dict(summary.counts) == {"live": 1}, summary
    assert place.row(lineage)["sha256"] != first["sha256"]
    assert Fleet(place.office).due().counts == {}
