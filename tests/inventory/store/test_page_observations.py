"""Spans of what a visitor met: they go on while nothing changes, and end when something does."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from inventory.db.database import Database
from inventory.models import Endpoint, PageObservation
from inventory.store import page_observations
from tests.inventory.store.builders import AT, DAY, NOW, audited, entry_count, many_clients, site


def spans(database: Database, endpoint_id: int) -> list[tuple[int, int, int, str, Any]]:
    """(first seen, last seen, open, digest, document) of each span, oldest first."""
    with database.read() as conn:
        query = select(PageObservation).where(PageObservation.endpoint_id == endpoint_id)
        rows = conn.execute(query.order_by(PageObservation.id)).all()
        return [(r.first_seen, r.last_seen, r.open, r.digest, r.document) for r in rows]


def test_span_goes_on_while_the_digest_stays_and_keeps_the_newest_document(pair: Database) -> None:
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        one, two = (site(tx, f"shop{n}.example").endpoint_id for n in (1001, 1002))
        page_observations.write(
            tx, {one: (AT, "a", {"status": 200}), two: (AT, "a", {"status": 404})}
        )
    with pair.write(NOW) as tx:
        page_observations.write(tx, {one: (AT + 10, "a", {"status": 200, "time": 2})})
    assert spans(pair, one) == [(AT, AT + 10, 1, "a", {"status": 200, "time": 2})]
    assert spans(pair, two) == [(AT, AT, 1, "a", {"status": 404})], "the other is unchanged"
    with pair.write(NOW) as tx:
        page_observations.seen_again(tx, [(one, AT + 20)])
        page_observations.seen_again(tx, [])
    assert spans(pair, one)[0][:2] == (AT, AT + 20)
    assert spans(pair, two)[0][:2] == (AT, AT)
    assert audited(pair, known) == [], "what a scan finds is not a change by an administrator"


def test_changed_page_ends_the_span_and_a_page_that_is_not_expected_ends_it_too(
    pair: Database,
) -> None:
    with pair.write(NOW) as tx:
        one, two = (site(tx, f"shop{n}.example").endpoint_id for n in (1001, 1002))
        page_observations.write(tx, {one: (AT, "a", {}), two: None})
        page_observations.write(tx, {})
    assert spans(pair, two) == [], "nothing ends where nothing was"
    with pair.write(NOW) as tx:
        page_observations.write(tx, {one: (AT + DAY, "b", {"b": 1})})
    assert spans(pair, one) == [(AT, AT, 0, "a", {}), (AT + DAY, AT + DAY, 1, "b", {"b": 1})]
    with pair.write(NOW) as tx:
        page_observations.write(tx, {one: None})
        page_observations.seen_again(tx, [(one, AT + 3 * DAY)])
    assert [s[:3] for s in spans(pair, one)] == [(AT, AT, 0), (AT + DAY, AT + DAY, 0)]
    with pair.write(NOW) as tx:
        page_observations.write(tx, {one: (AT + 4 * DAY, "b", {})})
    assert len(spans(pair, one)) == 3, "an ended span does not begin again"


def test_visited_endpoints_are_of_one_client_and_of_one_time(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (site(tx, f"shop{n}.example") for n in (1001, 1002))
        page_observations.write(tx, {one.endpoint_id: (AT, "a", {})})
        page_observations.write(tx, {two.endpoint_id: (AT + DAY, "a", {})})
        page_observations.write(tx, {one.endpoint_id: None})
        conn = tx.conn
        assert page_observations.visited(conn) == {two.endpoint_id}
        assert page_observations.visited(conn, client_id=one.client_id) == frozenset()
        assert page_observations.visited(conn, at=AT - 1) == frozenset()
        assert page_observations.visited(conn, at=AT) == {one.endpoint_id}
        assert page_observations.visited(conn, at=AT + DAY) == {one.endpoint_id, two.endpoint_id}
        assert page_observations.visited(conn, AT + DAY, two.client_id) == {two.endpoint_id}
        assert page_observations.visited(conn, AT + DAY, 999) == frozenset()


def test_several_hundred_spans_go_on_in_one_call_and_an_exception_takes_them_back(
    pair: Database,
) -> None:
    with pair.write(NOW) as tx:
        many_clients(tx, 1001)
        ids = list(tx.conn.scalars(select(Endpoint.id).order_by(Endpoint.id)))
        page_observations.write(tx, {i: (AT, "a", {}) for i in ids})
    with pytest.raises(ZeroDivisionError), pair.write(NOW) as tx:
        page_observations.write(tx, dict.fromkeys(ids))
        raise ZeroDivisionError
    with pair.write(NOW) as tx:
        page_observations.write(tx, {i: (AT + DAY, "a", {}) for i in ids})
        found = tx.conn.execute(select(PageObservation)).all()
    assert len(found) == len(ids) == 1003
    assert {(r.open, r.first_seen, r.last_seen) for r in found} == {(1, AT, AT + DAY)}
