"""The queue of notices: each goes out once, under the lease of one worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.models import Notice, SentItem, Ticket
from inventory.store import notices, outbox
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
    insert_row,
    rows,
)
from tests.inventory.store.chunked import unknown_id
from tests.inventory.store.queued import ids_of, item, values

MINUTE = timedelta(minutes=1)


def state_of(database: Database, notice_id: int) -> tuple[str, str | None, int | None]:
    """(state, token, end of the lease)."""
    row = row_of(database, notice_id)
    return row["state"], row["token"], row["lease_until"]


def row_of(database: Database, notice_id: int) -> Mapping[str, Any]:
    with database.read() as conn:
        return dict(conn.execute(select(Notice).where(Notice.id == notice_id)).mappings().one())


def test_notice_is_queued_once_for_the_same_items(database: Database) -> None:
    with database.write(NOW) as tx:
        first = outbox.add(tx, values(), [item("a"), item("b"), item("a")])
        assert first is not None
        assert outbox.add(tx, values(), [item("b"), item("a")]) is None
        assert outbox.add(tx, values(), []) is None
        second = outbox.add(tx, values(), [item("a"), item("c")])
        others = [
            outbox.add(tx, values(), [item("a", **change)])
            for change in (
                {"contact_id": 2},
                {"step": "staff"},
                {"threshold": "7"},
                {"round": "r"},
            )
        ]
        assert second is not None
        assert None not in others
        assert count(tx.conn, Notice) == 6
        assert [i.subject for i in notices.items_of(tx.conn, first)] == ["a", "b"]
        assert [i.subject for i in notices.items_of(tx.conn, second)] == ["c"]
        assert notices.items_of(tx.conn, unknown_id(0)) == []
    row = row_of(database, first)
    assert (row["state"], row["created_at"], row["attempts"], row["token"]) == (
        "queued",
        AT,
        0,
        None,
    )


def test_exception_leaves_no_notice_and_no_item(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write(NOW) as tx:
        outbox.add(tx, values(), [item("a")])
        raise ZeroDivisionError
    with database.write(NOW) as tx:
        assert (count(tx.conn, Notice), count(tx.conn, SentItem)) == (0, 0)
        assert outbox.add(tx, values(), [item("a")]) is not None, "nothing was queued before"


def test_lease_takes_due_rows_of_one_channel_oldest_first(database: Database) -> None:
    with database.write(NOW) as tx:
        late = add_notice(tx, None, None, next_at=AT)
        early = add_notice(tx, None, None, next_at=AT - 5)
        add_notice(tx, None, None, next_at=AT + 1)
        add_notice(tx, None, None, channel="chat")
        add_notice(tx, None, None, state="failed")
        last = add_notice(tx, None, None, next_at=AT)
        assert outbox.channels_waiting(tx.conn, AT) == ["chat", "mail"]
        assert outbox.channels_waiting(tx.conn, AT - 1) == ["mail"]
        assert outbox.channels_waiting(tx.conn, AT - 6) == []
        taken = outbox.lease(tx, "mail", "w1", 60, 2)
        assert [r.id for r in taken] == [late, early], "the two that are due first, by id"
        assert {(r.state, r.token, r.lease_until) for r in taken} == {
            ("leased", "w1", AT + 60),
        }
        assert [r.id for r in outbox.lease(tx, "mail", "w2", 60, 9)] == [last]
        assert outbox.lease(tx, "mail", "w3", 60, 9) == []
        assert outbox.lease(tx, "fax", "w3", 60, 9) == []
        assert outbox.channels_waiting(tx.conn, AT) == ["chat"]
        assert outbox.depth(tx.conn) == {"queued": 2, "leased": 3, "failed": 1}


def test_only_the_holder_begins_to_send_and_only_once_while_its_lease_lasts(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        row_id = add_notice(tx, None, None)
        assert not outbox.begin(tx, row_id, "w1", 60), "it is not leased"
        outbox.lease(tx, "mail", "w1", 60, 9)
        assert not outbox.begin(tx, row_id, "w2", 60)
        assert not outbox.begin(tx, unknown_id(0), "w1", 60)
    with database.write(NOW + MINUTE + timedelta(seconds=1)) as tx:
        assert not outbox.begin(tx, row_id, "w1", 60), "the lease has ended"
    with database.write(NOW + MINUTE) as tx:
        assert outbox.begin(tx, row_id, "w1", 30)
        assert not outbox.begin(tx, row_id, "w1", 30), "it is being sent"
    assert state_of(database, row_id) == ("sending", "w1", AT + 90)
    assert row_of(database, row_id)["attempts"] == 1


def test_worker_that_lost_its_lease_changes_nothing(database: Database) -> None:
    with database.write(NOW) as tx:
        row_id = add_notice(tx, None, None)
        outbox.lease(tx, "mail", "slow", 60, 9)
    with database.write(NOW + 2 * MINUTE) as tx:
        assert outbox.recover(tx) == (1, 0)
        outbox.lease(tx, "mail", "fast", 60, 9)
        assert not outbox.begin(tx, row_id, "slow", 60)
        for state in ("sent", "failed", "queued"):
            assert not outbox.finish(tx, row_id, "slow", state)
        outbox.give_back(tx, "slow")
    assert state_of(database, row_id) == ("leased", "fast", AT + 180)


def test_finished_notice_keeps_what_became_of_it(database: Database) -> None:
    with database.write(NOW) as tx:
        sent, failed, again = (add_notice(tx, None, None) for _ in range(3))
        outbox.lease(tx, "mail", "w", 60, 9)
        for row_id in (sent, failed):
            outbox.begin(tx, row_id, "w", 60)
    with database.write(NOW + MINUTE) as tx:
        assert outbox.finish(tx, sent, "w", "sent", sent_to="a@b.example", smtp_code=250)
        assert outbox.finish(tx, failed, "w", "failed", error="refused", smtp_code=550)
        assert outbox.finish(tx, again, "w", "queued", next_at=AT + DAY), "it was not begun"
        for row_id in (sent, failed, again):
            assert not outbox.finish(tx, row_id, "w", "failed"), "it has ended"
    row = row_of(database, sent)
    assert (row["state"], row["sent_at"], row["sent_to"], row["lease_until"]) == (
        "sent",
        AT + 60,
        "a@b.example",
        None,
    )
    row = row_of(database, failed)
    assert (row["state"], row["sent_at"], row["error"], row["smtp_code"]) == (
        "failed",
        None,
        "refused",
        550,
    )
    row = row_of(database, again)
    assert (row["state"], row["sent_at"], row["next_at"]) == ("queued", None, AT + DAY)


def test_recovery_queues_what_was_leased_and_leaves_unknown_what_was_being_sent(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        leased, sending, other = (add_notice(tx, None, None) for _ in range(3))
        outbox.lease(tx, "mail", "w", 60, 9)
        for row_id in (sending, other):
            outbox.begin(tx, row_id, "w", 60)
    with database.write(NOW + MINUTE) as tx:
        assert outbox.recover(tx) == (0, 0), "the lease lasts to its last second"
    with database.write(NOW + MINUTE + timedelta(seconds=1)) as tx:
        assert outbox.recover(tx) == (1, 2)
        assert outbox.recover(tx) == (0, 0)
        assert outbox.lease(tx, "mail", "x", 60, 9)[0].id == leased
        assert outbox.lease(tx, "mail", "x", 60, 9) == [], "what is unknown is not sent again"
        assert outbox.finish(tx, sending, "w", "sent"), "a late worker may report that it was sent"
        assert not outbox.finish(tx, other, "w", "failed"), "but nothing else"
        assert outbox.recover(tx) == (0, 0)
    assert state_of(database, leased)[:2] == ("leased", "x")
    assert state_of(database, sending)[0] == "sent"
    assert state_of(database, other)[0] == "unknown"
    assert "the process that sent it ended" in row_of(database, other)["error"]


def test_rows_that_a_worker_did_not_come_to_are_given_back(database: Database) -> None:
    with database.write(NOW) as tx:
        begun, left = (add_notice(tx, None, None) for _ in range(2))
        outbox.lease(tx, "mail", "w", 60, 9)
        theirs = add_notice(tx, None, None)
        outbox.lease(tx, "mail", "other", 60, 9)
        outbox.begin(tx, begun, "w", 60)
        outbox.give_back(tx, "w")
    assert state_of(database, left) == ("queued", None, None)
    assert state_of(database, begun) == ("sending", "w", AT + 60)
    assert state_of(database, theirs) == ("leased", "other", AT + 60)


@pytest.fixture
def shared(migrated_postgres: Callable[[], str]) -> Iterator[Database]:
    """PostgreSQL, in which two transactions write at the same moment; SQLite has one writer."""
    opened = open_database(migrated_postgres(), actor="tester")
    yield opened
    opened.close()


def test_workers_at_the_same_moment_lease_different_rows(shared: Database) -> None:
    with shared.write(NOW) as tx:
        ids = [add_notice(tx, None, None) for _ in range(5)]
    with shared.write(NOW) as one, shared.write(NOW) as two:
        first = [r.id for r in outbox.lease(one, "mail", "w1", 60, 3)]
        second = [r.id for r in outbox.lease(two, "mail", "w2", 60, 3)]
        assert (first, second) == (ids[:3], ids[3:])
        assert outbox.lease(two, "mail", "w2", 60, 3) == []
    with shared.read() as conn:
        assert outbox.depth(conn) == {"leased": 5}


def test_dropped_notice_is_not_sent_and_its_subjects_are_decided_again(pair: Database) -> None:
    client_id, contact = ids_of(pair)
    states = ("queued", "leased", "failed", "sending", "sent", "unknown", "dead")
    with pair.write(NOW) as tx:
        ids = {}
        for state in states:
            about = add_ticket(tx, client_id, state)
            ids[state] = add_notice(tx, client_id, contact, about, state=state)
        closed = [add_ticket(tx, client_id, f"closed {i}", closed_at=AT) for i in range(3)]
        insert_row(
            tx,
            SentItem,
            notice_id=ids["queued"],
            **item("x", matter_id=closed[0], step="resolved"),
        )
        insert_row(tx, SentItem, notice_id=ids["queued"], **item("y", matter_id=closed[1]))
        insert_row(
            tx,
            SentItem,
            notice_id=ids["sent"],
            **item("z", matter_id=closed[2], step="resolved"),
        )
    known = entry_count(pair)
    with pair.write(LATER) as tx:
        outbox.drop(tx, [], "nothing")
        outbox.drop(tx, [*ids.values(), unknown_id(0)], "r" * 301)
        outbox.drop(tx, list(ids.values()), "again")
        found = {r["id"]: r for r in rows(tx.conn, Notice)}
        assert {s: found[i]["state"] for s, i in ids.items()} == {
            "queued": "dead",
            "leased": "dead",
            "failed": "dead",
            "sending": "sending",
            "sent": "sent",
            "unknown": "unknown",
            "dead": "dead",
        }
        assert found[ids["queued"]]["error"] == "r" * 300
        assert found[ids["dead"]]["error"] is None
        left = {s for s, i in ids.items() if notices.items_of(tx.conn, i)}
        assert left == {"sending", "sent", "unknown", "dead"}
        still = {r["id"]: r["closed_at"] for r in rows(tx.conn, Ticket)}
    assert [still[i] for i in closed] == [None, AT, AT], "only the unreported end is undone"
    entries = audited(pair, known)
    dropped = {ids["queued"], ids["leased"], ids["failed"]}
    assert {e[:2] for e in entries} == {("drop", "notice")}
    assert {e[2] for e in entries} == dropped
    assert len(entries) == 3


def test_dropped_notice_that_was_never_tried_leaves_no_row_without_a_trace(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        fresh = add_notice(tx, None, None)
        tried = add_notice(tx, None, None, attempts=1)
        sending = add_notice(tx, None, None, state="sending")
        outbox.drop(tx, [fresh, tried, sending], "superseded", trace=False)
        assert [(r["id"], r["state"]) for r in rows(tx.conn, Notice)] == [
            (tried, "dead"),
            (sending, "sending"),
        ]


def test_several_hundred_notices_are_dropped_in_one_call(pair: Database) -> None:
    client_id, contact = ids_of(pair)
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        common = values(client_id=client_id, contact_id=contact, state="queued", created_at=AT)
        tx.conn.execute(insert(Notice), [common] * 1001)
        ids = list(tx.conn.scalars(select(Notice.id).order_by(Notice.id)))
        tx.conn.execute(
            insert(SentItem),
            [item(str(i), contact) | {"notice_id": i} for i in ids],
        )
        subjects = [str(i) for i in ids]
        assert set(notices.last_about(tx.conn, subjects)) == set(subjects)
        assert len(notices.sent_about(tx.conn, subjects)) == 1001
        outbox.drop(tx, ids, "superseded")
        assert outbox.depth(tx.conn) == {"dead": 1001}
        assert count(tx.conn, SentItem) == 0
    assert len(audited(pair, known)) == 1001


def test_only_a_failed_or_unknown_notice_is_queued_again_by_a_person(database: Database) -> None:
    states = ("queued", "leased", "sending", "sent", "unknown", "failed", "dead")
    with database.write(NOW) as tx:
        stale = {"token": "w", "lease_until": AT, "error": "refused", "next_at": AT - DAY}
        ids = {s: add_notice(tx, None, None, state=s, **stale) for s in states}
    with database.write(LATER) as tx:
        assert {s for s, i in ids.items() if outbox.retry(tx, i)} == {"unknown", "failed"}
        assert not outbox.retry(tx, unknown_id(0))
        assert not outbox.retry(tx, ids["failed"]), "it is queued already"
    row = row_of(database, ids["unknown"])
    assert (row["state"], row["token"], row["lease_until"]) == ("queued", None, None)
    assert (row["next_at"], row["expires_at"]) == (AT + DAY, AT + 4 * DAY)
    assert row["error"] == outbox.RETRIED
    assert row_of(database, ids["sent"])["error"] == "refused"
    assert ("retry", "notice", ids["failed"], {}) in audited(database)
    with database.write(LATER) as tx:
        queued = [ids["unknown"], ids["failed"]]
        waits = outbox.waiting(tx.conn, AT + 9 * DAY)
    assert waits == [ids["queued"]], "what a person queued again is not dropped for its age"
    assert set(queued).isdisjoint(waits)


def test_bounced_notice_is_failed_and_its_items_are_decided_again(pair: Database) -> None:
    client_id, contact = ids_of(pair)
    with pair.write(NOW) as tx:
        first, second = add_ticket(tx, client_id, "a"), add_ticket(tx, client_id, "b")
        back = add_notice(tx, client_id, contact, first, state="sent")
        kept = add_notice(tx, client_id, contact, second, state="sent")
        outbox.bounced(tx, back, "x" * 400)
        assert (notices.items_of(tx.conn, back), len(notices.items_of(tx.conn, kept))) == ([], 1)
    row = row_of(pair, back)
    assert row["state"] == "failed"
    assert row["error"] == ("it came back: " + "x" * 400)[:300]
    assert row_of(pair, kept)["state"] == "sent"
