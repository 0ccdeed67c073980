"""What would reach too many clients at once is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inventory.db.database import Database, to_epoch
from inventory.errors import Conflict
from inventory.store import allowances
from notifiers.pipeline.topic import Recheck, Topic
from tests.notifiers.pipeline.many_sites import add_clients, break_sites, fix_all, held, release
from tests.notifiers.sites import DAY, START, SiteSimulation, reasons, sent_items


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


def allow(simulation: SiteSimulation, clients: int, days: float = 5) -> int:
    with simulation.database.write(simulation.now) as tx:
        until = to_epoch(simulation.now + days * DAY)
        return allowances.add(tx, clients, until, "the CA revokes", "Ada")


def five_due(database: Database) -> SiteSimulation:
    """Return a simulation in which five clients are due at once, and three need no confirmation."""
    simulation = SiteSimulation(database, confirm_above=3)
    for site in add_clients(simulation, 5):
        site.serve(START - 389 * DAY, 398 * DAY)
    simulation.baseline()
    return simulation


def test_number_confirmed_ahead_lets_that_many_clients_through(
    simulation_database: Database,
) -> None:
    simulation = five_due(simulation_database)
    number = allow(simulation, 5)
    assert len(simulation.day(2).drafts) == 5
    with simulation.database.read() as conn:
        (one,) = allowances.active(conn, to_epoch(simulation.now))
    assert (one.id, len(one.sent_to)) == (number, 5)


@pytest.mark.parametrize("ended", ["too few", "expired", "withdrawn"])
def test_confirmation_that_does_not_hold_leaves_the_messages_held(
    simulation_database: Database, ended: str
) -> None:
    simulation = five_due(simulation_database)
    number = allow(
        simulation, 4 if ended == "too few" else 5, days=1.5 if ended == "expired" else 5
    )
    if ended == "withdrawn":
        with simulation.database.write(simulation.now) as tx:
            assert allowances.withdraw(tx, number)
            assert not allowances.withdraw(tx, number), "once"
    outcome = simulation.day(2)
    assert (outcome.unconfirmed, len(outcome.drafts)) == (5, 0)
    (reason,) = {r for s in simulation.sites.values() for r in reasons(simulation, s.key)[:1]}
    assert "5 clients at once: to send, run certmgr notify --clients 5" in reason
    assert ("4 were allowed" in reason) == (ended == "too few")


def test_confirmation_counts_clients_of_all_runs_and_each_once(
    simulation_database: Database,
) -> None:
    """Five clients today, and two others tomorrow: a second event is not let through."""
    simulation = five_due(simulation_database)
    simulation.rules = replace(simulation.rules, confirm_above=1)
    allow(simulation, 6, days=6)
    assert len(simulation.day(2).drafts) == 5
    simulation.mark_sent()
    for number in ("a", "b"):
        simulation.client(number)
        site = simulation.site(f"{number}.example", number)
        site.serve(simulation.now - 387 * DAY, 398 * DAY)
    outcome = simulation.day()
    assert (outcome.unconfirmed, len(outcome.drafts)) == (2, 0), "seven together"
    # The same five may be written to again.
    allow(simulation, 7, days=6)
    assert len(simulation.notify().drafts) == 2


def test_confirmation_withdrawn_while_a_run_decides_sends_nothing(
    simulation_database: Database,
) -> None:
    simulation = five_due(simulation_database)
    number = allow(simulation, 5)
    simulation.advance(2)
    simulation.scan()
    recheck = simulation.recheck

    def withdraw_meanwhile(topics: Sequence[Topic]) -> dict[tuple[str, str], Recheck]:
        with simulation.database.write(simulation.now) as tx:
            allowances.withdraw(tx, number)
        return recheck(topics)

    simulation.recheck = withdraw_meanwhile  # type: ignore[method-assign]
    with pytest.raises(Conflict, match=f"The confirmation {number} for 5 clients"):
        simulation.notify()
    simulation.recheck = recheck  # type: ignore[method-assign]
    assert simulation.notify().unconfirmed == 5


def test_dry_run_uses_nothing_of_a_confirmation(simulation_database: Database) -> None:
    simulation = five_due(simulation_database)
    allow(simulation, 5)
    simulation.advance(2)
    simulation.scan()
    assert len(simulation.notify(dry_run=True).drafts) == 5
    with simulation.database.read() as conn:
        (one,) = allowances.active(conn, to_epoch(simulation.now))
    assert one.sent_to == ()
