"""Notices that were queued: which ones are listed, counted and known."""

from __future__ import annotations

from sqlalchemy import update

from inventory.db.database import Database
from inventory.models import Notice, SentItem
from inventory.store import notices, outbox
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_notice,
    add_ticket,
    insert_row,
    site,
)
from tests.inventory.store.chunked import across_chunks
from tests.inventory.store.queued import ids_of, item, values


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
        assert [(r.id, r.contact) for r in mine] == [(second, "Owner 1001"), (first, "Owner 1001")]
        assert {"text", "html"}.isdisjoint(mine[0].as_dict())
        assert [r.id for r in notices.listing(conn, states=("sent", "dead"))] == [second]
        assert [r.id for r in notices.listing(conn, states=("queued",), client_id=two)] == [theirs]
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
            tx, values(**common), [item("a", contact, threshold="7", step="fallback")]
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
        same = add_ticket(tx, one, "cover", **place)
        domain_only = add_ticket(tx, one, "deadline", domain_id=mine.domain_id)
        moved = add_ticket(
            tx, two, "moved", **place
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
                tx, SentItem, notice_id=notice_id, **item("order:1", contact, round=str(notice_id))
            )
        about = notices.about_topic(conn, "order:1", one)
        assert [(r.id, r.contact) for r in about] == [(second, "Owner 1001"), (first, "Owner 1001")]
        assert [r.id for r in notices.about_topic(conn, "order:1", one, limit=1)] == [second]
        assert [r.id for r in notices.about_topic(conn, "order:1", two)] == [before]
        assert notices.about_topic(conn, "order:2", one) == []
