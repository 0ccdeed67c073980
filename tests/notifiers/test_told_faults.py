"""Faults of scans and deadlines in notices: told, folded, fixed by us, escalated, done."""

from __future__ import annotations

from datetime import date

from inventory.store import findings
from notifiers.outcome import Escalated, Resolved, WeAct, YouAct
from tests.notifiers.street import DAY, Street, fault, reasons, said


def test_a_fault_of_the_clients_is_told_and_ends_with_one_thank_you(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults["mixed-content"] = fault(
        "mixed-content", "medium", url="https://shop.example/", example="http://x.example/a.js", urls=["http://x.example/a.js"]
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


def test_a_fault_that_flaps_is_not_told_again_and_again(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    heard = []
    for i in range(12):
        site.faults = {"not-tls": fault("not-tls", "critical", reason="http")} if i % 2 == 0 else {}
        heard += said(street.day())
        street.sent()
    assert [(label, step) for _, label, step in heard] == [("+0", "owner"), ("+0", "resolved")]


def test_what_goes_away_with_another_fault_is_folded(street: Street) -> None:
    street.client("1", hosts="client")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {c: fault(c, "critical") for c in ("default-certificate", "name-mismatch")}
    outcome = street.day()
    assert [k for k, _, _ in said(outcome)] == [site.fault_key("default-certificate")]
    assert reasons(outcome, street, site.fault_key("name-mismatch")) == [
        f"suppress: it goes away with {site.fault_key('default-certificate')}"
    ]


def test_we_are_fixing_it_needs_a_name_a_date_and_a_fault_that_visitors_see(street: Street) -> None:
    street.staff()
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {
        "not-tls": fault("not-tls", "critical", "provider"),
        "redirect-missing": fault("redirect-missing", "medium", "provider"),
    }
    outcome = street.day()
    assert said(outcome) == [], "nobody has taken it"
    assert any("New and ours" in m.text and "not-tls" in m.text for _, m in outcome.staff), "those on call hear of it at once"
    with street.database.write(street.now) as tx:
        for code in site.faults:
            findings.accept(
                tx, code, frozenset(site.faults), street.now + 2 * DAY, "on it", domain_id=site.domain_id, kind="take", by="Ada"
            )
    outcome = street.notify()
    ((draft, message),) = outcome.drafts
    assert [i.subject.code for i in draft.items] == ["not-tls"], "visitors do not notice the other"
    assert isinstance(draft.outcome, WeAct)
    assert "We are fixing it: Ada has it done by 5 March 2026." in message.text
    street.sent()
    assert said(street.notify()) == [], "once for a date"
    outcome = street.day(3)
    assert any("not-tls was taken by Ada until 2026-03-05" in m.text for _, m in outcome.staff), "a broken promise is staff's"


def test_escalated_promises_the_next_word_and_keeps_it(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    assert said(street.day()) == [], "only after a second run"
    outcome = street.day()
    ((draft, _),) = outcome.drafts
    assert draft.outcome == Escalated(date(2026, 3, 6))
    street.sent()
    assert said(street.day()) == [], "Thursday: the word was promised for Friday"
    outcome = street.day()
    assert len(said(outcome)) == 1, "the next word on the day"


def test_undetermined_results_go_to_nobody_but_staff(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {
        "connection-timeout": fault("connection-timeout", "undetermined", "staff"),
        "scanner-error": fault("scanner-error", "undetermined", "staff"),
    }
    assert [x for _ in range(4) for x in said(street.day())] == []
