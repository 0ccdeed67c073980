"""What staff get: the digest and the list of clients to call."""

from __future__ import annotations

from inventory.store import contacts, outbox, tickets
from notifiers.pipeline.plan import Snapshot
from notifiers.pipeline.staff import PhoneCall, calls
from tests.notifiers.street import Street, fault, year


def test_unanswered_notice_goes_to_the_fallback_and_then_to_the_call_list(street: Street) -> None:
    street.client("1", account_manager="Grace")
    with street.database.write(street.now) as tx:
        ways = ("email:deputy@client1.example", "phone:+49 30 1234567")
        contacts.add(tx, "1", {"name": "Deputy", "role": "technical"}, ways)
        contacts.edit(tx, "Owner of 1", {"fallback": "Deputy"})
    key = year(street, left=31)
    street.day()
    street.sent()
    got = []
    for _ in range(16):
        outcome = street.day()
        got += [(d.person.name, i.label, i.step) for d, _ in outcome.drafts for i in d.items]
        street.sent()
    assert ("Deputy", "30", "fallback") in got, "a week without an answer"
    assert ("Owner of 1", "14", "owner") in got
    assert ("Deputy", "14", "fallback") in got
    assert _calls(street)[0].phones == ("Deputy +49 30 1234567",)
    assert _calls(street)[0].manager == "Grace"
    with street.database.write(street.now) as tx:
        tickets.acknowledge(tx, [tickets.by_key(tx.conn, [key])[key]["id"]], "Deputy")
    assert _calls(street) == []


def _calls(street: Street) -> list[PhoneCall]:
    rules = street.rules
    with street.database.read() as conn:
        world = Snapshot(street.now, rules.policy, rules.recipients(conn))
        return list(calls(tickets.listing(conn), outbox.said(conn), world, rules.policy))


def test_undetermined_result_is_in_the_digest(street: Street) -> None:
    street.staff()
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {"scanner-error": fault("scanner-error", "undetermined", "staff")}
    street.day()
    outcome = street.day()
    assert any("scanner-error: 1 endpoint(s)" in m.text for _, m in outcome.staff)
