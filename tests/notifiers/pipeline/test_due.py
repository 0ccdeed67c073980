"""Which threshold is past, in an inventory over time."""

from __future__ import annotations

from datetime import UTC, date, datetime

from inventory.db.database import Database
from inventory.store import editing
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.thresholds import ThresholdRules
from notifiers.working_days import ChangeFreeze
from tests.notifiers.sites import DAY, START, SiteSimulation, add_expiring_site, sent_items


def test_certificate_that_is_not_renewed_is_notified_once_per_threshold(
    simulation: SiteSimulation,
) -> None:
    key = add_expiring_site(simulation, left=65)
    labels = [label for k, label, _ in simulation.days(95) if k == key]
    assert labels == ["60", "30", "14", "7", "3", "1", "0", "+1", "+7", "+14", "+21", "+28"]


def test_missed_runs_give_one_notice_of_the_most_urgent_threshold(
    simulation: SiteSimulation,
) -> None:
    key = add_expiring_site(simulation, left=35)
    simulation.day(6)
    simulation.mark_sent()
    got = sent_items(simulation.day(24))
    assert got == [(key, "7", "owner")], "after 30 no run at 14 and 7"
    simulation.mark_sent()
    assert sent_items(simulation.notify()) == []


def test_new_site_past_every_threshold_gives_one_notice(simulation: SiteSimulation) -> None:
    simulation.client("1")
    simulation.site("old.example", "1").serve(START - 10 * DAY, 398 * DAY)
    simulation.baseline()
    late = simulation.site("late.example", "1")
    late.serve(START - 405 * DAY, 398 * DAY)
    assert sent_items(simulation.day()) == [(late.key, "+7", "owner")]
    simulation.mark_sent()
    assert sent_items(simulation.notify()) == []


def test_new_certificate_is_notified_from_its_first_threshold_on(
    simulation: SiteSimulation,
) -> None:
    key = add_expiring_site(simulation, left=8)
    assert sent_items(simulation.day()) == [(key, "7", "owner")]
    simulation.mark_sent()
    simulation.sites["shop.example"].serve(simulation.now, 100 * DAY)
    assert sent_items(simulation.day()) == [(key, "+0", "resolved")]
    simulation.mark_sent()
    for _ in range(9):  # weekly, on a working day: a threshold stays due until it is notified
        assert sent_items(simulation.day(7)) == []
    assert [label for _, label, _ in simulation.days(32)][:3] == ["30", "14", "7"]


def test_thresholds_of_a_client_replace_the_defaults(simulation_database: Database) -> None:
    simulation = SiteSimulation(
        simulation_database, policy=NoticePolicy(ThresholdRules(by_client={"1": (90,)}))
    )
    key = add_expiring_site(simulation, left=100)
    assert sent_items(simulation.day(10)) == [(key, "90", "owner")]


def test_thresholds_of_a_tag_replace_the_defaults(simulation_database: Database) -> None:
    simulation = SiteSimulation(
        simulation_database, policy=NoticePolicy(ThresholdRules(by_tag={"early": (90,)}))
    )
    key = add_expiring_site(simulation, left=100)
    with simulation.database.write(simulation.now) as tx:
        domain_id = simulation.sites["shop.example"].domain_id
        editing.change_tags(tx, "domain", domain_id, add=["early"])
    assert sent_items(simulation.day(10)) == [(key, "90", "owner")]


def test_certificate_that_ends_in_a_freeze_is_due_before_it(simulation_database: Database) -> None:
    start = datetime(2026, 11, 2, 10, tzinfo=UTC)
    policy = NoticePolicy(freezes=(ChangeFreeze(date(2026, 12, 14), date(2027, 1, 6)),))
    simulation = SiteSimulation(simulation_database, start, policy)
    key = add_expiring_site(
        simulation, left=51
    )  # ends on 23 December: as if it ended on 13 December
    got: dict[str, date] = {}
    for _ in range(45):
        got |= {label: simulation.now.date() for k, label, _ in simulation.days(1) if k == key}
    assert got["30"] <= date(2026, 11, 16)
    assert got["7"] == date(2026, 12, 7)


def test_certificate_that_ends_in_a_long_freeze_is_notified_early_with_its_real_end(
    simulation_database: Database,
) -> None:
    start, end = datetime(2026, 8, 10, 10, tzinfo=UTC), datetime(2026, 12, 25, 10, tzinfo=UTC)
    policy = NoticePolicy(freezes=(ChangeFreeze(date(2026, 10, 15), date(2026, 12, 31)),))
    simulation = SiteSimulation(simulation_database, start, policy)
    key = add_expiring_site(simulation, left=(end - start) / DAY)
    got: dict[str, date] = {}
    texts = []
    # Daily where thresholds are counted, and weekly in between.
    for days in (*[1] * 8, *[7] * 8, *[1] * 7, *[7] * 11):
        outcome = simulation.day(days)
        simulation.mark_sent()
        for draft, message in outcome.drafts:
            texts.append((simulation.now, message.text))
            got |= {i.label: simulation.now.date() for i in draft.items if i.topic.key == key}
    # Counted from the day before the freeze; the 16th is a Sunday.
    assert got["60"] == date(2026, 8, 17)
    assert got["0"] < date(2026, 10, 20)
    assert got["+7"] >= date(2027, 1, 1), "counted from the real end"
    assert not any("ended" in text for at, text in texts if at < end)


def test_automatic_renewal_is_notified_only_when_it_is_late(simulation: SiteSimulation) -> None:
    """A certificate of 90 days is replaced about 30 days before its end, twice, and then not."""
    simulation.client("1")
    site = simulation.site("auto.example", "1")
    site.serve(START, 90 * DAY)
    simulation.baseline()
    # Weekly, on Mondays: a threshold stays due until it is notified.
    for steps in ((*[7] * 8, 3), (4, *[7] * 7, 6)):
        for days in steps:
            assert sent_items(simulation.day(days)) == []
        site.serve(simulation.now, 90 * DAY)
    simulation.scan()
    for days in (1, *[7] * 10, 4):
        assert sent_items(simulation.day(days)) == [], "30 days before the end renewal is not late"
    assert [label for _, label, _ in simulation.days(4)] == ["14"]


def test_stated_automatic_renewal_is_notified_only_when_it_is_late(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1", renews="cdn")
    site = simulation.site("cdn.example", "1")
    site.serve(START - 50 * DAY, 90 * DAY)
    simulation.baseline()
    assert [x for _ in range(25) for x in sent_items(simulation.day())] == []
    assert [label for _, label, _ in sent_items(simulation.day(3))] == ["14"]
