"""Which notice a client gets, in an inventory over time."""

from __future__ import annotations

import pytest

from certmgr.compliance.rules import RULES
from inventory.store import deadlines, findings, tickets
from inventory.vocabulary import FindingDecision
from notifiers.pipeline import decide
from notifiers.pipeline.outcome import Resolved, YouAct
from tests.notifiers.sites import (
    DAY,
    START,
    SiteSimulation,
    add_expiring_site,
    fault,
    reasons,
    sent_items,
)


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
            kind=FindingDecision.ASSIGN,
            by="Ada",
        )
    assert sent_items(simulation.day()) == []
    assert "certmgr notice release" in reasons(simulation, site.fault_key("not-tls"))[0]


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
