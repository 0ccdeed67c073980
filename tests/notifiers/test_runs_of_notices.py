"""One run: its transaction, its lock, what it keeps of a conversation from the first message to the thanks, and what a restored backup means."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.database import Database
from inventory.store import clients, contacts, domains, matters, outbox
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Street, fault, reasons, said, year


def test_a_dry_run_keeps_nothing(street: Street) -> None:
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    with street.database.read() as conn:
        before = (outbox.depth(conn), len(matters.by_key(conn)))
    outcome = street.notify(dry_run=True)
    assert said(outcome) == [(key, "7", "owner")]
    assert outcome.drafts[0][1].reference.startswith("CM-")
    with street.database.read() as conn:
        assert (outbox.depth(conn), len(matters.by_key(conn))) == before
    assert said(street.notify()) == [(key, "7", "owner")]


def test_the_reference_stays_the_same_over_all_messages(street: Street) -> None:
    year(street, left=31)
    seen = set()
    for _ in range(40):
        outcome = street.day()
        street.sent()
        seen |= {m.reference for _, m in outcome.drafts}
    assert len(seen) == 1


def test_the_same_decisions_on_postgresql_and_sqlite(database: Database) -> None:
    street = Street(database)
    street.staff()
    key = year(street, left=31)
    heard = []
    for _ in range(35):
        heard += [label for k, label, _ in said(street.day()) if k == key]
        street.sent()
    assert heard == ["30", "14", "7", "3", "1", "0", "+1"]
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    assert [step for _, _, step in said(street.day())] == ["resolved"]


def test_a_domain_that_changed_hands_is_told_to_the_new_owner_alone(street: Street) -> None:
    key = year(street, left=31)
    street.day()
    street.sent()
    street.client("2")
    with street.database.write(street.now) as tx:
        domains.edit(tx, "shop.example", {"client": "2"})
    outcome = street.day(16)
    assert [(d.person.name, i.label) for d, _ in outcome.drafts for i in d.items] == [("Owner of 2", "14")]
    street.sent()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    outcome = street.day()
    assert [d.person.name for d, _ in outcome.drafts] == ["Owner of 2"], "the old one is told nothing more"
    assert key


def test_what_waited_too_long_is_decided_anew(street: Street) -> None:
    """Queued, and the mail server is dead for a day; meanwhile it was renewed."""
    year(street, left=8)
    assert len(said(street.day())) == 1
    street.pass_(1)
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    outcome = street.notify()
    assert said(outcome) == []
    with street.database.read() as conn:
        rows = outbox.listing(conn, states=("dead",))
    assert [r["error"] for r in rows if r["client_id"]] == []


def test_every_name_in_a_message_is_made_harmless(street: Street) -> None:
    """HTML and template syntax in names, line breaks in every field."""
    with street.database.write(street.now) as tx:
        clients.add(tx, {"number": "1", "name": "<b>{{ 7*7 }}</b>", "renews": "client", "account_manager": "{% raise %}<script>"})
        contacts.add(tx, "1", {"name": "<img src=x onerror=alert(1)> {{ m }}"}, ("email:a@b.example",))
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults["mixed-content"] = fault(
        "mixed-content",
        "medium",
        url="https://x/\r\nBcc: all@example.com",
        example="<script>alert(1)</script>",
        urls=["{{ config }}"],
    )
    ((_, message),) = street.day().drafts
    assert "<script" not in message.html
    assert "<img" not in message.html
    assert "{{ m }}" in message.text
    assert "\n" not in message.subject
    assert "\r" not in message.text
    assert "49" not in message.text.replace(message.reference, "")


def test_one_run_decides_at_a_time(street: Street) -> None:
    from inventory.errors import Busy
    from inventory.store import jobs

    year(street, left=8)
    street.pass_(1)
    street.scan()
    with jobs.alone(street.database, "notify"), pytest.raises(Busy, match="notify is running"):
        street.notify()
    assert len(street.notify().drafts) == 1


def test_staff_who_are_away_have_their_deputy(street: Street) -> None:
    street.staff("Bea", "email:bea@provider.example")
    street.staff("Ada", "email:ada@provider.example", fallback="Bea", away_until=START + 10 * DAY)
    people_of = {p for p, _ in street.day().staff}
    with street.database.read() as conn:
        ids = {c["name"]: c["id"] for c in contacts.listing(conn)}
    assert people_of == {ids["Bea"]}
    street.pass_(12)
    assert {p for p, _ in street.notify().staff} == {ids["Ada"], ids["Bea"]}


def test_an_owner_who_is_away_has_a_fallback(street: Street) -> None:
    street.client("1")
    with street.database.write(street.now) as tx:
        contacts.add(tx, "1", {"name": "Deputy", "role": "billing"}, ("email:deputy@client1.example",))
        contacts.edit(tx, "Owner of 1", {"away_until": START + 20 * DAY})
    year(street, left=8)
    outcome = street.day()
    assert [(d.person.name, i.step) for d, _ in outcome.drafts for i in d.items] == [("Deputy", "fallback")]


def test_a_deadline_of_ones_own_is_told_with_the_fault_that_it_is_about(street: Street) -> None:
    from certmgr.compliance.rules import RULES
    from inventory.store import deadlines

    street.client("1")
    site = street.site("shop.example", "1")
    with street.database.write(street.now) as tx:
        given = {
            "at": START + 31 * DAY, "rule": "opens-over-https", "title": "All sites on HTTPS", "text": "Then HTTP is off.", "purchase_days": 7,
            "validation_days": 7, "installation_days": 7,
        }  # fmt: skip
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    street.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    heard = []
    for _ in range(28):
        outcome = street.day()
        street.sent()
        heard += said(outcome)
    key = f"deadline:{site.domain_id}:https:{site.client_id}"
    assert [label for k, label, _ in heard if k == key] == ["30", "14", "7", "3"]
    assert {k for k, _, _ in heard} == {key}, "and the fault is not told beside it"
    assert reasons(outcome, street, site.fault_key("https-missing"))[0] == f"suppress: it goes away with {key}"


def test_what_was_held_and_is_gone_is_no_longer_held(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    site.faults["mixed-content"] = fault("mixed-content", "medium")
    street.baseline()
    site.faults.clear()
    assert said(street.day()) == []
    with street.database.read() as conn:
        assert matters.listing(conn, held=True) == []


def test_done_is_said_although_it_waited_too_long(street: Street) -> None:
    """The mail server was dead for a day when the thank-you was queued."""
    year(street, left=8)
    street.day()
    street.sent()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    assert [step for _, _, step in said(street.day())] == ["resolved"]
    assert [step for _, _, step in said(street.day())] == ["resolved"], "decided anew"
    street.sent()
    assert said(street.day()) == []


def test_done_is_said_only_when_every_address_is(street: Street) -> None:
    year(street, left=8)
    street.day()
    street.sent()
    site = street.sites["shop.example"]
    site.serve(street.now, 398 * DAY)
    street.pass_(1)
    street.scan()
    site.leaves["192.0.2.2"] = site.serve(START - 390 * DAY, 398 * DAY, ("192.0.2.9",), keep=True)
    street.pass_(0.1)
    old = next(iter(matters.by_key(street.database.engine.connect(), open_only=True).values()))["round"]
    from tests.notifiers.street import Leaf

    site.leaves["192.0.2.2"] = Leaf(old, START, START + DAY)
    assert said(street.notify()) == []
    del site.leaves["192.0.2.2"], site.leaves["192.0.2.9"]
    assert [step for _, _, step in said(street.notify())] == ["resolved"]


def test_more_clients_than_usual_does_not_lose_a_thank_you(tmp_path: Path) -> None:
    street = Street(open_sqlite(tmp_path / "c.db", "t"), confirm_above=3)
    for n in range(5):
        street.client(str(n))
        street.site(f"a{n}.example", str(n)).serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    street.expected = 5
    assert len(street.day(2).drafts) == 5
    street.sent()
    street.expected = None
    for site in street.sites.values():
        site.serve(street.now, 398 * DAY)
    assert street.day().unconfirmed == 5
    street.expected = 5
    assert {step for _, _, step in said(street.notify())} == {"resolved"}


def test_those_on_call_hear_of_a_cause_once(street: Street) -> None:
    street.staff()
    street.client("1", hosts="us")
    sites = [street.site(f"a{n}.example", "1") for n in range(3)]
    with street.database.write(street.now) as tx:
        from inventory.store import servers

        servers.add(tx, {"name": "web1", "kind": "web"})
        for site in sites:
            domains.edit(tx, site.host, {"server": "web1"})
    street.baseline()
    heard = []
    for n in range(4):
        if n < 2:
            sites[n].faults["not-tls"] = fault("not-tls", "critical", "provider")
        heard.append([m.text.strip().splitlines()[0] for _, m in street.day().staff if m.reference == "alarm"])
        street.notify()
        street.sent()
    assert heard[0] == ["New and ours: server web1 not-tls, 1 endpoint(s), a0.example:443"]
    assert heard[1] == ["New and ours: server web1 not-tls, 2 endpoint(s), a0.example:443"], "it grew"
    assert heard[2:] == [[], []]


def test_a_deadline_that_is_met_is_thanked_for(street: Street) -> None:
    from certmgr.compliance.rules import RULES
    from inventory.store import deadlines

    street.client("1")
    site = street.site("shop.example", "1")
    with street.database.write(street.now) as tx:
        given = {
            "at": START + 31 * DAY, "rule": "valid-certificate", "title": "All sites on HTTPS", "text": None, "purchase_days": 7, "validation_days": 7,
            "installation_days": 7,
        }  # fmt: skip
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    street.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    street.day()
    street.sent()
    site.faults.clear()
    site.serve(street.now, 398 * DAY)
    outcome = street.day()
    assert [step for _, _, step in said(outcome)] == ["resolved"]
    assert "shop.example now meets: All sites on HTTPS." in outcome.drafts[0][1].text


def test_a_deadline_is_in_the_message_with_its_words(street: Street) -> None:
    from certmgr.compliance.rules import RULES
    from inventory.store import deadlines

    street.client("1")
    site = street.site("shop.example", "1")
    with street.database.write(street.now) as tx:
        given = {
            "at": START + 31 * DAY, "rule": "opens-over-https", "title": "All sites on HTTPS", "text": "Then HTTP is off.", "purchase_days": 7,
            "validation_days": 7, "installation_days": 7,
        }  # fmt: skip
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    street.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    ((_, message),) = street.day().drafts
    assert "shop.example does not yet meet what holds from 2 April 2026: All sites on HTTPS. Then HTTP is off." in message.text


def test_too_many_ends_at_once_are_held_too(street: Street) -> None:
    """A run that closes everything is as suspect as one that opens everything: nobody is thanked for it."""
    for n in range(20):
        street.client(str(n))
        street.site(f"a{n}.example", str(n))
    street.baseline()
    for n in range(4):
        street.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")
    assert len(street.day().drafts) == 4
    street.sent()
    for n in range(4, 8):
        street.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")
    assert len(street.day().drafts) == 4
    street.sent()
    for site in street.sites.values():
        site.faults.clear()
    outcome = street.day()
    assert (said(outcome), outcome.held) == ([], 8)
    with street.database.write(street.now) as tx:
        matters.release(tx, "* not-tls", 100, "Ada")
    assert {step for _, _, step in said(street.notify())} == {"resolved"}


def test_a_restored_queue_is_unknown(street: Street, tmp_path: Path) -> None:
    from inventory import upkeep

    year(street, left=8)
    street.day()
    upkeep.backup(street.database.engine, tmp_path / "backup.db")
    street.sent()
    street.database.close()
    upkeep.restore(street.database.engine, tmp_path / "backup.db")
    with street.database.read() as conn:
        assert outbox.depth(conn) == {"unknown": 1}
    assert said(street.notify()) == [], "it may have been sent"


def test_a_death_in_a_restore_leaves_no_queue_that_is_sent_again(
    street: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doubt is in what is poured: the database never has the old queue as if it were sure of it."""
    from inventory import upkeep

    year(street, left=8)
    street.day()
    upkeep.backup(street.database.engine, tmp_path / "backup.db")
    street.sent()
    street.database.close()

    def die(_connection: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(upkeep, "_unsure", die)
    with pytest.raises(KeyboardInterrupt):
        upkeep.restore(street.database.engine, tmp_path / "backup.db")
    with street.database.read() as conn:
        assert outbox.depth(conn) == {"sent": 1}, "nothing was restored"
    assert not list(tmp_path.glob(".*.restoring"))
