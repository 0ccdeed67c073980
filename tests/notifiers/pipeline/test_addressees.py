"""Which contact is notified, and with which outcome, in an inventory over time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from inventory.dates import parse_end
from inventory.store import findings
from inventory.vocabulary import FindingDecision, ItemStep, NoticeState
from notifiers.pipeline.addressees import label_of
from notifiers.pipeline.outcome import Escalated, WeAct, YouAct
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.thresholds import CrossedThreshold
from notifiers.working_days import WorkingCalendar
from tests.notifiers.sites import (
    DAY,
    SiteSimulation,
    add_expiring_site,
    fault,
    reasons,
    sent_items,
)


def test_day_to_act_by_is_counted_back_from_the_end(simulation: SiteSimulation) -> None:
    key = add_expiring_site(simulation, left=31)
    outcome = simulation.day()
    ((draft, message),) = outcome.drafts
    assert sent_items(outcome) == [(key, "30", "owner")]
    # Three weeks for buying, validating and installing: nine days from now is a Thursday.
    assert draft.outcome == YouAct(date(2026, 3, 12))
    assert "You need to act by 12 March 2026." in message.text


def test_fault_of_the_provider_is_notified_when_visible_and_assigned_with_a_date(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {
        "not-tls": fault("not-tls", "critical", "provider"),
        "redirect-missing": fault("redirect-missing", "medium", "provider"),
    }
    outcome = simulation.day()
    assert sent_items(outcome) == [], "not assigned"
    alarm = any("New fault on our side" in m.text and "not-tls" in m.text for _, m in outcome.staff)
    assert alarm, "those on call get an alarm at once"
    with simulation.database.write(simulation.now) as tx:
        for code in site.faults:
            findings.accept(
                tx,
                code,
                frozenset(site.faults),
                simulation.now + 2 * DAY,
                "on it",
                domain_id=site.domain_id,
                kind=FindingDecision.ASSIGN,
                by="Ada",
            )
    ((draft, message),) = simulation.notify().drafts
    assert [i.topic.code for i in draft.items] == ["not-tls"], "visitors do not notice the other"
    assert isinstance(draft.outcome, WeAct)
    assert "We are fixing it: Ada will have it done by 5 March 2026." in message.text
    simulation.mark_sent()
    assert sent_items(simulation.notify()) == [], "once per date"
    outcome = simulation.day(3)
    overdue = "not-tls was assigned to Ada until 2026-03-05"
    assert any(overdue in m.text for _, m in outcome.staff), "staff handle an overdue promise"


def test_escalated_fault_is_notified_again_on_the_promised_day(simulation: SiteSimulation) -> None:
    simulation.client("1", hosts=None, buys=None, renews=None)
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    assert sent_items(simulation.day()) == [], "only after a second scan"
    ((draft, _),) = simulation.day().drafts
    assert draft.outcome == Escalated(date(2026, 3, 6))
    simulation.mark_sent()
    assert sent_items(simulation.day()) == [], "Thursday: an update was promised for Friday"
    assert len(sent_items(simulation.day())) == 1


@pytest.mark.parametrize(
    ("zone", "last_minute_before", "first_minute"),
    [
        ("Pacific/Auckland", "2026-06-11T11:59", "2026-06-11T12:00"),
        ("America/Los_Angeles", "2026-06-12T06:59", "2026-06-12T07:00"),
        ("Europe/Berlin", "2026-06-11T21:59", "2026-06-11T22:00"),
        ("UTC", "2026-06-11T23:59", "2026-06-12T00:00"),
    ],
)
def test_promised_day_begins_at_midnight_of_the_client(
    zone: str, last_minute_before: str, first_minute: str
) -> None:
    """A promised update is neither sent on the evening before nor after its day has begun."""
    person = Person(
        id=7,
        client_id=1,
        name="Ada",
        role="owner",
        language="en",
        zone=zone,
        calendar=WorkingCalendar(ZoneInfo(zone)),
        contact_methods=(),
    )
    sent = [(person.id, ItemStep.STATUS_UPDATE, "2026-06-12", 0, NoticeState.SENT)]
    update = Escalated(date(2026, 6, 15))

    def label(now: str) -> tuple[str, str]:
        at = datetime.fromisoformat(now).replace(tzinfo=UTC)
        return label_of(update, CrossedThreshold("+0", 0, 0.0), sent, person, at)

    assert label(last_minute_before) == ("word", "2026-06-12"), "sent already"
    assert label(first_minute) == ("word", "2026-06-15")


def test_undetermined_result_is_not_notified_to_clients(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {
        "connection-timeout": fault("connection-timeout", "undetermined", "staff"),
        "scanner-error": fault("scanner-error", "undetermined", "staff"),
    }
    assert [x for _ in range(4) for x in sent_items(simulation.day())] == []


def test_staff_read_the_day_that_was_entered_in_their_zone(simulation: SiteSimulation) -> None:
    """The end of a day in Los Angeles is the next day in UTC."""
    simulation.rules = replace(simulation.rules, zone=ZoneInfo("America/Los_Angeles"))
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "provider")}
    simulation.day()
    with simulation.database.write(simulation.now) as tx:
        until = parse_end("2026-03-05", "America/Los_Angeles")
        given: dict[str, Any] = {"domain_id": site.domain_id, "by": "Ada"}
        given |= {"kind": FindingDecision.ASSIGN, "informs": False}
        findings.accept(tx, "not-tls", frozenset(site.faults), until, "on it", **given)
    simulation.notify()
    newest = reasons(simulation, site.fault_key("not-tls"))[0]
    assert "Ada fixes it until 2026-03-05;" in newest
