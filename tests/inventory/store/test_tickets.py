"""Tickets: one reference per topic of a client, and what closes, holds and acknowledges them."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import exc, insert

from inventory.db.database import Database
from inventory.errors import NotFound
from inventory.models import Notice, StoredAnnouncement, Ticket
from inventory.records import ReleasedTicket, TicketRecord
from inventory.store import announcements, clients, releases, tickets
from inventory.vocabulary import TicketKind
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_notice,
    add_ticket,
    audited,
    count,
    entry_count,
    rows,
    site,
)
from tests.inventory.store.chunked import across_chunks, unknown_id
from tests.records import record

HOUR = timedelta(hours=1)


def opening(key: str, client_id: int | None = None, **columns: Any) -> tickets.NewTicket:
    return tickets.NewTicket(key=key, kind=TicketKind.COVER, client_id=client_id, **columns)


def clients_of(database: Database) -> tuple[int, int]:
    with database.read() as conn:
        one, two = (int(clients.find(conn, n).id) for n in ("1001", "1002"))
        return one, two


def test_reference_has_no_letter_that_is_misheard() -> None:
    drawn = {tickets.new_reference() for _ in range(200)}
    assert len(drawn) > 190
    for reference in drawn:
        assert re.fullmatch(r"CM-[2-9A-HJ-NP-Z]{6}", reference)


def test_opened_ticket_is_found_by_its_key_and_by_its_reference(pair: Database) -> None:
    one, two = clients_of(pair)
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        tickets.open_(tx, [])
        tickets.open_(tx, [opening("a", one, hold="mass 2 7"), opening("b", two, released_at=5)])
        tickets.open_(tx, [opening("staff")])
        conn = tx.conn
        found = tickets.by_key(conn)
        assert set(found) == {"a", "b", "staff"}
        assert (found["a"].opened_at, found["a"].released_at, found["b"].released_at) == (
            AT,
            None,
            5,
        )
        assert len({r.reference for r in found.values()}) == 3
        assert tickets.find(conn, f" {found['a'].reference.lower()} ") == found["a"]
        with pytest.raises(NotFound, match="no ticket with the reference 'CM-0'"):
            tickets.find(conn, "CM-0")
        tickets.close(tx, [found["b"].id])
        assert set(tickets.by_key(conn, open_only=True)) == {"a", "staff"}
        assert set(tickets.by_key(conn, ["a", "b", "x"])) == {"a", "b"}
        assert set(tickets.by_key(conn, iter(["a", "b"]), open_only=True)) == {"a"}
        assert tickets.by_key(conn, []) == {}
        many = across_chunks(["a", "x", "b", "y", "staff"], lambda i: f"other {i}")
        assert set(tickets.by_key(conn, many)) == {"a", "b", "staff"}
        assert tickets.clients_of_open(conn) == {one}
    assert audited(pair, known) == [
        ("open", "matter", None, {"count": 2}),
        ("open", "matter", None, {"count": 1}),
        ("close", "matter", None, {"count": 1}),
    ]


def test_reference_that_is_taken_is_drawn_again(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two equal references are drawn about once in a billion times, so the draw is fixed here."""
    drawn = iter(["CM-AAAAAA", "CM-AAAAAA", "CM-AAAAAA", "CM-BBBBBB", *["CM-AAAAAA"] * 8])
    monkeypatch.setattr(tickets, "new_reference", lambda: next(drawn))
    with database.write(NOW) as tx:
        tickets.open_(tx, [opening("a"), opening("b")])
        found = tickets.by_key(tx.conn)
        tickets.open_(tx, [opening("c")])
        assert set(tickets.by_key(tx.conn)) == {"a", "b"}, "it gives up after eight"
    assert {k: r.reference for k, r in found.items()} == {"a": "CM-AAAAAA", "b": "CM-BBBBBB"}


