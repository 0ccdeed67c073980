"""Decisions about notices: repeated ones move in time, and are found by topic."""

from __future__ import annotations

from typing import Any

from inventory.db.database import Database
from inventory.models import StoredDecision
from inventory.store import decisions
from inventory.vocabulary import DecisionAction
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_ticket,
    count,
    site,
)
from tests.inventory.store.test_tickets import clients_of


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
            add_ticket(tx, client_id, f"case:{client_id}", kind="case", domain_id=site_.domain_id)
            add_ticket(tx, client_id, f"cover:{client_id}", domain_id=site_.domain_id)
        conn = tx.conn
        assert decisions.keys_about(conn, {1}, set()) == ["cover:1:7", "fault:1:expired:7"]
        assert decisions.keys_about(conn, set(), {5}) == ["deadline:5:sha1:7"]
        assert f"case:{one}" in decisions.keys_about(conn, set(), {mine.domain_id})
        assert f"case:{two}" not in decisions.keys_about(conn, set(), {mine.domain_id})
        assert decisions.keys_about(conn, set(), set()) == []
