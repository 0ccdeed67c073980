"""What keeps a notice back.

Snoozes, acknowledgements, office hours, message rates, faults that come and go, a wrong clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from inventory.db.database import Database
from inventory.store import domains, findings, tickets
from tests.notifiers.street import DAY, START, Leaf, Street, fault, reasons, said, year


def test_accepted_leaving_and_retired_domains_are_not_notified(street: Street) -> None:
    key = year(street, left=8)
    code = "certificate-expiring"
    with street.database.write(street.now) as tx:
        domain_id = street.sites["shop.example"].domain_id
        until = street.now + 30 * DAY
        findings.accept(tx, code, frozenset({code}), until, "moves", domain_id=domain_id)
    assert said(street.day()) == []
    assert reasons(street, key)[0].startswith("suppress: accepted by tester until")
    other = street.site("leaving.example", "1")
    other.serve(START - 391 * DAY, 398 * DAY)
    with street.database.write(street.now) as tx:
        domains.edit(tx, "leaving.example", {"state": "leaving"})
    assert said(street.day()) == []
    assert reasons(street, other.key)[0] == "suppress: the domain is leaving"
    with street.database.write(street.now) as tx:
        domains.retire(tx, "leaving.example")
    assert said(street.day()) == []


def test_snoozed_domain_is_notified_when_the_snooze_ends(street: Street) -> None:
    key = year(street, left=8)
    domain_id = street.sites["shop.example"].domain_id
    with street.database.write(street.now) as tx:
        until = tx.at + 3 * 86_400
        number = tickets.add_snooze(tx, "domain", domain_id, tx.at, until, "server moves", "Ada")
    assert said(street.day()) == []
    assert "snoozed until 2026-03-05 10:00 UTC: server moves" in reasons(street, key)[0]
    with street.database.write(street.now) as tx:
        assert tickets.end_snooze(tx, number)
    assert said(street.notify()) == [(key, "7", "owner")]


def test_acknowledged_end_is_notified_at_the_next_threshold_if_not_renewed(street: Street) -> None:
    key = year(street, left=31)
    street.day()
    street.sent()
    with street.database.write(street.now) as tx:
        row = tickets.by_key(tx.conn, [key])[key]
        tickets.acknowledge(tx, [row["id"]], "the owner, by telephone")
    assert street.days(12) == [], "acknowledged for a week, and then nothing new is due"
    assert [label for _, label, _ in street.days(20)][:2] == ["14", "7"]


def test_acknowledged_escalation_is_notified_on_the_promised_day(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    street.day()
    assert len(street.day().drafts) == 1
    street.sent()
    with street.database.write(street.now) as tx:
        tickets.acknowledge(tx, [m["id"] for m in tickets.listing(tx.conn)], "the owner")
    assert said(street.day()) == [], "Thursday"
    assert [label for _, label, _ in said(street.day())] == ["2026-03-10"], "Friday, as promised"


def test_notice_due_at_night_before_holidays_waits_for_the_next_working_day(
    street_database: Database,
) -> None:
    thursday = datetime(2026, 4, 2, 20, tzinfo=UTC)  # the evening before Good Friday
    street = Street(street_database, thursday, country="DE")
    key = year(street, left=8)
    assert said(street.day(1)) == []
    assert "quiet hours of contact 1 until 2026-04-07 08:00 UTC" in reasons(street, key)[0]
    street.now = datetime(2026, 4, 7, 9, tzinfo=UTC)
    assert said(street.notify()) == [(key, "7", "owner")]


def test_client_gets_one_message_per_week_while_all_ends_are_far_ahead(street: Street) -> None:
    street.client("1")
    for i, left in enumerate((61.5, 62.5, 63.5)):
        street.site(f"far{i}.example", "1").serve(START - (398 - left) * DAY, 398 * DAY)
    street.baseline()
    got = {}
    for _ in range(10):
        outcome = street.day()
        street.sent()
        if outcome.drafts:
            got[street.now.date()] = said(outcome)
    assert len(got) == 2, got
    first, second = got.values()
    assert len(first) == 1
    assert len(second) == 2, "both that waited are in one message"
    assert max(got) - min(got) == timedelta(days=7)


def test_fault_that_comes_and_goes_daily_is_notified_once(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    got = []
    for i in range(12):
        found = {"not-tls": fault("not-tls", "critical", reason="http")}
        site.faults = found if i % 2 == 0 else {}
        got += street.days(1)
    assert [(label, step) for _, label, step in got] == [("+0", "owner"), ("+0", "resolved")]


def test_fault_that_comes_and_goes_within_a_day_is_reported_to_staff(street: Street) -> None:
    street.staff()
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    got, staff = [], ""
    for n in range(60):
        # Present by day and gone by night.
        site.faults = {"not-tls": fault("not-tls", "critical")} if n % 2 else {}
        street.pass_(0, 12)
        street.scan()
        outcome = street.notify()
        got += said(outcome)
        staff += "".join(m.text for _, m in outcome.staff)
        street.sent()
    assert len([1 for _, _, step in got if step == "owner"]) <= 2
    assert "it comes and goes" in staff


def test_clock_that_was_set_back_holds_all_notices(street: Street) -> None:
    street.staff()
    key = year(street, left=9)
    street.day()
    street.pass_(-1)
    outcome = street.notify()
    assert said(outcome) == []
    assert "there are rows of" in outcome.hold
    assert not any(r.startswith("send") for r in reasons(street, key))
    assert any("the clock says" in m.text for _, m in outcome.staff)


def test_renewal_is_notified_as_done_when_every_address_has_it(street: Street) -> None:
    key = year(street, left=8)
    street.day()
    street.sent()
    site = street.sites["shop.example"]
    site.serve(street.now, 398 * DAY)
    street.pass_(1)
    street.scan()
    # Since the scan two more addresses answer, one of them with the old certificate.
    site.serve(START - 390 * DAY, 398 * DAY, ("192.0.2.9",), keep=True)
    street.pass_(0.1)
    with street.database.read() as conn:
        old = tickets.by_key(conn, [key])[key]["round"]
    site.leaves["192.0.2.2"] = Leaf(old, START, START + DAY)
    assert said(street.notify()) == []
    del site.leaves["192.0.2.2"], site.leaves["192.0.2.9"]
    assert [step for _, _, step in said(street.notify())] == ["resolved"]


def test_replacement_by_a_worse_certificate_is_not_notified_as_done(street: Street) -> None:
    year(street, left=8)
    street.day()
    street.sent()
    site = street.sites["shop.example"]
    site.leaves = {"192.0.2.1": Leaf("ab" * 32, START - 300 * DAY, street.now + 2 * DAY)}
    assert "resolved" not in [step for _, _, step in said(street.day())]
    site.leaves = {"192.0.2.1": Leaf("cd" * 32, START - 300 * DAY, street.now + 300 * DAY)}
    site.faults["default-certificate"] = fault("default-certificate", "critical", "provider")
    assert "resolved" not in [step for _, _, step in said(street.day())]
