"""ARI against a CA that supports it: acme2certifier."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certmgr.acme.orders.revoke import revoke
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.settings import Settings
from inventory.clock import system_clock
from inventory.db.database import Database
from inventory.store import lineages
from tests.certmgr.acme.shop import make_environment
from tests.servers import faults, faulty
from tests.servers.acme2certifier import Acme2certifier
from tests.servers.faults import Rule


def test_certificate_is_renewed_at_the_time_selected_from_its_window(
    database: Database,
    settings: Settings,
    tmp_path: Path,
    ari_ca: Acme2certifier,
    opened: ExitStack,
) -> None:
    proxy = opened.enter_context(faulty.faulty(tmp_path, ari_ca.directory, ari_ca.ca_file))
    env = make_environment(database, settings, tmp_path, proxy.directory, proxy.ca_file)
    env.client("1001", "shop.test")
    env.unwatch("shop.test")
    env.register()
    lineage = env.lineage("1001", ["shop.test"], profile="shortlived")
    summary = RenewalRunner(env.context).run_due()
    assert dict(summary.counts) == {"placed": 1}, summary
    posts = [s.payload for s in proxy.to("/acme/neworder", "POST")]
    assert posts[0]["profile"] == "shortlived" and "replaces" not in posts[0]
    draws, moment = iter([0.25, 0.75, 0.5]), system_clock()
    env.given = {"random": lambda: next(draws, 0.5), "clock": lambda: moment}
    RenewalRunner(env.context).run_due()
    row = env.row(lineage)
    assert row.ari_start and row.ari_at and row.ari_end
    assert row.ari_start <= row.ari_at <= row.ari_end
    drawn = row.ari_start + (row.ari_end - row.ari_start) // 4
    assert abs(row.ari_at - drawn) <= 1
    assert row.ari_next_at == int(moment.timestamp()) + 7200, "as Retry-After asks"
    asked = len(proxy.to("/acme/renewal-info"))
    RenewalRunner(env.context).run_due()
    assert len(proxy.to("/acme/renewal-info")) == asked, "it was requested again before its time"
    env.given = {"clock": lambda: system_clock() + timedelta(hours=3)}
    RenewalRunner(env.context).run_due()
    assert len(proxy.to("/acme/renewal-info")) == asked + 1
    assert env.row(lineage).ari_at == row.ari_at, "the same window got a new time"
    # It is renewed at the selected time, and the order names the certificate that it replaces.
    env.given = {"clock": lambda: datetime.fromtimestamp((row.ari_at or 0) + 60, UTC)}
    proxy.rules.append(
        Rule(
            faults.problem(409, "alreadyReplaced", "replaced"),
            "/acme/neworder",
            when=lambda s: "replaces" in (s.payload or {}),
        )
    )
    summary = RenewalRunner(env.context).run_due()
    assert env.row(lineage).sha256 != row.sha256, summary
    posts = [s.payload for s in proxy.to("/acme/neworder", "POST")][1:]
    assert "replaces" in posts[0] and "replaces" not in posts[-1], (
        "refused with it, ordered without it"
    )
    before = set(ari_ca.revoked())
    assert row.sha256 is not None
    revoked = revoke(env.context, "shop.test", "superseded", sha256=row.sha256)
    assert set(ari_ca.revoked()) - before == {int(revoked.serial, 16)}


def test_certificate_of_another_account_is_neither_asked_about_nor_replaced(
    database: Database,
    settings: Settings,
    tmp_path: Path,
    ari_ca: Acme2certifier,
    opened: ExitStack,
) -> None:
    """After a lineage got another account, also at the same CA, its next order names nothing."""
    proxy = opened.enter_context(faulty.faulty(tmp_path, ari_ca.directory, ari_ca.ca_file))
    env = make_environment(database, settings, tmp_path, proxy.directory, proxy.ca_file)
    env.client("1001", "shop.test")
    env.unwatch("shop.test")
    env.register()
    other = env.register("other")
    lineage = env.lineage("1001", ["shop.test"], profile="shortlived")
    assert env.order(lineage).state == "issued"
    with env.database.write() as tx:
        lineages.edit(tx, lineage, account_id=other.id)
    end = env.row(lineage).not_after
    env.given = {"clock": lambda: datetime.fromtimestamp((end or 0) - 3600, UTC)}
    summary = RenewalRunner(env.context).run_due()
    assert not summary.failed and summary.renewed == 1, summary
    assert proxy.to("/acme/renewal-info") == []
    posts = [s.payload for s in proxy.to("/acme/neworder", "POST")]
    assert len(posts) == 2 and "replaces" not in posts[1]
    # What the new account ordered is asked about again.
    RenewalRunner(env.context).run_due()
    assert len(proxy.to("/acme/renewal-info")) == 1
