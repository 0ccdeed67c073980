"""Matters: one reference per subject; decisions, snoozes and releases."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import exc, insert, select, update

from inventory.db.database import Database
from inventory.errors import NotFound
from inventory.models import Notice, Release, Snooze, StoredAnnouncement, StoredDecision, Ticket
from inventory.records import ReleasedTicket, TicketRecord
from inventory.store import announcements, clients, decisions, releases, servers, snoozes, tickets
from inventory.vocabulary import DecisionAction, SnoozeScope, TicketKind
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    across_chunks,
    add_matter,
    add_notice,
    audited,
    count,
    entry_count,
    rows,
    site,
    unknown_id,
)
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


def test_opened_matter_is_found_by_its_key_and_by_its_reference(pair: Database) -> None:
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


def test_second_matter_of_a_key_is_refused_and_nothing_of_its_transaction_stays(
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
        first, second = add_matter(tx, None, "a"), add_matter(tx, None, "b")
        tickets.mark_notified(tx, [first])
    with database.write(LATER) as tx:
        tickets.mark_notified(tx, [first, second])
        tickets.mark_notified(tx, [])
        tickets.change(tx, first, cause="x", hold="mass 1 2")
        one, two = rows(tx.conn, Ticket)
    assert (one["told_at"], two["told_at"]) == (AT, AT + DAY)
    assert (one["cause"], one["hold"], two["cause"], two["hold"]) == ("x", "mass 1 2", "", None)


def test_several_hundred_matters_are_closed_in_one_call(database: Database) -> None:
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
        open_, closed, other = (add_matter(tx, one, k) for k in "abc")
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


def test_notice_is_resolved_when_all_of_its_matters_are_closed(pair: Database) -> None:
    one, _ = clients_of(pair)
    with pair.write(NOW) as tx:
        first, second, third = (add_matter(tx, one, k) for k in "abc")
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


def test_open_matters_are_listed_for_one_client_or_while_they_are_held(pair: Database) -> None:
    one, two = clients_of(pair)
    with pair.write(NOW) as tx:
        clients.edit(tx, "1001", {"account_manager": "Ada"})
        place = site(tx, "shop1001.example")
        mine = add_matter(tx, one, "a", domain_id=place.domain_id, hold="mass 2 77")
        theirs = add_matter(tx, two, "b", hold="mass 2 77", released_at=AT)
        staff = add_matter(tx, None, "c")
        tickets.close(tx, [add_matter(tx, one, "d", hold="mass 2 77")])
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


def test_broadcast_is_kept_audited_and_its_open_matters_are_due(pair: Database) -> None:
    one, two = clients_of(pair)
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        first = announcements.add(tx, "deadline", "sha1", "gold", "In our words.")
        second = announcements.add(tx, "deadline", "sha1", None, None)
        open_ = add_matter(tx, one, "a", kind="broadcast")
        tickets.close(tx, [add_matter(tx, two, "b", kind="broadcast")])
        add_matter(tx, one, "c")
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


def decided(subject: str, **columns: Any) -> dict[str, Any]:
    return {
        "subject": subject,
        "client_id": 1,
        "contact_id": 2,
        "threshold": "30",
        "round": "r",
        "action": "wait",
        "reason": "holiday",
    } | columns


def test_same_decision_only_moves_its_last_time(database: Database) -> None:
    first = decided("a")
    with database.write(NOW) as tx:
        decisions.record(tx, [])
        decisions.record(tx, [first, first, first | {"reason": "at night"}])
    with database.write(LATER) as tx:
        decisions.record(tx, [first])
        decisions.record(tx, [first | {c: v} for c, v in (("contact_id", 3), ("threshold", "7"))])
        decisions.record(tx, [first | {c: v} for c, v in (("round", "s"), ("action", "hold"))])
        found = decisions.listing(tx.conn, ["a"])
        same = [r for r in found if (r.first_at, r.last_at) == (AT, AT + DAY)]
        assert [(r.contact_id, r.reason) for r in same] == [(2, "holiday")]
        assert len(found) == count(tx.conn, StoredDecision) == 6
        assert found[-1].reason == "at night", "the latest comes first"
        assert len(decisions.listing(tx.conn, ["a"], limit=2)) == 2
        assert decisions.listing(tx.conn, []) == []
        assert decisions.listing(tx.conn, ["b"]) == []


def test_subjects_are_asked_by_reason_and_time(database: Database) -> None:
    rule = decided("a")
    with database.write(NOW) as tx:
        decisions.record(
            tx,
            [rule, rule | {"subject": "b"}, rule | {"subject": "c", "reason": "holiday_x"}],
        )
        decisions.record(tx, [rule | {"contact_id": 9}])
        decisions.record(tx, [rule | {"subject": "d", "action": "send"}])
    with database.write(LATER) as tx:
        decisions.record(tx, [rule | {"reason": "holiday in Bavaria"}, rule])
        conn = tx.conn
        assert decisions.recent(conn, "holiday", AT) == ["a", "b", "d"]
        assert decisions.recent(conn, "holiday", AT + 1) == ["a"]
        assert decisions.recent(conn, "none", 0) == []
        waits = decisions.waiting_since(conn, DecisionAction.WAIT, "holiday", AT)
        assert waits == {("a", "r"): AT, ("b", "r"): AT, ("c", "r"): AT}
        assert decisions.waiting_since(conn, DecisionAction.WAIT, "holiday", AT + 1) == {
            ("a", "r"): AT
        }
        only = decisions.waiting_since(conn, DecisionAction.WAIT, "holiday_", AT)
        assert only == {("c", "r"): AT}, "_ is not a wildcard"
        assert decisions.waiting_since(conn, DecisionAction.HOLD, "holiday", AT) == {}


def test_keys_about_a_place_are_its_own_and_not_those_of_a_longer_number(pair: Database) -> None:
    one, two = clients_of(pair)
    subjects = [
        "cover:1:7",
        "fault:1:expired:7",
        "cover:11:7",
        "deadline:1:sha1:7",
        "deadline:5:sha1:7",
        "case:1:7",
    ]
    with pair.write(NOW) as tx:
        mine, theirs = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        decisions.record(tx, [decided(s) for s in subjects])
        decisions.record(tx, [decided("cover:1:7", reason="other")])
        for site_, client_id in ((mine, one), (theirs, two)):
            add_matter(tx, client_id, f"case:{client_id}", kind="case", domain_id=site_.domain_id)
            add_matter(tx, client_id, f"cover:{client_id}", domain_id=site_.domain_id)
        conn = tx.conn
        assert decisions.keys_about(conn, {1}, set()) == ["cover:1:7", "fault:1:expired:7"]
        assert decisions.keys_about(conn, set(), {5}) == ["deadline:5:sha1:7"]
        assert f"case:{one}" in decisions.keys_about(conn, set(), {mine.domain_id})
        assert f"case:{two}" not in decisions.keys_about(conn, set(), {mine.domain_id})
        assert decisions.keys_about(conn, set(), set()) == []


def test_snooze_is_in_force_from_its_start_until_before_its_end(pair: Database) -> None:
    one, _ = clients_of(pair)
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        first = snoozes.add(tx, SnoozeScope.CLIENT, one, AT, AT + DAY, "on holiday", "Ada")
        second = snoozes.add(tx, SnoozeScope.ALL, 0, AT + DAY, AT + 2 * DAY, "maintenance", "Ada")
        conn = tx.conn
        assert [r.id for r in snoozes.listing(conn)] == [first, second]
        in_force = {AT - 1: [], AT: [first], AT + DAY: [second], AT + 2 * DAY: []}
        for at, expected in in_force.items():
            assert [r.id for r in snoozes.listing(conn, at)] == expected
    with pair.write(LATER) as tx:
        assert snoozes.end(tx, first)
        assert not snoozes.end(tx, first)
        assert not snoozes.end(tx, unknown_id(0))
        assert [r.id for r in snoozes.listing(tx.conn)] == [second]
        assert snoozes.listing(tx.conn, AT) == []
        row = rows(tx.conn, Snooze)[0]
    assert (row["withdrawn_at"], row["created_at"], row["by"]) == (AT + DAY, AT, "Ada")
    entries = audited(pair, known)
    assert entries[0] == ("snooze", "client", one, {"starts_at": AT, "until": AT + DAY})
    assert entries[1][:3] == ("snooze", "all", 0)
    # An end without effect is no change, and has no entry.
    assert entries[2:] == [("wake", "snooze", first, {})]


def test_what_is_snoozed_has_a_name_for_a_person(pair: Database) -> None:
    one, two = clients_of(pair)
    with pair.write(NOW) as tx:
        server_id = servers.add(tx, {"name": "web1"})
        domain_id = site(tx, "shop1001.example").domain_id
        matter_id = add_matter(tx, one, "a")
        named = snoozes.scope_names(tx.conn)
        reference = rows(tx.conn, Ticket)[0]["reference"]
    assert named[SnoozeScope.CLIENT, one] == "1001"
    assert named[SnoozeScope.CLIENT, two] == "1002"
    assert named[SnoozeScope.SERVER, server_id] == "web1"
    assert named[SnoozeScope.DOMAIN, domain_id] == "shop1001.example"
    assert named[SnoozeScope.TICKET, matter_id] == reference
    assert len(named) == 6


def test_release_takes_the_place_of_the_one_before_it_for_the_same_cause(pair: Database) -> None:
    one, two = clients_of(pair)
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        first = releases.add(tx, "expired web1", 5, "Ada")
        other = releases.add(tx, "expired web2", 5, "Ada")
    with pair.write(LATER) as tx:
        second = releases.add(tx, "expired web1", 50, "Eve")
        assert [(r.id, r.per_day) for r in releases.in_force(tx.conn)] == [
            (other, 5),
            (second, 50),
        ]
        releases.end(tx, [])
        releases.end(tx, [other])
        assert [r.id for r in releases.in_force(tx.conn)] == [second]
        ended = {r["id"]: r["ended_at"] for r in rows(tx.conn, Release)}
        assert ended == {first: AT + DAY, other: AT + DAY, second: None}
        for key, client_id, at in (("a", one, AT), ("b", two, AT + DAY), ("c", one, None)):
            row_id = add_matter(tx, client_id, key, cause="expired web1", code="expired")
            tx.conn.execute(update(Ticket).where(Ticket.id == row_id).values(released_at=at))
        let_go = {"cause": "expired web1", "code": "expired"}
        assert [r.as_dict() for r in releases.released_since(tx.conn, AT + 1)] == [
            let_go | {"client_id": two}
        ]
        assert len(releases.released_since(tx.conn, AT)) == 2
        assert releases.released_since(tx.conn, AT + 2 * DAY) == []
    assert audited(pair, known) == [
        ("release", "release", row_id, {"cause": cause, "per_day": per_day})
        for row_id, cause, per_day in (
            (first, "expired web1", 5),
            (other, "expired web2", 5),
            (second, "expired web1", 50),
        )
    ]
    with pytest.raises(ZeroDivisionError), pair.write(LATER) as tx:
        releases.add(tx, "expired web1", 1, "Ada")
        snoozes.add(tx, SnoozeScope.ALL, 0, AT, AT + DAY, "x", "Ada")
        raise ZeroDivisionError
    with pair.read() as conn:
        assert [r.id for r in releases.in_force(conn)] == [second]
        assert list(conn.scalars(select(Snooze.id))) == []
