"""The problems that a run reports."""

from __future__ import annotations

from notifiers.pipeline.report import problems_of
from tests.notifiers.street import Street, fault, year


def test_missing_staff_is_a_problem_when_there_is_something_for_staff(street: Street) -> None:
    year(street, left=8)
    assert problems_of(street.day(), None) == []
    street.sites["shop.example"].faults["not-tls"] = fault("not-tls", "critical", "provider")
    assert "nobody of them can be written to" in problems_of(street.day(), None)[0]
