"""Reasons that suppress, hold or delay a notice.

Snoozes, acknowledgements, office hours, message rates, faults that come and go, a wrong clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from inventory.db.database import Database
from inventory.store import domains, findings, snoozes, tickets
from inventory.vocabulary import SnoozeScope
from tests.notifiers.sites import (
    DAY,
    START,
    Leaf,
    SiteSimulation,
    add_expiring_site,
    fault,
    reasons,
    sent_items,
)


def test_accepted_leaving_and_retired_domains_are_not_notified(simulation: SiteSimulation) -> None:
    key = add_expiring_site(simulation, left=8)
    code = "certificate-expiring"
    with simulation.database.write(simulation.now) as tx:
        domain_id = simulation.sites["shop.example"].domain_id
        until = simulation.now + 30 * DAY
        findings.accept(tx, code, frozenset({code}), until, "moves", domain_id=domain_id)
    assert sent_items(simulation.day()) == []
    assert reasons(simulation, key)[0].startswith("suppress: accepted by tester until")
    other = simulation.site("leaving.example", "1")
    other.serve(START - 391 * DAY, 398 * DAY)
    with simulation.database.write(simulation.now) as tx:
        domains.edit(tx, "leaving.example", {"state": "leaving"})
    assert sent_items(simulation.day()) == []
    assert reasons(simulation, other.key)[0] == "suppress: the domain is leaving"
    with simulation.database.write(simulation.now) as tx:
        domains.retire(tx, "leaving.example")
    assert sent_items(simulation.day()) == []


def test_snoozed_domain_is_notified_when_the_snooze_ends(simulation: SiteSimulation) -> None:
    key = add_expiring_site(simulation, left=8)
    domain_id = simulation.sites["shop.example"].domain_id
    with simulation.database.write(simulation.now) as tx:
        until = tx.at + 3 * 86_400
        number = snoozes.add(tx, SnoozeScope.DOMAIN, domain_id, tx.at, until, "server moves", "Ada")
    assert sent_items(simulation.day()) == []
    assert "snoozed until 2026-03-05 10:00 UTC: server moves" in reasons(simulation, key)[0]
    with simulation.database.write(simulation.now) as tx:
        assert snoozes.end(tx, number)
    assert sent_items(simulation.notify()) == [(key, "7", "owner")]


def test_acknowledged_end_is_notified_at_the_next_threshold_if_not_renewed(
    simulation: SiteSimulation,
) -> None:
    key = add_expiring_site(simulation, left=31)
    simulation.day()
    simulation.mark_sent()
    with simulation.database.write(simulation.now) as tx:
        row = tickets.by_key(tx.conn, [key])[key]
        tickets.acknowledge(tx, [row.id], "the owner, by telephone")
    assert simulation.days(12) == [], "acknowledged for a week, and then nothing new is due"
    assert [label for _, label, _ in simulation.days(20)][:2] == ["14", "7"]


def test_acknowledged_escalation_is_notified_on_the_promised_day(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1", hosts=None, buys=None, renews=None)
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    simulation.day()
    assert len(simulation.day().drafts) == 1
    simulation.mark_sent()
    with simulation.database.write(simulation.now) as tx:
        tickets.acknowledge(tx, [m.id for m in tickets.listing(tx.conn)], "the owner")
    assert sent_items(simulation.day()) == [], "Thursday"
    assert [label for _, label, _ in sent_items(simulation.day())] == ["2026-03-10"], (
        "Friday, as promised"
    )


def test_notice_due_at_night_before_holidays_waits_for_the_next_working_day(
    simulation_database: Database,
) -> None:
    thursday = datetime(2026, 4, 2, 20, tzinfo=UTC)  # the evening before Good Friday
    simulation = SiteSimulation(simulation_database, thursday, country="DE")
    key = add_expiring_site(simulation, left=8)
    assert sent_items(simulation.day(1)) == []
    assert "quiet hours of contact 1 until 2026-04-07 08:00 UTC" in reasons(simulation, key)[0]
    simulation.now = datetime(2026, 4, 7, 9, tzinfo=UTC)
    assert sent_items(simulation.notify()) == [(key, "7", "owner")]


def test_client_gets_one_message_per_week_while_all_ends_are_far_ahead(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1")
    for i, left in enumerate((61.5, 62.5, 63.5)):
        simulation.site(f"far{i}.example", "1").serve(START - (398 - left) * DAY, 398 * DAY)
    simulation.baseline()
    got = {}
    for _ in range(10):
        outcome = simulation.day()
        simulation.mark_sent()
        if outcome.drafts:
            got[simulation.now.date()] = sent_items(outcome)
    assert len(got) == 2, got
    first, second = got.values()
    assert len(first) == 1
    assert len(second) == 2, "both that waited are in one message"
    assert max(got) - min(got) == timedelta(days=7)


def test_fault_that_comes_and_goes_daily_is_notified_once(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    got = []
    for i in range(12):
        found = {"not-tls": fault("not-tls", "critical", reason="http")}
        site.faults = found if i % 2 == 0 else {}
        got += simulation.days(1)
    assert [(label, step) for _, label, step in got] == [("+0", "owner"), ("+0", "resolved")]


def test_fault_that_comes_and_goes_within_a_day_is_reported_to_staff(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    got, staff = [], ""
    for n in range(60):
        # Present by day and gone by night.
        site.faults = {"not-tls": fault("not-tls", "critical")} if n % 2 else {}
        simulation.advance(0, 12)
        simulation.scan()
        outcome = simulation.notify()
        got += sent_items(outcome)
        staff += "".join(m.text for _, m in outcome.staff)
        simulation.mark_sent()
    assert len([1 for _, _, step in got if step == "owner"]) <= 2
    assert "it comes and goes" in staff


def test_clock_that_was_set_back_holds_all_notices(simulation: SiteSimulation) -> None:
    simulation.staff()
    key = add_expiring_site(simulation, left=9)
    simulation.day()
    simulation.advance(-1)
    outcome = simulation.notify()
    assert sent_items(outcome) == []
    assert "the database has rows from" in outcome.hold
    assert not any(r.startswith("send") for r in reasons(simulation, key))
    assert any("the clock shows" in m.text for _, m in outcome.staff)


def test_renewal_is_notified_as_done_when_every_address_has_it(simulation: SiteSimulation) -> None:
    key = add_expiring_site(simulation, left=8)
    simulation.day()
    simulation.mark_sent()
    site = simulation.sites["shop.example"]
    site.serve(simulation.now, 398 * DAY)
    simulation.advance(1)
    simulation.scan()
    # Since the scan two more addresses answer, one of them with the old certificate.
    site.serve(START - 390 * DAY, 398 * DAY, ("192.0.2.9",), keep=True)
    simulation.advance(0.1)
    with simulation.database.read() as conn:
        old = tickets.by_key(conn, [key])[key].round
    site.leaves["192.0.2.2"] = Leaf(old, START, START + DAY)
    assert sent_items(simulation.notify()) == []
    del site.leaves["192.0.2.2"], site.leaves["192.0.2.9"]
    assert [step for _, _, step in sent_items(simulation.notify())] == ["resolved"]


def test_replacement_by_a_worse_certificate_is_not_notified_as_done(
    simulation: SiteSimulation,
) -> None:
    add_expiring_site(simulation, left=8)
    simulation.day()
    simulation.mark_sent()
    site = simulation.sites["shop.example"]
    site.leaves = {"192.0.2.1": Leaf("ab" * 32, START - 300 * DAY, simulation.now + 2 * DAY)}
    assert "resolved" not in [step for _, _, step in sent_items(simulation.day())]
    site.leaves = {"192.0.2.1": Leaf("cd" * 32, START - 300 * DAY, simulation.now + 300 * DAY)}
    site.faults["default-certificate"] = fault("default-certificate", "critical", "provider")
    assert "resolved" not in [step for _, _, step in sent_items(simulation.day())]
