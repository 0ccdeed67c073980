"""Runs of notices: their transaction, dry runs, changes of ownership, the baseline."""

from __future__ import annotations

import pytest

from certmgr.compliance.rules import RULES
from inventory.db.database import Database
from inventory.errors import Busy
from inventory.store import deadlines, domains, jobs, outbox, tickets
from tests.campaign import Campaign
from tests.notifiers.pipeline.many_sites import add_faulty_sites, held, release
from tests.notifiers.sites import (
    DAY,
    START,
    SiteSimulation,
    add_expiring_site,
    fault,
    reasons,
    sent_items,
)


def test_dry_run_decides_the_same_and_stores_nothing(simulation: SiteSimulation) -> None:
    key = add_expiring_site(simulation, left=8)
    simulation.advance(1)
    simulation.scan()
    with simulation.database.read() as conn:
        before = (outbox.depth(conn), len(tickets.by_key(conn)))
    outcome = simulation.notify(dry_run=True)
    assert sent_items(outcome) == [(key, "7", "owner")]
    assert outcome.drafts[0][1].reference.startswith("CM-")
    with simulation.database.read() as conn:
        assert (outbox.depth(conn), len(tickets.by_key(conn))) == before
    assert sent_items(simulation.notify()) == [(key, "7", "owner")]


def test_second_run_at_the_same_time_is_refused(simulation: SiteSimulation) -> None:
    add_expiring_site(simulation, left=8)
    simulation.advance(1)
    simulation.scan()
    with jobs.alone(simulation.database, "notify"), pytest.raises(Busy, match="notify is running"):
        simulation.notify()
    assert len(simulation.notify().drafts) == 1


def test_decisions_are_the_same_on_sqlite_and_postgresql(database: Database) -> None:
    simulation = SiteSimulation(database)
    simulation.staff()
    key = add_expiring_site(simulation, left=31)
    labels = [label for k, label, _ in simulation.days(35) if k == key]
    assert labels == ["30", "14", "7", "3", "1", "0", "+1"]
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    assert [step for _, _, step in sent_items(simulation.day())] == ["resolved"]


def test_domain_that_changed_hands_is_notified_to_its_new_client_only(
    simulation: SiteSimulation,
) -> None:
    add_expiring_site(simulation, left=31)
    simulation.day()
    simulation.mark_sent()
    simulation.client("2")
    with simulation.database.write(simulation.now) as tx:
        domains.edit(tx, "shop.example", {"client": "2"})
    outcome = simulation.day(16)
    got = [(d.person.name, i.label) for d, _ in outcome.drafts for i in d.items]
    assert got == [("Owner of 2", "14")]
    simulation.mark_sent()
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    outcome = simulation.day()
    assert [d.person.name for d, _ in outcome.drafts] == ["Owner of 2"]


def test_deadline_that_is_met_is_notified_as_done(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    with simulation.database.write(simulation.now) as tx:
        given = {
            "at": START + 31 * DAY,
            "rule": "valid-certificate",
            "title": "All sites on HTTPS",
            "text": None,
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 7,
        }
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    simulation.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    simulation.day()
    simulation.mark_sent()
    site.faults.clear()
    site.serve(simulation.now, 398 * DAY)
    outcome = simulation.day()
    assert [step for _, _, step in sent_items(outcome)] == ["resolved"]
    assert "shop.example now complies with: All sites on HTTPS." in outcome.drafts[0][1].text


def test_held_fault_that_is_fixed_is_no_longer_held(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    site.faults["mixed-content"] = fault("mixed-content", "medium")
    simulation.baseline()
    site.faults.clear()
    assert sent_items(simulation.day()) == []
    assert held(simulation) == []


def test_suspect_scan_holds_client_notices_and_alarms_staff(simulation: SiteSimulation) -> None:
    simulation.staff()
    key = add_expiring_site(simulation, left=8)
    simulation.advance(1)
    simulation.scan("suspect", reason="the control target failed")
    outcome = simulation.notify()
    assert sent_items(outcome) == []
    assert "hold: the last run (number 2) is suspect" in reasons(simulation, key)[0]
    assert any("Client messages are held" in m.text for _, m in outcome.staff)
    assert sent_items(simulation.day()) == [(key, "7", "owner")]


@pytest.mark.campaign
def test_faults_of_the_first_scan_are_held_until_released_by_cause(
    simulation: SiteSimulation,
    campaign: Campaign,
) -> None:
    """Each client has 30 faults: more rows than fit into one query, also at the small size."""
    count = campaign.size("clients with 30 faults each", 60, 300)
    released = count // 6
    simulation.staff()
    add_faulty_sites(simulation, count, 30)
    simulation.scan()
    outcome = simulation.notify()
    assert outcome.baseline
    assert (len(outcome.drafts), outcome.held) == (0, 30 * count)
    (alarm,) = [m for _, m in outcome.staff if "what it found is the baseline" in m.subject]
    assert "One alarm needs your attention." in alarm.text
    # What is held waits for a release.
    assert alarm.text.count("what it found is the baseline") == 1
    assert "\n  certmgr notice release" in alarm.text
    assert simulation.days(3) == [], "released only by staff"
    causes = {f"client {n} mixed-content" for n in range(count)}
    assert {m.cause for m in held(simulation)} == causes
    for n in range(released):
        release(simulation, f"client {n} mixed-content", 20)
    outcome = simulation.notify()
    assert {d.person.name for d, _ in outcome.drafts} == {f"Owner of {n}" for n in range(released)}
    assert all(len(d.items) == 30 for d, _ in outcome.drafts), "one message with all sites"
    simulation.mark_sent()
    site = simulation.sites[f"s0.client{count - 1}.example"]
    site.faults["not-tls"] = fault("not-tls", "critical")
    assert sent_items(simulation.day()) == [(site.fault_key("not-tls"), "+0", "owner")], (
        "new, and not held"
    )
