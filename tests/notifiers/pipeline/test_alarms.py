"""Alarms to staff."""

from __future__ import annotations

from inventory.store import domains, servers
from tests.notifiers.sites import SiteSimulation, fault


def test_on_call_alarm_is_sent_once_per_cause_and_again_when_it_grows(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    simulation.client("1", hosts="us")
    sites = [simulation.site(f"a{n}.example", "1") for n in range(3)]
    with simulation.database.write(simulation.now) as tx:
        servers.add(tx, {"name": "web1", "kind": "web"})
        for site in sites:
            domains.edit(tx, site.host, {"server": "web1"})
    simulation.baseline()
    got = []
    for n in range(4):
        if n < 2:
            sites[n].faults["not-tls"] = fault("not-tls", "critical", "provider")
        alarms = [m for _, m in simulation.day().staff if m.reference == "alarm"]
        got.append([m.subject.removeprefix("[certmgr] ") for m in alarms])
        simulation.notify()
        simulation.mark_sent()
    assert got[0] == ["New fault on our side: server web1 not-tls, 1 endpoint(s), a0.example:443"]
    assert got[1] == ["New fault on our side: server web1 not-tls, 2 endpoint(s), a0.example:443"]
    assert got[2:] == [[], []]
