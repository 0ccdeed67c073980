"""The problems that a run reports."""

from __future__ import annotations

from notifiers.pipeline.report import problems_of
from tests.notifiers.sites import SiteSimulation, add_expiring_site, fault


def test_missing_staff_is_a_problem_when_there_is_something_for_staff(
    simulation: SiteSimulation,
) -> None:
    add_expiring_site(simulation, left=8)
    assert problems_of(simulation.day(), None) == []
    simulation.sites["shop.example"].faults["not-tls"] = fault("not-tls", "critical", "provider")
    assert "no staff contact can be reached" in problems_of(simulation.day(), None)[0]
