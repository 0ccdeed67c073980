"""When something is said, and what a fresh look changes: an inventory that moves through time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from inventory.store import domains, findings, matters
from notifiers.days import Freeze
from notifiers.outcome import YouAct
from notifiers.plan import Policy
from notifiers.thresholds import Rules as Thresholds
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Street, reasons, said, year


def test_a_year_has_each_threshold_once(street: Street) -> None:
    key = year(street, left=100)
    heard = []
    for _ in range(130):
        outcome = street.day()
        street.sent()
        heard += [label for k, label, _ in said(outcome) if k == key]
    assert heard == ["60", "30", "14", "7", "3", "1", "0", "+1", "+7", "+14", "+21", "+28"]


def test_a_missed_week_gives_one_notice(street: Street) -> None:
    key = year(street, left=35)
    street.day(6)
    street.sent()
    assert said(street.day(24)) == [(key, "7", "owner")], "30 was said, then nothing ran over 14 and 7"
    street.sent()
    assert said(street.notify()) == []


def test_a_first_sight_past_every_threshold_gives_one_notice(street: Street) -> None:
    street.client("1")
    street.site("old.example", "1").serve(START - 10 * DAY, 398 * DAY)
    street.baseline()
    late = street.site("late.example", "1")
    late.serve(START - 405 * DAY, 398 * DAY)
    assert said(street.day()) == [(late.key, "+7", "owner")]
    street.sent()
    assert said(street.notify()) == []


def test_a_new_certificate_starts_a_new_round(street: Street) -> None:
    key = year(street, left=8)
    assert said(street.day()) == [(key, "7", "owner")]
    street.sent()
    street.sites["shop.example"].serve(street.now, 100 * DAY)
    assert said(street.day()) == [(key, "+0", "resolved")]
    street.sent()
    heard = []
    for _ in range(95):
        heard += said(street.day())
        street.sent()
    assert [label for _, label, _ in heard][:3] == ["30", "14", "7"]


def test_thresholds_of_a_tag_and_of_a_client(street: Street) -> None:
    policy = Policy(Thresholds(by_client={"1": (90,)}))
    street = Street(street.database, policy=policy)
    key = year(street, left=100)
    outcome = street.day(10)
    assert said(outcome) == [(key, "90", "owner")]


def test_lead_times_are_counted_backwards(street: Street) -> None:
    key = year(street, left=31)
    outcome = street.day()
    ((draft, message),) = outcome.drafts
    assert said(outcome) == [(key, "30", "owner")]
    # Three weeks for buying, validating and installing: nine days from now is a Thursday.
    assert draft.outcome == YouAct(date(2026, 3, 12))
    assert "You need to act by 12 March 2026." in message.text


def test_what_ends_in_a_change_freeze_is_due_before_it(tmp_path: Path) -> None:
    start = datetime(2026, 11, 2, 10, tzinfo=UTC)
    policy = Policy(freezes=(Freeze(date(2026, 12, 14), date(2027, 1, 6)),))
    street = Street(open_sqlite(tmp_path / "f.db", "t"), start, policy)
    key = year(street, left=51)  # ends on 23 December: as if it ended on 13 December
    heard: dict[str, date] = {}
    for _ in range(45):
        outcome = street.day()
        street.sent()
        heard |= {label: street.now.date() for k, label, _ in said(outcome) if k == key}
    assert heard["30"] <= date(2026, 11, 16)
    assert heard["7"] == date(2026, 12, 7)


def test_a_robot_that_renews_in_time_is_no_news(street: Street) -> None:
    """90 days, replaced 30 days before the end, twice; the third time it is late."""
    street.client("1")
    site = street.site("auto.example", "1")
    site.serve(START, 90 * DAY)
    street.baseline()
    for _ in range(2):
        for _ in range(59):
            assert said(street.day()) == []
        site.serve(street.now, 90 * DAY)
    street.scan()
    heard = []
    for _ in range(75):
        heard += said(street.day())
        street.sent()
    assert heard == [], "thirty days before the end are the robot's"
    for _ in range(4):
        heard += said(street.day())
        street.sent()
    assert [label for _, label, _ in heard] == ["14"], "late is news"


def test_a_stated_panel_counts_from_its_day(street: Street) -> None:
    street.client("1", renews="cdn")
    site = street.site("cdn.example", "1")
    site.serve(START - 50 * DAY, 90 * DAY)
    street.baseline()
    heard = [x for _ in range(25) for x in said(street.day())]
    assert heard == []
    assert [label for _, label, _ in said(street.day(3))] == ["14"]


def test_renewed_elsewhere_is_not_told(street: Street) -> None:
    """The scan still knows the old certificate; the fresh look sees the new one."""
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    outcome = street.notify()
    assert said(outcome) == []
    assert reasons(outcome, street, key)[0] == "suppress: replaced on every address"
    assert said(street.day()) == [], "and nobody is thanked for what they were never asked"


def test_replaced_on_some_addresses_is_for_the_administrator(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    site = street.sites["shop.example"]
    site.serve(START - 390 * DAY, 398 * DAY, ("192.0.2.1", "192.0.2.2"))
    street.scan()
    site.serve(street.now, 398 * DAY, ("192.0.2.2",), keep=True)
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(outcome, street, key)[0].startswith("staff: replaced on some addresses")
    assert any("replaced on some addresses only" in m.text for _, m in outcome.staff)


def test_a_look_that_fails_waits_a_day_and_no_longer(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    street.sites["shop.example"].blind = True
    assert said(street.notify()) == []
    assert "wait: a fresh look did not succeed" in reasons(street.notify(), street, key)[0]
    street.pass_(1, 1)
    assert said(street.notify()) == [(key, "7", "owner")], "the end comes, whether we can look or not"


def test_accepted_leaving_and_retired_are_silent(street: Street) -> None:
    key = year(street, left=8)
    with street.database.write(street.now) as tx:
        findings.accept(
            tx,
            "certificate-expiring",
            frozenset({"certificate-expiring"}),
            street.now + 30 * DAY,
            "moves",
            domain_id=street.sites["shop.example"].domain_id,
        )
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(outcome, street, key)[0].startswith("suppress: accepted by tester until")
    other = street.site("leaving.example", "1")
    other.serve(START - 391 * DAY, 398 * DAY)
    with street.database.write(street.now) as tx:
        domains.edit(tx, "leaving.example", {"state": "leaving"})
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(outcome, street, other.key)[0] == "suppress: the domain is leaving"
    with street.database.write(street.now) as tx:
        domains.retire(tx, "leaving.example")
    assert said(street.day()) == []


def test_snoozes_and_maintenance_windows(street: Street) -> None:
    key = year(street, left=8)
    with street.database.write(street.now) as tx:
        number = matters.add_snooze(
            tx, "domain", street.sites["shop.example"].domain_id, tx.at, tx.at + 3 * 86_400, "server moves", "Ada"
        )
    outcome = street.day()
    assert said(outcome) == []
    assert "snoozed until 2026-03-05 10:00 UTC: server moves" in reasons(outcome, street, key)[0]
    with street.database.write(street.now) as tx:
        assert matters.end_snooze(tx, number)
    assert said(street.notify()) == [(key, "7", "owner")]


def test_acknowledged_and_not_mended_climbs_again(street: Street) -> None:
    key = year(street, left=31)
    street.day()
    street.sent()
    with street.database.write(street.now) as tx:
        row = matters.by_key(tx.conn, [key])[key]
        matters.acknowledge(tx, [row["id"]], "the owner, by telephone")
    heard = []
    for _ in range(12):
        heard += said(street.day())
        street.sent()
    assert heard == [], "acknowledged for a week, and then nothing new is due"
    heard = []
    for _ in range(20):
        heard += said(street.day())
        street.sent()
    assert [label for _, label, _ in heard][:2] == ["14", "7"]
