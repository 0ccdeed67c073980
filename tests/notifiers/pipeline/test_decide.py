"""What is due, for which outcome, and which notice a client gets, in an inventory over time."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from certmgr.compliance.rules import RULES
from inventory.db.database import Database
from inventory.store import contacts, deadlines, findings, records, tickets
from notifiers.pipeline import decide
from notifiers.pipeline.outcome import Escalated, Resolved, WeAct, YouAct
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.thresholds import ThresholdRules
from notifiers.working_days import ChangeFreeze
from tests.notifiers.street import DAY, START, Street, fault, reasons, said, year

# -- thresholds ------------------------------------------------------------------------------------


def test_certificate_that_is_not_renewed_is_notified_once_per_threshold(street: Street) -> None:
    key = year(street, left=65)
    labels = [label for k, label, _ in street.days(95) if k == key]
    assert labels == ["60", "30", "14", "7", "3", "1", "0", "+1", "+7", "+14", "+21", "+28"]


def test_missed_runs_give_one_notice_of_the_most_urgent_threshold(street: Street) -> None:
    key = year(street, left=35)
    street.day(6)
    street.sent()
    got = said(street.day(24))
    assert got == [(key, "7", "owner")], "after 30 no run at 14 and 7"
    street.sent()
    assert said(street.notify()) == []


def test_new_site_past_every_threshold_gives_one_notice(street: Street) -> None:
    street.client("1")
    street.site("old.example", "1").serve(START - 10 * DAY, 398 * DAY)
    street.baseline()
    late = street.site("late.example", "1")
    late.serve(START - 405 * DAY, 398 * DAY)
    assert said(street.day()) == [(late.key, "+7", "owner")]
    street.sent()
    assert said(street.notify()) == []


def test_new_certificate_is_notified_from_its_first_threshold_on(street: Street) -> None:
    key = year(street, left=8)
    assert said(street.day()) == [(key, "7", "owner")]
    street.sent()
    street.sites["shop.example"].serve(street.now, 100 * DAY)
    assert said(street.day()) == [(key, "+0", "resolved")]
    street.sent()
    for _ in range(9):  # weekly, on a working day: a threshold stays due until it is notified
        assert said(street.day(7)) == []
    assert [label for _, label, _ in street.days(32)][:3] == ["30", "14", "7"]


def test_thresholds_of_a_client_replace_the_defaults(street_database: Database) -> None:
    street = Street(street_database, policy=NoticePolicy(ThresholdRules(by_client={"1": (90,)})))
    key = year(street, left=100)
    assert said(street.day(10)) == [(key, "90", "owner")]


def test_thresholds_of_a_tag_replace_the_defaults(street_database: Database) -> None:
    street = Street(street_database, policy=NoticePolicy(ThresholdRules(by_tag={"early": (90,)})))
    key = year(street, left=100)
    with street.database.write(street.now) as tx:
        domain_id = street.sites["shop.example"].domain_id
        records.change_tags(tx, "domain", domain_id, add=["early"])
    assert said(street.day(10)) == [(key, "90", "owner")]


def test_day_to_act_by_is_counted_back_from_the_end(street: Street) -> None:
    key = year(street, left=31)
    outcome = street.day()
    ((draft, message),) = outcome.drafts
    assert said(outcome) == [(key, "30", "owner")]
    # Three weeks for buying, validating and installing: nine days from now is a Thursday.
    assert draft.outcome == YouAct(date(2026, 3, 12))
    assert "You need to act by 12 March 2026." in message.text


# -- freezes ---------------------------------------------------------------------------------------


def test_certificate_that_ends_in_a_freeze_is_due_before_it(street_database: Database) -> None:
    start = datetime(2026, 11, 2, 10, tzinfo=UTC)
    policy = NoticePolicy(freezes=(ChangeFreeze(date(2026, 12, 14), date(2027, 1, 6)),))
    street = Street(street_database, start, policy)
    key = year(street, left=51)  # ends on 23 December: as if it ended on 13 December
    got: dict[str, date] = {}
    for _ in range(45):
        got |= {label: street.now.date() for k, label, _ in street.days(1) if k == key}
    assert got["30"] <= date(2026, 11, 16)
    assert got["7"] == date(2026, 12, 7)


def test_certificate_that_ends_in_a_long_freeze_is_notified_early_with_its_real_end(
    street_database: Database,
) -> None:
    start, end = datetime(2026, 8, 10, 10, tzinfo=UTC), datetime(2026, 12, 25, 10, tzinfo=UTC)
    policy = NoticePolicy(freezes=(ChangeFreeze(date(2026, 10, 15), date(2026, 12, 31)),))
    street = Street(street_database, start, policy)
    key = year(street, left=(end - start) / DAY)
    got: dict[str, date] = {}
    texts = []
    for _ in range(150):
        outcome = street.day()
        street.sent()
        for draft, message in outcome.drafts:
            texts.append((street.now, message.text))
            got |= {i.label: street.now.date() for i in draft.items if i.subject.key == key}
    # Counted from the day before the freeze; the 16th is a Sunday.
    assert got["60"] == date(2026, 8, 17)
    assert got["0"] < date(2026, 10, 20)
    assert got["+7"] >= date(2027, 1, 1), "counted from the real end"
    assert not any("ended" in text for at, text in texts if at < end)


# -- automatic renewal -----------------------------------------------------------------------------


def test_automatic_renewal_is_notified_only_when_it_is_late(street: Street) -> None:
    """A certificate of 90 days is replaced about 30 days before its end, twice, and then not."""
    street.client("1")
    site = street.site("auto.example", "1")
    site.serve(START, 90 * DAY)
    street.baseline()
    # Weekly, on Mondays: a threshold stays due until it is notified.
    for steps in ((*[7] * 8, 3), (4, *[7] * 7, 6)):
        for days in steps:
            assert said(street.day(days)) == []
        site.serve(street.now, 90 * DAY)
    street.scan()
    for days in (1, *[7] * 10, 4):
        assert said(street.day(days)) == [], "30 days before the end renewal is not late"
    assert [label for _, label, _ in street.days(4)] == ["14"]


def test_stated_automatic_renewal_is_notified_only_when_it_is_late(street: Street) -> None:
    street.client("1", renews="cdn")
    site = street.site("cdn.example", "1")
    site.serve(START - 50 * DAY, 90 * DAY)
    street.baseline()
    assert [x for _ in range(25) for x in said(street.day())] == []
    assert [label for _, label, _ in said(street.day(3))] == ["14"]


# -- rechecks --------------------------------------------------------------------------------------


def test_certificate_replaced_since_the_scan_is_not_notified(street: Street) -> None:
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    assert said(street.notify()) == []
    assert reasons(street, key)[0] == "suppress: replaced on every address"
    assert said(street.day()) == [], "the client was not notified, and so is not thanked"


def test_certificate_replaced_on_some_addresses_is_reported_to_staff(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    site = street.sites["shop.example"]
    site.serve(START - 390 * DAY, 398 * DAY, ("192.0.2.1", "192.0.2.2"))
    street.scan()
    site.serve(street.now, 398 * DAY, ("192.0.2.2",), keep=True)
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(street, key)[0].startswith("staff: replaced on some addresses")
    assert any("replaced on some addresses only" in m.text for _, m in outcome.staff)


def test_notice_whose_recheck_fails_is_sent_a_day_later(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    street.sites["shop.example"].blind = True
    assert said(street.notify()) == []
    street.notify()
    assert "wait: a fresh look did not succeed" in reasons(street, key)[0]
    street.pass_(1, 1)
    assert said(street.notify()) == [(key, "7", "owner")]


# -- faults and their outcomes ---------------------------------------------------------------------


def test_fault_of_the_client_is_notified_once_and_its_fix_once(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    script = "http://x.example/a.js"
    site.faults["mixed-content"] = fault(
        "mixed-content",
        "medium",
        url="https://shop.example/",
        example=script,
        urls=[script],
    )
    outcome = street.day()
    key = site.fault_key("mixed-content")
    assert said(outcome) == [(key, "+0", "owner")]
    assert isinstance(outcome.drafts[0][0].outcome, YouAct)
    street.sent()
    assert said(street.day()) == []
    site.faults.clear()
    outcome = street.day()
    assert said(outcome) == [(key, "+0", "resolved")]
    assert isinstance(outcome.drafts[0][0].outcome, Resolved)
    assert "It is done" in outcome.drafts[0][1].text
    street.sent()
    assert [x for _ in range(5) for x in said(street.day())] == []


def test_fault_that_goes_away_with_another_is_not_notified(street: Street) -> None:
    street.client("1", hosts="client")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {c: fault(c, "critical") for c in ("default-certificate", "name-mismatch")}
    cause = site.fault_key("default-certificate")
    assert [k for k, _, _ in said(street.day())] == [cause]
    expected = [f"suppress: it goes away with {cause}"]
    assert reasons(street, site.fault_key("name-mismatch")) == expected


def test_fault_that_violates_a_deadline_is_notified_with_the_deadline(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    with street.database.write(street.now) as tx:
        given = {
            "at": START + 31 * DAY,
            "rule": "opens-over-https",
            "title": "All sites on HTTPS",
            "text": "Then HTTP is off.",
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 7,
        }
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    street.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    got = street.days(28)
    key = f"deadline:{site.domain_id}:https:{site.client_id}"
    assert [label for k, label, _ in got if k == key] == ["30", "14", "7", "3"]
    assert {k for k, _, _ in got} == {key}, "the fault has no notice"
    expected = f"suppress: it goes away with {key}"
    assert reasons(street, site.fault_key("https-missing"))[0] == expected


def test_fault_of_the_provider_is_notified_when_visible_and_assigned_with_a_date(
    street: Street,
) -> None:
    street.staff()
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {
        "not-tls": fault("not-tls", "critical", "provider"),
        "redirect-missing": fault("redirect-missing", "medium", "provider"),
    }
    outcome = street.day()
    assert said(outcome) == [], "not assigned"
    alarm = any("New and ours" in m.text and "not-tls" in m.text for _, m in outcome.staff)
    assert alarm, "those on call get an alarm at once"
    with street.database.write(street.now) as tx:
        for code in site.faults:
            findings.accept(
                tx,
                code,
                frozenset(site.faults),
                street.now + 2 * DAY,
                "on it",
                domain_id=site.domain_id,
                kind="take",
                by="Ada",
            )
    ((draft, message),) = street.notify().drafts
    assert [i.subject.code for i in draft.items] == ["not-tls"], "visitors do not notice the other"
    assert isinstance(draft.outcome, WeAct)
    assert "We are fixing it: Ada has it done by 5 March 2026." in message.text
    street.sent()
    assert said(street.notify()) == [], "once per date"
    outcome = street.day(3)
    overdue = "not-tls was taken by Ada until 2026-03-05"
    assert any(overdue in m.text for _, m in outcome.staff), "staff handle an overdue promise"


def test_escalated_fault_is_notified_again_on_the_promised_day(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    assert said(street.day()) == [], "only after a second scan"
    ((draft, _),) = street.day().drafts
    assert draft.outcome == Escalated(date(2026, 3, 6))
    street.sent()
    assert said(street.day()) == [], "Thursday: an update was promised for Friday"
    assert len(said(street.day())) == 1


def test_undetermined_result_is_not_notified_to_clients(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {
        "connection-timeout": fault("connection-timeout", "undetermined", "staff"),
        "scanner-error": fault("scanner-error", "undetermined", "staff"),
    }
    assert [x for _ in range(4) for x in said(street.day())] == []


def test_unknown_finding_code_does_not_stop_notices_to_other_clients(street: Street) -> None:
    street.client("1")
    street.client("2")
    a, b = street.site("a.example", "1"), street.site("b.example", "2")
    street.baseline()
    a.faults["code-of-tomorrow"] = fault("code-of-tomorrow", "critical")
    b.faults["not-tls"] = fault("not-tls", "critical")
    assert {d.person.name for d, _ in street.day().drafts} >= {"Owner of 2"}


# -- the first scan --------------------------------------------------------------------------------


def test_fault_of_the_first_scan_stays_held_after_more_scans(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    street.baseline()
    assert [x for _ in range(4) for x in said(street.day())] == []
    with street.database.read() as conn:
        assert len(tickets.listing(conn, held=True)) == 1


def test_fault_is_not_confirmed_by_a_scan_of_other_sites(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    street.site("other.example", "1")
    street.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    street.day()
    site.blind = True
    assert said(street.day()) == []


def test_assigned_fault_of_the_first_scan_stays_held_until_its_release(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    site.faults = {"not-tls": fault("not-tls", "critical", "provider")}
    street.baseline()
    with street.database.write(street.now) as tx:
        findings.accept(
            tx,
            "not-tls",
            frozenset({"not-tls"}),
            street.now + 5 * DAY,
            "on it",
            domain_id=site.domain_id,
            kind="take",
            by="Ada",
        )
    assert said(street.day()) == []
    assert "certmgr notice release" in reasons(street, site.fault_key("not-tls"))[0]


# -- messages --------------------------------------------------------------------------------------


def test_every_notified_contact_is_thanked_in_their_own_office_hours(street: Street) -> None:
    """Owner and fallback are in time zones whose office hours never overlap."""
    street.client("1")
    with street.database.write(street.now) as tx:
        far = {"name": "Far", "role": "billing", "time_zone": "America/Los_Angeles"}
        contacts.add(tx, "1", far, ("email:far@client1.example",))
    year(street, left=31)
    for _ in range(60):
        street.pass_(0, 5)
        street.scan()
        street.notify()
        street.sent()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    thanked = []
    for _ in range(20):
        street.pass_(0, 5)
        street.scan()
        drafts = [d for d, _ in street.notify().drafts]
        thanked += [d.person.name for d in drafts for i in d.items if i.step == "resolved"]
        street.sent()
    assert sorted(thanked) == ["Far", "Owner of 1"]


def test_sites_beyond_the_limit_of_a_message_go_into_the_next(
    street: Street,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decide, "MAX_ITEMS", 5)
    street.client("1")
    sites = [street.site(f"a{n}.example", "1") for n in range(12)]
    street.baseline()
    for site in sites:
        site.serve(START - 391 * DAY, 398 * DAY)
    assert [len(street.days(1)) for _ in range(3)] == [5, 5, 2]
