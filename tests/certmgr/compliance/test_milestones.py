"""The milestones: dates, sources and confidence."""

from __future__ import annotations

import pytest

from certmgr.compliance.milestones import milestones
from certmgr.compliance.rules import RULES


def test_each_milestone_has_a_title_sites_source_and_confidence() -> None:
    found = milestones()
    assert len(found) >= 25
    assert [m.at for m in found] == sorted(m.at for m in found)
    for m in found:
        assert m.title and m.affects and m.source, m.name
        assert m.confidence in ("V", "S", "M")
        assert m.confidence != "M" or not m.confirmed, "what is only remembered is never confirmed"
        assert m.rule == "" or m.rule in RULES, m.name


def test_announced_milestones_are_not_confirmed() -> None:
    assert {m.name for m in milestones() if not m.confirmed} == {
        "chrome-154",
        "rsa-2048",
        "no-rsa-ecc",
        "pci-4",
        "tls-1-0-off",
    }


@pytest.mark.parametrize(
    ("name", "day", "rule"),
    [
        ("chrome-56", "2017-01", "no-secrets-over-http"),
        ("chrome-62", "2017-10", "no-input-over-http"),
        ("chrome-68", "2018-07", "no-page-over-http"),
        ("chrome-154", "2026-10", "opens-over-https"),
        ("lifetime-200", "2026-03-15", "lifetime-200"),
        ("lifetime-100", "2027-03-15", "lifetime-100"),
        ("lifetime-47", "2029-03-15", "lifetime-47"),
    ],
)
def test_milestone_has_the_date_and_rule_of_its_source(name: str, day: str, rule: str) -> None:
    (found,) = [m for m in milestones() if m.name == name]
    assert found.at.date().isoformat().startswith(day)
    assert found.rule == rule
