"""The steps that lead to a deadline."""

from __future__ import annotations

from certmgr.compliance.milestones import Deadline
from certmgr.compliance.steps import backward_schedule
from inventory.vocabulary import Parties
from tests.certmgr.compliance.facts import NOW
from tests.certmgr.compliance.scanned_site import DAY


def test_steps_are_counted_backwards_from_the_due_date() -> None:
    due = Deadline(
        "own",
        NOW + 60 * DAY,
        "x",
        "https-only",
        purchase_days=10,
        validation_days=5,
        installation_days=3,
    )
    parties = Parties(hosts="us", dns="client", buys="client", renews="client", on_our_server=True)
    steps = backward_schedule(due.at, due, NOW, parties, needs_certificate=True)
    assert [(s.name, (due.at - s.by).days, s.actor) for s in steps] == [
        ("decide", 18, "client"),
        ("buy", 8, "client"),
        ("validate", 3, "client"),
        ("install", 0, "provider"),
    ]
    assert not any(s.late for s in steps)
    later = backward_schedule(due.at, due, NOW + 50 * DAY, parties, needs_certificate=True)
    assert [s.name for s in later if s.late] == ["decide"]


def test_server_setting_needs_only_the_step_configure() -> None:
    steps = backward_schedule(
        NOW + 30 * DAY, None, NOW, Parties(hosts="us", on_our_server=True), needs_certificate=False
    )
    assert [(s.name, s.actor) for s in steps] == [("configure", "provider")]
