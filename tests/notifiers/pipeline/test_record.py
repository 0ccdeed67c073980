"""What a run stores of a conversation."""

from __future__ import annotations

from tests.notifiers.sites import SiteSimulation, add_expiring_site


def test_reference_is_the_same_in_all_messages_about_a_site(simulation: SiteSimulation) -> None:
    add_expiring_site(simulation, left=31)
    seen = set()
    for _ in range(40):
        outcome = simulation.day()
        simulation.mark_sent()
        seen |= {m.reference for _, m in outcome.drafts}
    assert len(seen) == 1
