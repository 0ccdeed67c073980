"""Releases of held tickets."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from inventory.db.database import Database
from inventory.models import Release, Snooze, Ticket
from inventory.store import releases, snoozes
from inventory.vocabulary import SnoozeScope
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_ticket,
    audited,
    entry_count,
    rows,
)
from tests.inventory.store.test_tickets import clients_of


def test_release_replaces_the_one_before_it_for_the_same_cause(pair: Database) -> None:
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
            row_id = add_ticket(tx, client_id, key, cause="expired web1", code="expired")
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
