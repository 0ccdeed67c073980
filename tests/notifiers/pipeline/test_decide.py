"""What is due, for which outcome, and which notice a client gets, in an inventory over time."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from certmgr.compliance.rules import RULES
from inventory.db.database import Database
from inventory.store import contacts, deadlines, editing, findings, tickets
from notifiers.pipeline import decide
from notifiers.pipeline.outcome import Escalated, Resolved, WeAct, YouAct
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.thresholds import ThresholdRules
from notifiers.working_days import ChangeFreeze
from tests.notifiers.sites import (
    DAY,
    START,
    SiteSimulation,
    add_expiring_site,
    fault,
    reasons,
    sent_items,
)

# -- thresholds ------------------------------------------------------------------------------------


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


def test_day_to_act_by_is_counted_back_from_the_end(simulation: SiteSimulation) -> None:
    key = add_expiring_site(simulation, left=31)
    outcome = simulation.day()
    ((draft, message),) = outcome.drafts
    assert sent_items(outcome) == [(key, "30", "owner")]
    # Three weeks for buying, validating and installing: nine days from now is a Thursday.
    assert draft.outcome == YouAct(date(2026, 3, 12))
    assert "You need to act by 12 March 2026." in message.text


# -- freezes ---------------------------------------------------------------------------------------


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
    for _ in range(150):
        outcome = simulation.day()
        simulation.mark_sent()
        for draft, message in outcome.drafts:
            texts.append((simulation.now, message.text))
            got |= {i.label: simulation.now.date() for i in draft.items if i.topic.key == key}
    # Counted from the day before the freeze; the 16th is a Sunday.
    assert got["60"] == date(2026, 8, 17)
    assert got["0"] < date(2026, 10, 20)
    assert got["+7"] >= date(2027, 1, 1), "counted from the real end"
    assert not any("ended" in text for at, text in texts if at < end)


# -- automatic renewal -----------------------------------------------------------------------------


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


# -- rechecks --------------------------------------------------------------------------------------


def test_certificate_replaced_since_the_scan_is_not_notified(simulation: SiteSimulation) -> None:
    key = add_expiring_site(simulation, left=8)
    simulation.advance(1)
    simulation.scan()
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    assert sent_items(simulation.notify()) == []
    assert reasons(simulation, key)[0] == "suppress: replaced on every address"
    assert sent_items(simulation.day()) == [], "the client was not notified, and so is not thanked"


def test_certificate_replaced_on_some_addresses_is_reported_to_staff(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    key = add_expiring_site(simulation, left=8)
    site = simulation.sites["shop.example"]
    site.serve(START - 390 * DAY, 398 * DAY, ("192.0.2.1", "192.0.2.2"))
    simulation.scan()
    site.serve(simulation.now, 398 * DAY, ("192.0.2.2",), keep=True)
    outcome = simulation.day()
    assert sent_items(outcome) == []
    assert reasons(simulation, key)[0].startswith("staff: replaced on some addresses")
    assert any("replaced on some addresses only" in m.text for _, m in outcome.staff)


def test_notice_whose_recheck_fails_is_sent_a_day_later(simulation: SiteSimulation) -> None:
    simulation.staff()
    key = add_expiring_site(simulation, left=8)
    simulation.advance(1)
    simulation.scan()
    simulation.sites["shop.example"].blind = True
    assert sent_items(simulation.notify()) == []
    simulation.notify()
    assert "wait: the recheck failed" in reasons(simulation, key)[0]
    simulation.advance(1, 1)
    assert sent_items(simulation.notify()) == [(key, "7", "owner")]


# -- faults and their outcomes ---------------------------------------------------------------------


def test_fault_of_the_client_is_notified_once_and_its_fix_once(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    script = "http://x.example/a.js"
    site.faults["mixed-content"] = fault(
        "mixed-content",
        "medium",
        url="https://shop.example/",
        example=script,
        urls=[script],
    )
    outcome = simulation.day()
    key = site.fault_key("mixed-content")
    assert sent_items(outcome) == [(key, "+0", "owner")]
    assert isinstance(outcome.drafts[0][0].outcome, YouAct)
    simulation.mark_sent()
    assert sent_items(simulation.day()) == []
    site.faults.clear()
    outcome = simulation.day()
    assert sent_items(outcome) == [(key, "+0", "resolved")]
    assert isinstance(outcome.drafts[0][0].outcome, Resolved)
    assert "It is done" in outcome.drafts[0][1].text
    simulation.mark_sent()
    assert [x for _ in range(5) for x in sent_items(simulation.day())] == []


def test_fault_that_goes_away_with_another_is_not_notified(simulation: SiteSimulation) -> None:
    simulation.client("1", hosts="client")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {c: fault(c, "critical") for c in ("default-certificate", "name-mismatch")}
    cause = site.fault_key("default-certificate")
    assert [k for k, _, _ in sent_items(simulation.day())] == [cause]
    expected = [f"suppress: it is resolved with {cause}"]
    assert reasons(simulation, site.fault_key("name-mismatch")) == expected


def test_fault_that_violates_a_deadline_is_notified_with_the_deadline(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    with simulation.database.write(simulation.now) as tx:
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
    simulation.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    got = simulation.days(28)
    key = f"deadline:{site.domain_id}:https:{site.client_id}"
    assert [label for k, label, _ in got if k == key] == ["30", "14", "7", "3"]
    assert {k for k, _, _ in got} == {key}, "the fault has no notice"
    expected = f"suppress: it is resolved with {key}"
    assert reasons(simulation, site.fault_key("https-missing"))[0] == expected


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
                kind="take",
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


def test_undetermined_result_is_not_notified_to_clients(simulation: SiteSimulation) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {
        "connection-timeout": fault("connection-timeout", "undetermined", "staff"),
        "scanner-error": fault("scanner-error", "undetermined", "staff"),
    }
    assert [x for _ in range(4) for x in sent_items(simulation.day())] == []


def test_unknown_finding_code_does_not_stop_notices_to_other_clients(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1")
    simulation.client("2")
    a, b = simulation.site("a.example", "1"), simulation.site("b.example", "2")
    simulation.baseline()
    a.faults["code-of-tomorrow"] = fault("code-of-tomorrow", "critical")
    b.faults["not-tls"] = fault("not-tls", "critical")
    assert {d.person.name for d, _ in simulation.day().drafts} >= {"Owner of 2"}


# -- the first scan --------------------------------------------------------------------------------


def test_fault_of_the_first_scan_stays_held_after_more_scans(simulation: SiteSimulation) -> None:
    simulation.client("1", hosts=None, buys=None, renews=None)
    site = simulation.site("shop.example", "1")
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    simulation.baseline()
    assert [x for _ in range(4) for x in sent_items(simulation.day())] == []
    with simulation.database.read() as conn:
        assert len(tickets.listing(conn, held=True)) == 1


def test_fault_is_not_confirmed_by_a_scan_of_other_sites(simulation: SiteSimulation) -> None:
    simulation.client("1", hosts=None, buys=None, renews=None)
    site = simulation.site("shop.example", "1")
    simulation.site("other.example", "1")
    simulation.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    simulation.day()
    site.blind = True
    assert sent_items(simulation.day()) == []


def test_assigned_fault_of_the_first_scan_stays_held_until_its_release(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    site.faults = {"not-tls": fault("not-tls", "critical", "provider")}
    simulation.baseline()
    with simulation.database.write(simulation.now) as tx:
        findings.accept(
            tx,
            "not-tls",
            frozenset({"not-tls"}),
            simulation.now + 5 * DAY,
            "on it",
            domain_id=site.domain_id,
            kind="take",
            by="Ada",
        )
    assert sent_items(simulation.day()) == []
    assert "certmgr notice release" in reasons(simulation, site.fault_key("not-tls"))[0]


# -- messages --------------------------------------------------------------------------------------


def test_every_notified_contact_is_thanked_in_their_own_office_hours(
    simulation: SiteSimulation,
) -> None:
    """Owner and fallback are in time zones whose office hours never overlap."""
    simulation.client("1")
    with simulation.database.write(simulation.now) as tx:
        far = {"name": "Far", "role": "billing", "time_zone": "America/Los_Angeles"}
        contacts.add(tx, "1", far, ("email:far@client1.example",))
    add_expiring_site(simulation, left=31)
    for _ in range(60):
        simulation.advance(0, 5)
        simulation.scan()
        simulation.notify()
        simulation.mark_sent()
    simulation.sites["shop.example"].serve(simulation.now, 398 * DAY)
    thanked = []
    for _ in range(20):
        simulation.advance(0, 5)
        simulation.scan()
        drafts = [d for d, _ in simulation.notify().drafts]
        thanked += [d.person.name for d in drafts for i in d.items if i.step == "resolved"]
        simulation.mark_sent()
    assert sorted(thanked) == ["Far", "Owner of 1"]


def test_sites_beyond_the_limit_of_a_message_go_into_the_next(
    simulation: SiteSimulation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decide, "MAX_ITEMS", 5)
    simulation.client("1")
    sites = [simulation.site(f"a{n}.example", "1") for n in range(12)]
    simulation.baseline()
    for site in sites:
        site.serve(START - 391 * DAY, 398 * DAY)
    assert [len(simulation.days(1)) for _ in range(3)] == [5, 5, 2]
