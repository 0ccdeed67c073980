"""What would reach too many clients at once is held."""

from __future__ import annotations

from inventory.db.database import Database
from tests.notifiers.pipeline.many_sites import add_clients, break_sites, fix_all, held, release
from tests.notifiers.sites import DAY, START, SiteSimulation, sent_items


def test_faults_of_too_many_clients_in_one_scan_are_held_until_released(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    add_clients(simulation, 40)
    simulation.baseline()
    break_sites(simulation, *range(6))
    outcome = simulation.day()
    assert sent_items(outcome) == []
    assert outcome.held == 6
    assert any("changed 6 of 40 clients at once" in m.text for _, m in outcome.staff)
    assert sent_items(simulation.day()) == [], "still held"
    for cause in {m.cause for m in held(simulation)}:
        release(simulation, cause, 100)
    assert len(sent_items(simulation.notify())) == 6


def test_mass_change_that_happens_again_is_held_again(simulation: SiteSimulation) -> None:
    add_clients(simulation, 40)
    simulation.baseline()
    for _ in range(3):
        break_sites(simulation, *range(15))
        assert sent_items(simulation.day()) == []
        fix_all(simulation)
        assert sent_items(simulation.day()) == []


def test_faults_of_the_first_scan_that_return_together_are_held(simulation: SiteSimulation) -> None:
    add_clients(simulation, 20)
    break_sites(simulation, *range(20))
    simulation.baseline()
    fix_all(simulation)
    assert sent_items(simulation.day()) == []
    break_sites(simulation, *range(20))
    assert sent_items(simulation.day()) == []


def test_too_many_fixes_in_one_scan_are_held_until_released(simulation: SiteSimulation) -> None:
    """A scan that closes everything is as suspect as one that opens everything."""
    add_clients(simulation, 20)
    simulation.baseline()
    for numbers in (range(4), range(4, 8)):
        break_sites(simulation, *numbers)
        assert len(simulation.day().drafts) == 4
        simulation.mark_sent()
    fix_all(simulation)
    outcome = simulation.day()
    assert (sent_items(outcome), outcome.held) == ([], 8)
    release(simulation, "* not-tls", 100)
    assert {step for _, _, step in sent_items(simulation.notify())} == {"resolved"}


def test_more_clients_than_usual_are_notified_only_with_their_number(
    simulation_database: Database,
) -> None:
    simulation = SiteSimulation(simulation_database, confirm_above=3)
    for site in add_clients(simulation, 5):
        site.serve(START - 389 * DAY, 398 * DAY)
    simulation.baseline()
    outcome = simulation.day(2)
    assert (outcome.unconfirmed, len(outcome.drafts)) == (5, 0)
    simulation.expected = 4
    assert simulation.notify().unconfirmed == 5
    simulation.expected = 5
    assert len(simulation.notify().drafts) == 5


def test_renewals_of_more_clients_than_usual_are_notified_with_their_number(
    simulation_database: Database,
) -> None:
    simulation = SiteSimulation(simulation_database, confirm_above=3)
    for site in add_clients(simulation, 5):
        site.serve(START - 389 * DAY, 398 * DAY)
    simulation.baseline()
    simulation.expected = 5
    assert len(simulation.day(2).drafts) == 5
    simulation.mark_sent()
    simulation.expected = None
    for site in simulation.sites.values():
        site.serve(simulation.now, 398 * DAY)
    assert simulation.day().unconfirmed == 5
    simulation.expected = 5
    assert {step for _, _, step in sent_items(simulation.notify())} == {"resolved"}
