"""Staff reports about certificates that are renewed automatically."""

from __future__ import annotations

import json
from datetime import timedelta

from certmgr.acme.renewal_run import RenewalRunner
from inventory.clock import system_clock
from inventory.store import endpoints, lineages
from inventory.targets import Target
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