def test_second_ticket_of_a_key_is_refused_and_nothing_of_its_transaction_stays(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        tickets.open_(tx, [opening("a")])
        before = tickets.by_key(tx.conn)
    with pytest.raises(exc.IntegrityError), database.write(LATER) as tx:
        tickets.open_(tx, [opening("b"), opening("a")])
    with database.read() as conn:
        assert tickets.by_key(conn) == before
    assert len(audited(database)) == 1


def test_first_notification_of_a_client_is_kept(database: Database) -> None:
    with database.write(NOW) as tx:
        first, second = add_ticket(tx, None, "a"), add_ticket(tx, None, "b")
        tickets.mark_notified(tx, [first])
    with database.write(LATER) as tx:
        tickets.mark_notified(tx, [first, second])
        tickets.mark_notified(tx, [])
        tickets.change(tx, first, cause="x", hold="mass 1 2")
        one, two = rows(tx.conn, Ticket)
    assert (one["told_at"], two["told_at"]) == (AT, AT + DAY)
    assert (one["cause"], one["hold"], two["cause"], two["hold"]) == ("x", "mass 1 2", "", None)


def test_several_hundred_tickets_are_closed_in_one_call(database: Database) -> None:
    with database.write(NOW) as tx:
        made = [
            asdict(opening(f"k{i}")) | {"reference": f"CM-{i}", "opened_at": AT}
            for i in range(1001)
        ]
        tx.conn.execute(insert(Ticket), made)
        ids = [r["id"] for r in rows(tx.conn, Ticket)]
        tickets.close(tx, ids)
        tickets.close(tx, [])
        assert {r["closed_at"] for r in rows(tx.conn, Ticket)} == {AT}
        assert len(tickets.by_key(tx.conn, [f"k{i}" for i in range(1001)])) == 1001
    assert audited(database) == [("close", "matter", None, {"count": 1001})]


def test_first_acknowledgement_of_a_notice_is_kept(pair: Database) -> None:
    one, _ = clients_of(pair)
    with pair.write(NOW) as tx:
        open_, closed, other = (add_ticket(tx, one, k) for k in "abc")
        tickets.close(tx, [closed])
        about, elsewhere = (
            add_notice(tx, one, None, open_, closed),
            add_notice(tx, one, None, other),
        )
    known = entry_count(pair)
    with pair.write(NOW + HOUR) as tx:
        assert tickets.acknowledge(tx, [], "Ada") == 0
        assert tickets.acknowledge(tx, [open_, closed], "x" * 201) == 1
    with pair.write(LATER) as tx:
        assert tickets.acknowledge(tx, [open_, unknown_id(0)], "Ada") == 1
        found = {r["id"]: r for r in rows(tx.conn, Ticket)}
        notices = {r["id"]: r["acked_at"] for r in rows(tx.conn, Notice)}
    assert (found[open_]["acked_at"], found[open_]["acked_by"]) == (AT + DAY, "Ada")
    assert (found[closed]["acked_at"], found[closed]["acked_by"]) == (None, None)
    assert found[other]["acked_at"] is None
    assert notices == {about: AT + 3600, elsewhere: None}
    assert [e[:3] for e in audited(pair, known)][:2] == [
        ("acknowledge", "matter", open_),
        ("acknowledge", "matter", closed),
    ]


def test_notice_is_resolved_when_all_of_its_tickets_are_closed(pair: Database) -> None:
    one, _ = clients_of(pair)
    with pair.write(NOW) as tx:
        first, second, third = (add_ticket(tx, one, k) for k in "abc")
        both = add_notice(tx, one, None, first, second)
        single = add_notice(tx, one, None, first)
        add_notice(tx, one, None, third)
        assert [r.id for r in tickets.of_notice(tx.conn, both)] == [first, second]
        assert tickets.of_notice(tx.conn, unknown_id(0)) == []
        tickets.resolved(tx, [])
        tickets.close(tx, [first])
        tickets.resolved(tx, [first])
    with pair.write(LATER) as tx:
        tickets.close(tx, [second, third])
        tickets.resolved(tx, [second, unknown_id(0)])
        found = {r["id"]: r["resolved_at"] for r in rows(tx.conn, Notice)}
    assert found == {both: AT + DAY, single: AT, single + 1: None}, "the third was not asked for"


def test_open_tickets_are_listed_for_one_client_or_while_they_are_held(pair: Database) -> None:
    one, two = clients_of(pair)
    with pair.write(NOW) as tx:
        clients.edit(tx, "1001", {"account_manager": "Ada"})
        place = site(tx, "shop1001.example")
        mine = add_ticket(tx, one, "a", domain_id=place.domain_id, hold="mass 2 77")
        theirs = add_ticket(tx, two, "b", hold="mass 2 77", released_at=AT)
        staff = add_ticket(tx, None, "c")
        tickets.close(tx, [add_ticket(tx, one, "d", hold="mass 2 77")])
        conn = tx.conn
        assert [r.id for r in tickets.listing(conn)] == [mine, theirs, staff]
        (row,) = tickets.listing(conn, client_id=one)
        named = (row.client, row.client_name, row.account_manager, row.domain)
        assert named == ("1001", "Client 1001", "Ada", "shop1001.example")
        assert [r.id for r in tickets.listing(conn, held=True)] == [mine]
        assert [r.id for r in tickets.listing(conn, client_id=two)] == [theirs]
        assert tickets.listing(conn, client_id=two, held=True) == []
        assert tickets.listing(conn)[2].client is None


@pytest.mark.parametrize(
    ("hold", "at"),
    [(None, 0), ("", 0), ("mass", 0), ("mass 2", 0), ("baseline 2 77", 77), ("mass 2 77 x", 77)],
)
def test_instant_of_a_hold_is_its_third_word(hold: str | None, at: int) -> None:
    assert releases.held_at(record(TicketRecord, hold=hold)) == at


def test_cause_with_a_star_is_every_cause_with_that_finding() -> None:
    row = record(ReleasedTicket, cause="server web1 expired", code="expired")
    assert releases.belongs(row, "server web1 expired")
    assert releases.belongs(row, "* expired")
    for other in ("server web2 expired", "* expire", "*expired", "expired", "* ", ""):
        assert not releases.belongs(row, other)


def test_broadcast_is_kept_audited_and_its_open_tickets_are_due(pair: Database) -> None:
    one, two = clients_of(pair)
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        first = announcements.add(tx, "deadline", "sha1", "gold", "In our words.")
        second = announcements.add(tx, "deadline", "sha1", None, None)
        open_ = add_ticket(tx, one, "a", kind="broadcast")
        tickets.close(tx, [add_ticket(tx, two, "b", kind="broadcast")])
        add_ticket(tx, one, "c")
        found = announcements.by_id(tx.conn)
        assert [r.id for r in announcements.unsent(tx.conn)] == [open_]
    assert found[first].as_dict() == {
        "id": first,
        "template": "deadline",
        "deadline": "sha1",
        "tag": "gold",
        "text": "In our words.",
        "by": "tester",
        "created_at": AT,
    }
    assert (found[second].tag, found[second].text) == (None, None)
    detail = {"template": "deadline", "deadline": "sha1", "tag": "gold"}
    assert audited(pair, known)[0] == ("broadcast", "broadcast", first, detail)
    with pytest.raises(ZeroDivisionError), pair.write(NOW) as tx:
        announcements.add(tx, "deadline", "x", None, None)
        raise ZeroDivisionError
    with pair.read() as conn:
        assert count(conn, StoredAnnouncement) == 2
