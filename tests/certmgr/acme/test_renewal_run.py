"""A run for cron: what is due, quarantine, what a run before left undone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.acme.renewal_run import RenewalRunner
from certmgr.deploy.lineage import Lineage
from inventory.clock import system_clock
from inventory.errors import Busy
from inventory.store import jobs, lineages, servers
from tests.certmgr.acme.shop import Shop, leaf, names
from tests.servers.pebble import Pebble


def test_certificate_is_renewed_when_due_and_not_before(place: Shop) -> None:
    lineage = place.lineage("1001", ["shop.test"])
    place.unwatch("shop.test")
    assert dict(RenewalRunner(place.office).due().counts) == {"placed": 1}
    first = place.row(lineage)["sha256"]
    assert RenewalRunner(place.office).due().planned == 0
    place.given = {"clock": lambda: system_clock() + timedelta(days=61)}
    summary = RenewalRunner(place.office).due()
    assert summary.planned == 1 and place.row(lineage)["sha256"] != first, summary
    with place.database.read() as conn:
        assert jobs.state(conn, "renew")["success_at"] is not None


def test_second_run_at_the_same_time_is_refused(place: Shop) -> None:
    with jobs.alone(place.database, "renew"), pytest.raises(Busy):
        RenewalRunner(place.office).due()


def test_failing_name_is_quarantined_left_out_with_approval_and_returns(
    place: Shop, ca: Pebble
) -> None:
    place.unwatch("shop.test")
    lineage = place.lineage("1001", ["shop.test", "gone.shop.test"])
    ca.add_a("gone.shop.test", "127.0.0.77")
    try:
        for _ in range(2):
            done = place.order(lineage)
            assert done.state == "failed" and "gone.shop.test" in done.said, done
        with place.database.read() as conn:
            named = {n["name"]: n for n in lineages.names_of(conn, [lineage])[lineage]}
        assert (
            named["gone.shop.test"]["state"] == "quarantined"
            and named["shop.test"]["state"] == "active"
        )
        held = place.order(lineage)
        assert held.state == "held" and "certmgr lineage approve shop.test" in held.said
        said = place.staff_news()
        assert any("gone.shop.test is in quarantine" in line for line in said.lines)
        assert any(key.startswith("quarantine:shop.test") for key, _ in said.alarms)
        with place.database.write() as tx:
            lineages.edit(tx, lineage, shrink_ok="gone.shop.test")
        assert place.order(lineage).state == "issued"
        assert names(leaf(place, lineage)) == {"shop.test"}
        assert RenewalRunner(place.office).due().returned == 0
    finally:
        ca.clear_a("gone.shop.test")
    place.given = {"clock": lambda: system_clock() + timedelta(days=1)}
    summary = RenewalRunner(place.office).due()
    assert summary.returned == 1 and summary.planned == 1, summary
    sha256 = place.row(lineage)["sha256"]
    with place.database.read() as conn:
        assert lineages.served_names(conn, [sha256]) == {sha256: {"shop.test", "gone.shop.test"}}


def test_name_that_points_elsewhere_is_quarantined_before_the_order(
    place: Shop, ca: Pebble
) -> None:
    place.unwatch("shop.test")
    with place.database.write() as tx:
        servers.add(tx, {"name": "web1", "kind": "web", "addresses": ["127.0.0.1"]})
    lineage = place.lineage("1001", ["shop.test", "left.shop.test"], shrink="auto")
    ca.add_a("left.shop.test", "127.0.0.88")
    before = ca.order_count()
    try:
        summary = RenewalRunner(place.office).due()
    finally:
        ca.clear_a("left.shop.test")
    assert dict(summary.counts) == {"placed": 1}, summary
    assert ca.order_count() == before + 1
    assert place.orders(lineage)[0]["names"] == "shop.test"
    assert any("none of ours" in line for line in place.staff_news().lines)


def test_unwritable_disk_leaves_the_live_pair_and_keeps_the_certificate(place: Shop) -> None:
    """A file stands instead of a folder; tests/certmgr/deploy has full and read-only disks."""
    place.unwatch("shop.test")
    lineage = place.lineage("1001", ["shop.test"])
    RenewalRunner(place.office).named(["shop.test"])
    folder = Lineage(place.office.base, "shop.test")
    before = folder.read_current()
    assert before is not None
    archive, aside = folder.archive.parent, folder.archive.parent.with_name("aside")
    archive.rename(aside)
    archive.write_text("in the way")
    try:
        summary = RenewalRunner(place.office).named(["shop.test"])
        assert summary.failed and len(summary.troubles) == 1, summary
        assert "cannot be" in summary.troubles[0][2], summary
        assert place.orders(lineage)[0]["ended_at"] is None, (
            "the certificate that was issued is lost"
        )
        count = len(place.orders(lineage))
    finally:
        archive.unlink()
        aside.rename(archive)
    assert folder.read_current() == before
    place.given = {"clock": lambda: system_clock() + timedelta(minutes=3)}
    assert not RenewalRunner(place.office).named(["shop.test"]).failed
    assert len(place.orders(lineage)) == count, "it was ordered again"
    after = folder.read_current()
    assert after is not None and after.sha256 == place.row(lineage)["sha256"] != before.sha256


def test_issued_certificate_that_is_not_on_disk_is_stored_by_the_next_run(place: Shop) -> None:
    """As after a kill between the certificate and its version: the order is not repeated."""
    place.unwatch("shop.test")
    lineage = place.lineage("1001", ["shop.test"])

    class Died(BaseException):
        pass

    def step(name: str) -> None:
        if name == "version":
            raise Died

    place.given = {"step": step}
    with pytest.raises(Died):
        place.order(lineage)
    place.given = {}
    row = place.row(lineage)
    assert row["sha256"] is not None and Lineage(place.office.base, "shop.test").versions() == []
    assert dict(RenewalRunner(place.office).due().counts) == {"placed": 1}
    assert place.row(lineage)["deployed"] == row["sha256"] and len(place.orders(lineage)) == 1
