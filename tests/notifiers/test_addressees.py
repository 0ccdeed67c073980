"""Who hears, and how often: roles, resellers, fallbacks, hours, limits, and the border between clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from inventory.store import clients, contacts, matters, outbox, people
from notifiers.staff import Call
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Street, fault, reasons, said, year


def test_no_acknowledgement_climbs_to_the_fallback_and_then_to_the_telephone(street: Street) -> None:
    street.client("1", account_manager="Grace")
    with street.database.write(street.now) as tx:
        contacts.add(tx, "1", {"name": "Deputy", "role": "technical"}, ("email:deputy@client1.example", "phone:+49 30 1234567"))
        contacts.edit(tx, "Owner of 1", {"fallback": "Deputy"})
    key = year(street, left=31)
    street.day()
    street.sent()
    heard = []
    for _ in range(16):
        outcome = street.day()
        heard += [(d.person.name, i.label, i.step) for d, _ in outcome.drafts for i in d.items]
        street.sent()
    assert ("Deputy", "30", "fallback") in heard, "a week without an answer"
    assert ("Owner of 1", "14", "owner") in heard
    assert ("Deputy", "14", "fallback") in heard
    assert _calls(street)[0].phones == ("Deputy +49 30 1234567",)
    assert _calls(street)[0].manager == "Grace"
    with street.database.write(street.now) as tx:
        matters.acknowledge(tx, [matters.by_key(tx.conn, [key])[key]["id"]], "Deputy")
    assert _calls(street) == []


def _calls(street: Street) -> list[Call]:
    from notifiers.plan import World
    from notifiers.staff import calls

    rules = street.rules
    with street.database.read() as conn:
        world = World(street.now, rules.policy, rules.people(conn))
        return list(calls(matters.listing(conn), outbox.said(conn), world, rules.policy))


def test_a_bad_address_starts_the_fallback(street: Street) -> None:
    street.client("1")
    with street.database.write(street.now) as tx:
        row_id = contacts.add(tx, "1", {"name": "Deputy", "role": "billing"}, ("email:deputy@client1.example",))
    key = year(street, left=8)
    with street.database.write(street.now) as tx:
        owner = next(c["id"] for c in contacts.listing(tx.conn) if c["name"] == "Owner of 1")
        assert people.mark_way(tx, owner, "owner1@client1.example", "bad")
    outcome = street.day()
    assert [(d.person.id, i.step) for d, _ in outcome.drafts for i in d.items] == [(row_id, "fallback")]
    assert said(outcome)[0][0] == key


def test_a_client_whom_nobody_can_write_to_is_called_and_staff_know(street: Street) -> None:
    street.staff()
    with street.database.write(street.now) as tx:
        clients.add(tx, {"number": "9", "name": "Silent Ltd", "renews": "client", "hosts": "us"})
    site = street.site("silent.example", "9")
    site.serve(START - 390 * DAY, 398 * DAY)
    street.baseline()
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(outcome, street, site.key)[0] == "staff: nobody can be written to: the client has no contact"
    assert any("nobody can be written to" in m.text for _, m in outcome.staff)


def test_a_reseller_is_written_to_in_the_place_of_its_clients_and_sees_only_them(street: Street) -> None:
    street.client("50")
    street.client("51", reseller="50")
    street.client("60")
    for host, number in (("a.example", "51"), ("b.example", "60")):
        street.site(host, number).serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    outcome = street.day(2)
    got = {d.person.name: m for d, m in outcome.drafts}
    assert set(got) == {"Owner of 50", "Owner of 60"}
    assert "a.example" in got["Owner of 50"].text
    assert "b.example" not in got["Owner of 50"].text + got["Owner of 50"].html
    assert "a.example" not in got["Owner of 60"].text + got["Owner of 60"].html


def test_two_clients_with_the_same_certificate_hear_nothing_of_each_other(street: Street) -> None:
    street.client("1")
    street.client("2")
    names = {"1": "rosen.example", "2": "tulpen.example"}
    shared = fault("name-mismatch", "critical", names=["rosen.example", "tulpen.example"], subject="CN=tulpen.example")
    for number, host in names.items():
        street.site(host, number)
    street.baseline()
    for host in names.values():
        street.sites[host].faults = {"name-mismatch": shared}
    outcome = street.day()
    assert len(outcome.drafts) == 2
    for draft, message in outcome.drafts:
        own = names["1" if draft.person.name == "Owner of 1" else "2"]
        other = next(h for h in names.values() if h != own)
        assert own in message.text
        assert other not in message.subject + message.text + message.html
        assert "Owner of" in message.text
    assert len({m.reference for _, m in outcome.drafts}) == 2


def test_clients_are_not_written_to_at_night_or_on_holidays(tmp_path: Path) -> None:
    friday = datetime(2026, 4, 2, 20, tzinfo=UTC)  # Thursday evening before Good Friday
    street = Street(open_sqlite(tmp_path / "n.db", "t"), friday, country="DE")
    key = year(street, left=8)
    outcome = street.day(1)
    assert said(outcome) == []
    assert "quiet hours of contact 1 until 2026-04-07 08:00 UTC" in reasons(outcome, street, key)[0]
    street.now = datetime(2026, 4, 7, 9, tzinfo=UTC)
    assert said(street.notify()) == [(key, "7", "owner")]


def test_at_most_one_message_a_week_far_ahead_and_one_a_day_near(street: Street) -> None:
    street.client("1")
    for i, left in enumerate((61.5, 62.5, 63.5)):
        street.site(f"far{i}.example", "1").serve(START - (398 - left) * DAY, 398 * DAY)
    street.baseline()
    heard = {}
    for _ in range(10):
        outcome = street.day()
        street.sent()
        if outcome.drafts:
            heard[street.now.date()] = said(outcome)
    assert len(heard) == 2, heard
    first, second = heard.values()
    assert len(first) == 1
    assert len(second) == 2, "what waited goes together"
    assert max(heard) - min(heard) == timedelta(days=7)


def test_a_message_has_all_sites_of_the_client(street: Street) -> None:
    street.client("1")
    near, far = street.site("near.example", "1"), street.site("far.example", "1")
    far.serve(START - (398 - 20) * DAY, 398 * DAY)
    near.serve(START - (398 - 8) * DAY, 398 * DAY)
    street.baseline()
    with street.database.write(street.now) as tx:
        matters.release(
            tx, next(r["cause"] for r in matters.listing(tx.conn, held=True) if r["endpoint_id"] == far.id), 10, "Ada"
        )
    street.notify()
    street.sent()
    outcome = street.day()
    ((_, message),) = outcome.drafts
    assert said(outcome) == [(near.key, "7", "owner")]
    assert "Still open from before" in message.text
    assert "far.example" in message.text
