"""What staff get: the digest and the list of clients to call."""

from __future__ import annotations

from inventory.store import contacts, notices, releases, tickets
from notifiers.pipeline.call_list import PhoneCall, call_lines, calls
from notifiers.pipeline.plan import Snapshot
from tests.notifiers.sites import DAY, START, Leaf, SiteSimulation, add_expiring_site, fault


def test_unanswered_notice_goes_to_the_fallback_and_then_to_the_call_list(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1", account_manager="Grace")
    with simulation.database.write(simulation.now) as tx:
        methods = ("email:deputy@client1.example", "phone:+49 30 1234567")
        contacts.add(tx, "1", {"name": "Deputy", "role": "technical"}, methods)
        contacts.edit(tx, "Owner of 1", {"fallback": "Deputy"})
    key = add_expiring_site(simulation, left=31)
    simulation.day()
    simulation.mark_sent()
    got = []
    for _ in range(16):
        outcome = simulation.day()
        got += [(d.person.name, i.label, i.step) for d, _ in outcome.drafts for i in d.items]
        simulation.mark_sent()
    assert ("Deputy", "30", "fallback") in got, "a week without an answer"
    assert ("Owner of 1", "14", "owner") in got
    assert ("Deputy", "14", "fallback") in got
    assert _calls(simulation)[0].phones == ("Deputy +49 30 1234567",)
    assert _calls(simulation)[0].manager == "Grace"
    with simulation.database.write(simulation.now) as tx:
        tickets.acknowledge(tx, [tickets.by_key(tx.conn, [key])[key].id], "Deputy")
    assert _calls(simulation) == []


def _calls(simulation: SiteSimulation) -> list[PhoneCall]:
    rules = simulation.rules
    with simulation.database.read() as conn:
        snapshot = Snapshot(simulation.now, rules.policy, rules.recipients(conn))
        return list(calls(tickets.listing(conn), notices.sent_about(conn), snapshot, rules.policy))


def test_undetermined_result_is_in_the_digest(simulation: SiteSimulation) -> None:
    simulation.staff()
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {"scanner-error": fault("scanner-error", "undetermined", "staff")}
    simulation.day()
    outcome = simulation.day()
    assert any("scanner-error: 1 endpoint(s)" in m.text for _, m in outcome.staff)


def test_names_of_one_certificate_are_one_call_and_the_most_urgent_client_is_first(
    simulation: SiteSimulation,
) -> None:
    for number in ("1", "2"):
        simulation.client(number, account_manager=f"Manager {number}")
    shared = Leaf("ab" * 32, START - 385 * DAY, START + 25 * DAY)
    for i in range(8):
        site = simulation.site(f"n{i}.example", "1")
        site.leaves = {"192.0.2.1": shared}
    simulation.site("other.example", "2").serve(START - 390 * DAY, 403 * DAY)
    simulation.baseline()
    with simulation.database.write(simulation.now) as tx:
        for cause in {t.cause for t in tickets.listing(tx.conn, held=True)}:
            releases.add(tx, cause, 100, "Ada")
    simulation.days(12)
    found = _calls(simulation)
    assert [(c.client, len(c.hosts)) for c in found] == [("2", 1), ("1", 8)]
    assert [c.urgency for c in found] == ["ends in 1 day(s)", "ends in 13 day(s)"]
    assert [line.partition(":")[0][12:] for line in call_lines(found)] == [
        "client 2, Manager 2",
        "client 1, Manager 1",
    ]
    with simulation.database.write(simulation.now) as tx:
        same = tickets.of_same_certificate(tx.conn, tickets.find(tx.conn, found[1].reference))
        tickets.acknowledge(tx, [t.id for t in same], "Owner of 1")
    assert [c.client for c in _calls(simulation)] == ["2"], "one acknowledgement for all names"
