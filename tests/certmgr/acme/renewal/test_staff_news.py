"""Staff reports about certificates that are renewed automatically."""

from __future__ import annotations

import json
from datetime import timedelta

from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.cli.acme.lineage_rows import rows_of
from inventory.clock import system_clock
from inventory.store import endpoints, lineages
from inventory.targets import Target
from inventory.vocabulary import VerificationState
from tests.certmgr.acme.shop import AcmeEnvironment


def test_endpoint_of_a_healthy_lineage_is_automated_until_its_renewal_fails(
    env: AcmeEnvironment,
) -> None:
    lineage = env.lineage("1001", ["shop.test"])
    env.unwatch("shop.test")
    RenewalRunner(env.context).run_named(["shop.test"])
    with env.database.write() as tx:
        endpoints.add(tx, Target("shop.test", 8443))
    assert env.staff_news().automated == {}, "it was never verified live"
    with env.database.write() as tx:
        lineages.note(tx, lineage, proven_at=tx.at)
    found = env.staff_news()
    assert list(found.automated) and found.lines == ()
    near = system_clock() + timedelta(days=80)
    assert env.staff_news(near).automated == {}
    with env.database.write() as tx:
        lineages.note(tx, lineage, failures=2, error=json.dumps({"sentence": "no"}))
    assert env.staff_news().automated == {}
    alarms = dict(env.staff_news(near).alarms)
    assert "could not be renewed" in alarms["near:shop.test"]


def test_unverified_certificate_is_reported_only_if_an_endpoint_could_be_probed(
    env: AcmeEnvironment,
) -> None:
    lineage = env.lineage("1001", ["shop.test"])
    env.unwatch("shop.test")
    RenewalRunner(env.context).run_named(["shop.test"])

    def state() -> str:
        with env.database.read() as conn:
            (row,) = rows_of(conn, None, ("active",))
        return str(row["state"])

    assert env.row(lineage).verification is None, "no endpoint of the inventory has the name"
    assert env.staff_news().lines == () and state() == "placed"
    with env.database.write() as tx:
        lineages.note(
            tx, lineage, verification=VerificationState.PARTIAL, proof="served at 1 address(es)"
        )
    (line,) = env.staff_news().lines
    assert "not verified live: served at 1 address(es)" in line and state() == "unproved"
    with env.database.write() as tx:
        lineages.note(tx, lineage, verification=VerificationState.LIVE, proven_at=tx.at)
    assert env.staff_news().lines == () and state() == "live"
