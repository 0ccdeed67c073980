"""The queue of notices: each goes out once, under the lease of one worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.models import Notice, SentItem, Ticket
from inventory.store import clients, contacts, notices, outbox
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
    insert_row,
    rows,
    site,
    unknown_id,
)

MINUTE = timedelta(minutes=1)


def values(**columns: Any) -> dict[str, Any]:
    """The columns that a decision gives to a notice."""
    return {
        "contact_id": None,
        "client_id": None,
        "kind": "client",
        "reference": "CM-7KQ4X2",
        "secret": "s",
        "outcome": "you-act",
        "channel": "mail",
        "subject": "Your certificate",
        "text": "It ends.",
        "html": "<p>It ends.",
        "next_at": AT,
        "expires_at": AT + DAY,
    } | columns


def item(subject: str, contact_id: int = 1, **columns: Any) -> dict[str, Any]:
    return {
        "contact_id": contact_id,
        "subject": subject,
        "step": "owner",
        "threshold": "30",
        "round": "",
        "matter_id": None,
    } | columns


def state_of(database: Database, notice_id: int) -> tuple[str, str | None, int | None]:
    """(state, token, end of the lease)."""
    row = row_of(database, notice_id)
    return row["state"], row["token"], row["lease_until"]


def row_of(database: Database, notice_id: int) -> Mapping[str, Any]:
    with database.read() as conn:
        return dict(conn.execute(select(Notice).where(Notice.id == notice_id)).mappings().one())


def ids_of(database: Database, name: str = "1001") -> tuple[int, int]:
    """(client id, id of its contact)."""
    with database.read() as conn:
        client_id = clients.find(conn, name).id
        return client_id, contacts.find(conn, f"Owner {name}").id


# -- queueing ----------------------------------------------------------------------------


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
                {"step": "oncall"},
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


# -- leases ------------------------------------------------------------------------------


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
def shared(new_postgres: Callable[[], str]) -> Iterator[Database]:
    """PostgreSQL, in which two transactions write at the same moment; SQLite has one writer."""
    opened = open_database(new_postgres(), actor="tester", migrate=True)
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


# -- dropping, retrying, bounces ---------------------------------------------------------


def test_dropped_notice_is_not_sent_and_its_subjects_are_decided_again(pair: Database) -> None:
    client_id, contact = ids_of(pair)
    states = ("queued", "leased", "failed", "sending", "sent", "unknown", "dead")
    with pair.write(NOW) as tx:
        ids = {}
        for state in states:
            about = add_matter(tx, client_id, state)
            ids[state] = add_notice(tx, client_id, contact, about, state=state)
        closed = [add_matter(tx, client_id, f"closed {i}", closed_at=AT) for i in range(3)]
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
        first, second = add_matter(tx, client_id, "a"), add_matter(tx, client_id, "b")
        back = add_notice(tx, client_id, contact, first, state="sent")
        kept = add_notice(tx, client_id, contact, second, state="sent")
        outbox.bounced(tx, back, "x" * 400)
        assert (notices.items_of(tx.conn, back), len(notices.items_of(tx.conn, kept))) == ([], 1)
    row = row_of(pair, back)
    assert row["state"] == "failed"
    assert row["error"] == ("it came back: " + "x" * 400)[:300]
    assert row_of(pair, kept)["state"] == "sent"


def test_notice_is_found_by_its_mark_only_with_its_secret(database: Database) -> None:
    with database.write(NOW) as tx:
        row_id = add_notice(tx, None, None, secret="abc.d")
    with database.read() as conn:
        found = notices.by_mark(conn, f"{row_id}.abc.d")
        assert found is not None
        assert found.id == row_id
        wrong = [
            "",
            ".",
            f"{row_id}",
            f"{row_id}.",
            f"{row_id}.abc",
            f"{row_id + 1}.abc.d",
            "x.abc.d",
        ]
        wrong += ["-1.abc.d", f"{'9' * 19}.abc.d", "\u0661.abc.d", f" {row_id}.abc.d"]
        for mark in wrong:
            assert notices.by_mark(conn, mark) is None, mark


# -- what is asked of the queue ----------------------------------------------------------


def test_waiting_and_refused_notices_are_those_to_clients_before_an_instant(
    database: Database,
) -> None:
    with database.read() as conn:
        assert outbox.oldest_queued(conn) is None
        assert outbox.depth(conn) == {}
    with database.write(NOW) as tx:
        old = add_notice(tx, None, None, created_at=AT - 2, error="first try failed")
        add_notice(tx, None, None, created_at=AT)
        add_notice(tx, None, None, created_at=AT - 3, kind="digest")
        add_notice(tx, None, None, created_at=AT - 9, state="sent")
        leased = add_notice(tx, None, None, created_at=AT - 8, state="leased")
        failed = add_notice(tx, None, None, created_at=AT - 1, state="failed")
        add_notice(tx, None, None, created_at=AT - 1, state="failed", kind="alarm")
        add_notice(tx, None, None, created_at=AT, state="failed")
        conn = tx.conn
        assert outbox.waiting(conn, AT) == [old]
        assert outbox.refused(conn, AT) == [failed]
        assert outbox.oldest_queued(conn) == AT - 8
        conn.execute(update(Notice).where(Notice.id == leased).values(state="sent"))
        assert outbox.oldest_queued(conn) == AT - 3


def test_only_sent_notices_after_a_time_are_counted(database: Database) -> None:
    with database.write(NOW) as tx:
        assert notices.count_sent(tx.conn, 0) == 0
        for at in (AT - 1, AT, AT + 1, AT + 2):
            add_notice(tx, None, None, state="sent", sent_at=at)
        add_notice(tx, None, None, state="failed", sent_at=AT + 9)
        add_notice(tx, None, None)
        assert notices.count_sent(tx.conn, AT) == 2
        assert notices.count_sent(tx.conn, AT + 2) == 0


def test_listing_is_of_one_client_newest_first_and_without_bodies(pair: Database) -> None:
    one, owner = ids_of(pair)
    two, other = ids_of(pair, "1002")
    with pair.write(NOW) as tx:
        first = add_notice(tx, one, owner)
        second = add_notice(tx, one, owner, state="sent")
        theirs = add_notice(tx, two, other)
        staff = add_notice(tx, None, None, kind="digest")
        conn = tx.conn
        assert [r.id for r in notices.listing(conn)] == [staff, theirs, second, first]
        mine = notices.listing(conn, client_id=one)
        assert [(r.id, r.contact) for r in mine] == [
            (second, "Owner 1001"),
            (first, "Owner 1001"),
        ]
        assert {"text", "html"}.isdisjoint(mine[0].as_dict())
        assert [r.id for r in notices.listing(conn, states=("sent", "dead"))] == [second]
        assert [r.id for r in notices.listing(conn, states=("queued",), client_id=two)] == [
            theirs,
        ]
        assert [r.id for r in notices.listing(conn, limit=1)] == [staff]
        (whole,) = notices.with_texts(conn, [staff])
        assert (whole.text, whole.html, whole.contact) == ("It ends.", "<p>It ends.", None)
        assert notices.with_texts(conn, [theirs], client_id=one) == []
        assert notices.with_texts(conn, []) == []


def test_what_was_queued_is_known_by_subject_and_round(pair: Database) -> None:
    client_id, contact = ids_of(pair)
    common = {"client_id": client_id, "contact_id": contact}
    with pair.write(NOW) as tx:
        outbox.add(tx, values(**common), [item("a", contact), item("b", contact)])
    with pair.write(LATER) as tx:
        second = outbox.add(
            tx,
            values(**common),
            [item("a", contact, threshold="7", step="fallback")],
        )
        outbox.add(tx, values(kind="digest"), [item("digest", 5, round="2026-03-02")])
        assert second is not None
        tx.conn.execute(update(Notice).where(Notice.id == second).values(state="dead"))
        conn = tx.conn
        queued = notices.sent_about(conn)
        assert set(queued) == {("a", ""), ("b", ""), ("digest", "2026-03-02")}
        assert sorted(queued["a", ""]) == [
            (contact, "fallback", "7", AT + DAY, "dead"),
            (contact, "owner", "30", AT, "queued"),
        ]
        assert list(notices.sent_about(conn, across_chunks(["x", "y", "b"], str))) == [("b", "")]
        assert notices.sent_about(conn, []) == {}
        assert notices.last_about(conn, across_chunks(["a", "y", "b"], str)) == {
            "a": AT + DAY,
            "b": AT,
        }
        assert notices.last_about(conn, []) == {}
        assert notices.last_to_contacts(conn) == {contact: AT}, "a dropped one does not count"
        assert notices.digest_sent(conn, 5, "2026-03-02")
        assert not notices.digest_sent(conn, 5, "2026-03-03")
        outbox.add(tx, values(), [item("other", 5, round="2026-03-03")])
        assert not notices.digest_sent(conn, 5, "2026-03-03"), "that was about something else"
        assert not notices.digest_sent(conn, contact, "2026-03-02")


def test_last_notice_to_a_contact_counts_client_notices_that_may_have_arrived(
    pair: Database,
) -> None:
    one, owner = ids_of(pair)
    with pair.write(NOW) as tx:
        for i, state in enumerate(("queued", "leased", "sending", "sent", "unknown")):
            add_notice(tx, one, owner, state=state, created_at=AT + i)
            assert notices.last_to_contacts(tx.conn) == {owner: AT + i}
        for state in ("failed", "dead"):
            add_notice(tx, one, owner, state=state, created_at=AT + 99)
        add_notice(tx, None, owner, kind="alarm", created_at=AT + 99)
        add_notice(tx, one, None, created_at=AT + 99)
        assert notices.last_to_contacts(tx.conn) == {owner: AT + 4}


def test_notices_about_a_subject_never_include_another_client(pair: Database) -> None:
    one, owner = ids_of(pair)
    two, other = ids_of(pair, "1002")
    with pair.write(NOW) as tx:
        mine, theirs = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        place = {"endpoint_id": mine.endpoint_id, "domain_id": mine.domain_id}
        same = add_matter(tx, one, "cover", **place)
        domain_only = add_matter(tx, one, "deadline", domain_id=mine.domain_id)
        moved = add_matter(
            tx,
            two,
            "moved",
            **place,
        )  # the domain belonged to the other client before
        first = add_notice(tx, one, owner, same, domain_only)
        second = add_notice(tx, one, owner, domain_only, state="sent", sent_at=AT)
        before = add_notice(tx, two, other, moved)
        conn = tx.conn
        sent = notices.about_domain(conn, one, mine.endpoint_id, mine.domain_id)
        assert [(r.id, r.state, r.sent_at) for r in sent] == [
            (second, "sent", AT),
            (first, "queued", None),
        ]
        found = notices.about_domain(conn, one, mine.endpoint_id, mine.domain_id, 1)
        assert [r.id for r in found] == [second]
        assert [r.id for r in notices.about_domain(conn, one, None, mine.domain_id)] == [
            second,
            first,
        ]
        assert [r.id for r in notices.about_domain(conn, one, mine.endpoint_id, -1)] == [first]
        assert [r.id for r in notices.about_domain(conn, two, None, mine.domain_id)] == [before]
        assert notices.about_domain(conn, two, theirs.endpoint_id, theirs.domain_id) == []

        for notice_id, contact in ((first, owner), (second, owner), (before, other)):
            insert_row(
                tx,
                SentItem,
                notice_id=notice_id,
                **item("order:1", contact, round=str(notice_id)),
            )
        about = notices.about_topic(conn, "order:1", one)
        assert [(r.id, r.contact) for r in about] == [
            (second, "Owner 1001"),
            (first, "Owner 1001"),
        ]
        assert [r.id for r in notices.about_topic(conn, "order:1", one, limit=1)] == [second]
        assert [r.id for r in notices.about_topic(conn, "order:1", two)] == [before]
        assert notices.about_topic(conn, "order:2", one) == []
