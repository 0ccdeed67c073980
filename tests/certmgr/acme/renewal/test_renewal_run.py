"""A run for cron: due lineages, quarantine, and the open orders of earlier runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.deploy.lineage import Lineage
from inventory.clock import system_clock
from inventory.errors import Busy
from inventory.store import certificates, jobs, lineage_names, lineages, servers
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, names
from tests.servers.pebble import Pebble


def test_certificate_is_renewed_when_due_and_not_before(env: AcmeEnvironment) -> None:
    lineage = env.lineage("1001", ["shop.test"])
    env.unwatch("shop.test")
    assert dict(RenewalRunner(env.context).run_due().counts) == {"placed": 1}
    first = env.row(lineage).sha256
    assert RenewalRunner(env.context).run_due().planned == 0
    env.given = {"clock": lambda: system_clock() + timedelta(days=61)}
    summary = RenewalRunner(env.context).run_due()
    assert summary.planned == 1 and env.row(lineage).sha256 != first, summary
    with env.database.read() as conn:
        assert jobs.state(conn, "renew").success_at is not None


def test_second_run_at_the_same_time_is_refused(env: AcmeEnvironment) -> None:
    with jobs.alone(env.database, "renew"), pytest.raises(Busy):
        RenewalRunner(env.context).run_due()


def test_failing_name_is_quarantined_left_out_with_approval_and_returns(
    env: AcmeEnvironment, ca: Pebble
) -> None:
    env.unwatch("shop.test")
    lineage = env.lineage("1001", ["shop.test", "gone.shop.test"])
    ca.add_a("gone.shop.test", "127.0.0.77")
    try:
        for _ in range(2):
            done = env.order(lineage)
            assert done.state == "failed" and "gone.shop.test" in done.message, done
        with env.database.read() as conn:
            named = {n.name: n for n in lineage_names.by_lineage(conn, [lineage])[lineage]}
        assert (
            named["gone.shop.test"].state == "quarantined" and named["shop.test"].state == "active"
        )
        held = env.order(lineage)
        assert held.state == "held" and "certmgr lineage approve shop.test" in held.message
        report = env.staff_news()
        assert any("gone.shop.test is in quarantine" in line for line in report.lines)
        assert any(key.startswith("quarantine:shop.test") for key, _ in report.alarms)
        with env.database.write() as tx:
            lineages.edit(tx, lineage, shrink_ok=("gone.shop.test",))
        assert env.order(lineage).state == "issued"
        assert names(leaf(env, lineage)) == {"shop.test"}
        assert RenewalRunner(env.context).run_due().returned == 0
    finally:
        ca.clear_a("gone.shop.test")
    env.given = {"clock": lambda: system_clock() + timedelta(days=1)}
    summary = RenewalRunner(env.context).run_due()
    assert summary.returned == 1 and summary.planned == 1, summary
    sha256 = env.row(lineage).sha256
    assert sha256 is not None
    with env.database.read() as conn:
        assert certificates.names_of(conn, [sha256]) == {sha256: {"shop.test", "gone.shop.test"}}


def test_name_that_points_elsewhere_is_quarantined_before_the_order(
    env: AcmeEnvironment, ca: Pebble
) -> None:
    env.unwatch("shop.test")
    with env.database.write() as tx:
        servers.add(tx, {"name": "web1", "kind": "web", "addresses": ["127.0.0.1"]})
    lineage = env.lineage("1001", ["shop.test", "left.shop.test"], shrink="auto")
    ca.add_a("left.shop.test", "127.0.0.88")
    before = ca.order_count()
    try:
        summary = RenewalRunner(env.context).run_due()
    finally:
        ca.clear_a("left.shop.test")
    assert dict(summary.counts) == {"placed": 1}, summary
    assert ca.order_count() == before + 1
    assert env.orders(lineage)[0].names == ("shop.test",)
    assert any("not one of our addresses" in line for line in env.staff_news().lines)


def test_unwritable_disk_leaves_the_live_pair_and_keeps_the_certificate(
    env: AcmeEnvironment,
) -> None:
    """A file blocks the path of a folder; tests/certmgr/deploy has full and read-only disks."""
    env.unwatch("shop.test")
    lineage = env.lineage("1001", ["shop.test"])
    RenewalRunner(env.context).run_named(["shop.test"])
    folder = Lineage(env.context.base, "shop.test")
    before = folder.read_current()
    assert before is not None
    archive, aside = folder.archive.parent, folder.archive.parent.with_name("aside")
    archive.rename(aside)
    archive.write_text("in the way")
    try:
        summary = RenewalRunner(env.context).run_named(["shop.test"])
        assert summary.failed and len(summary.problems) == 1, summary
        assert "cannot be" in summary.problems[0][2], summary
        assert env.orders(lineage)[0].ended_at is None, "the certificate that was issued is lost"
        count = len(env.orders(lineage))
    finally:
        archive.unlink()
        aside.rename(archive)
    assert folder.read_current() == before
    env.given = {"clock": lambda: system_clock() + timedelta(minutes=3)}
    assert not RenewalRunner(env.context).run_named(["shop.test"]).failed
    assert len(env.orders(lineage)) == count, "it was ordered again"
    after = folder.read_current()
    assert after is not None and after.sha256 == env.row(lineage).sha256 != before.sha256


def test_issued_certificate_that_is_not_on_disk_is_stored_by_the_next_run(
    env: AcmeEnvironment,
) -> None:
    """The process died between the certificate and its version: the order is not repeated."""
    env.unwatch("shop.test")
    lineage = env.lineage("1001", ["shop.test"])

    class Killed(BaseException):
        pass

    def checkpoint(name: str) -> None:
        if name == "version":
            raise Killed

    env.given = {"checkpoint": checkpoint}
    with pytest.raises(Killed):
        env.order(lineage)
    env.given = {}
    row = env.row(lineage)
    assert row.sha256 is not None and Lineage(env.context.base, "shop.test").versions() == []
    assert dict(RenewalRunner(env.context).run_due().counts) == {"placed": 1}
    assert env.row(lineage).deployed == row.sha256 and len(env.orders(lineage)) == 1
