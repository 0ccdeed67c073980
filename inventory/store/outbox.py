"""The queue of notices.

What is durable before what:

1. A notice and its items are written in the transaction of the decision; the items' unique key
   keeps a second one out.
2. ``lease``: a worker takes queued rows under a unique token, for a time.
3. ``begin``: committed just before the call that may send, by the token's holder alone, and only
   while its lease lasts.
4. ``finish``: what became of it.

A worker that dies or sleeps leaves a leased row, which is queued again when its lease ends (nothing
was sent), or a sending row, which becomes unknown: it may have arrived. Unknown is never sent again
by itself; a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, insert_id, upsert
from inventory.models import DroppedItem, Notice, SentItem, Ticket
from inventory.records import (
    NoticeRecord,
)

WAITING = ("queued", "leased")
LIVE = ("queued", "leased", "sending", "sent", "unknown")


def add(tx: Tx, values: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> int | None:
    """Queues one notice with its items.

    None if every item was sent before (another run was faster): then nothing is queued.
    """
    key = insert_id(tx.conn, Notice, dict(values) | {"state": "queued", "created_at": tx.at})
    notice_id = key
    new = 0
    for item in items:
        statement = upsert(tx.conn, SentItem).values(dict(item) | {"notice_id": notice_id})
        new += (
            tx.conn.execute(statement.on_conflict_do_nothing().returning(SentItem.id)).first()
            is not None
        )
    if not new:
        tx.conn.execute(delete(Notice).where(Notice.id == notice_id))
        return None
    return notice_id


def recover(tx: Tx) -> tuple[int, int]:
    """(rows queued again, rows that became unknown) of workers whose lease has ended."""
    again = tx.conn.execute(
        update(Notice)
        .where(Notice.state == "leased", Notice.lease_until < tx.at)
        .values(state="queued", token=None, lease_until=None)
    )
    lost = tx.conn.execute(
        update(Notice)
        .where(Notice.state == "sending", Notice.lease_until < tx.at)
        .values(
            state="unknown", error="the process that sent it ended, or stood still, before it knew"
        )
    )
    return again.rowcount, lost.rowcount


def lease(tx: Tx, channel: str, token: str, seconds: int, limit: int) -> list[NoticeRecord]:
    """Takes up to ``limit`` queued rows of a channel that are due, oldest first."""
    ids = select(Notice.id).where(
        Notice.state == "queued", Notice.channel == channel, Notice.next_at <= tx.at
    )
    ids = ids.order_by(Notice.next_at, Notice.id).limit(limit)
    if tx.conn.dialect.name == "postgresql":
        ids = ids.with_for_update(skip_locked=True)
    taken = list(tx.conn.scalars(ids))
    if not taken:
        return []
    tx.conn.execute(
        update(Notice)
        .where(Notice.id.in_(taken), Notice.state == "queued")
        .values(state="leased", token=token, lease_until=tx.at + seconds)
    )
    rows = select(Notice).where(Notice.id.in_(taken), Notice.token == token).order_by(Notice.id)
    return fetch(tx.conn, NoticeRecord, rows)


def begin(tx: Tx, notice_id: int, token: str, seconds: int) -> bool:
    """Committed just before the call. False where the lease was lost: then it must not be sent."""
    done = tx.conn.execute(
        update(Notice)
        .where(
            Notice.id == notice_id,
            Notice.state == "leased",
            Notice.token == token,
            Notice.lease_until >= tx.at,
        )
        .values(state="sending", lease_until=tx.at + seconds, attempts=Notice.attempts + 1)
    )
    return done.rowcount == 1


def finish(tx: Tx, notice_id: int, token: str, state: str, /, **values: Any) -> bool:
    """``state``: sent, unknown, queued (with next_at), failed or dead.

    A worker that slept past its lease may still record that it was sent.
    """
    before = ("sending", "unknown") if state == "sent" else ("sending", "leased")
    changes = {
        "state": state,
        "sent_at": tx.at if state == "sent" else None,
        "lease_until": None,
        **values,
    }
    done = tx.conn.execute(
        update(Notice)
        .where(Notice.id == notice_id, Notice.token == token, Notice.state.in_(before))
        .values(changes)
    )
    return done.rowcount == 1


def give_back(tx: Tx, token: str) -> None:
    """Rows that a worker took and did not come to."""
    tx.conn.execute(
        update(Notice)
        .where(Notice.token == token, Notice.state == "leased")
        .values(state="queued", token=None, lease_until=None)
    )


def drop(tx: Tx, ids: Sequence[int], reason: str, *, trace: bool = True) -> None:
    """Notices that are not sent any more.

    Their items go, so that what is still due is decided anew. ``trace`` False: one that was never
    tried leaves no row.

    The state is asked for in the change itself: a row that another machine begins to send in this
    moment stays what it is.
    """
    gone: list[int] = []
    for part in chunks(ids):
        change = update(Notice).where(Notice.id.in_(part), Notice.state.in_((*WAITING, "failed")))
        gone += tx.conn.scalars(
            # Why it was not delivered is kept, and not replaced by what follows from it.
            change.values(
                state="dead",
                error=case(
                    (Notice.state == "failed", func.coalesce(Notice.error, reason[:300])),
                    else_=reason[:300],
                ),
            ).returning(Notice.id)
        )
    for part in chunks(gone):
        _keep_items(tx, part)
        ended = select(SentItem.matter_id).where(
            SentItem.notice_id.in_(part), SentItem.step == "resolved"
        )
        tx.conn.execute(
            update(Ticket).where(Ticket.id.in_(ended)).values(closed_at=None)
        )  # the message that it is resolved was not sent after all
        tx.conn.execute(delete(SentItem).where(SentItem.notice_id.in_(part)))
        if not trace:
            never_tried = select(Notice.id).where(Notice.id.in_(part), Notice.attempts == 0)
            tx.conn.execute(delete(DroppedItem).where(DroppedItem.notice_id.in_(never_tried)))
            tx.conn.execute(delete(Notice).where(Notice.id.in_(part), Notice.attempts == 0))
    tx.audit_many("drop", "notice", [(i, {}) for i in gone])


def _keep_items(tx: Tx, ids: Sequence[int]) -> None:
    """Keep what notices were about, before their items are deleted."""
    about = (
        select(SentItem.notice_id, SentItem.matter_id)
        .where(SentItem.notice_id.in_(ids), SentItem.matter_id.is_not(None))
        .distinct()
    )
    kept = upsert(tx.conn, DroppedItem).from_select(["notice_id", "matter_id"], about)
    tx.conn.execute(kept.on_conflict_do_nothing())


RETRIED = "sent again by a person's decision"


def waiting(conn: Connection, before: int) -> list[int]:
    """Client notices that are queued since before that instant, but for those that a person queued
    again.
    """
    query = select(Notice.id).where(
        Notice.state == "queued",
        Notice.kind == "client",
        Notice.created_at < before,
        or_(Notice.error.is_(None), Notice.error != RETRIED),
    )
    return list(conn.scalars(query))


def refused(conn: Connection, before: int) -> list[int]:
    """Client notices that were refused for good, before that instant."""
    return list(
        conn.scalars(
            select(Notice.id).where(
                Notice.state == "failed", Notice.kind == "client", Notice.created_at < before
            )
        )
    )


def depth(conn: Connection) -> dict[str, int]:
    """How many notices there are of each state."""
    return {
        row[0]: row[1]
        for row in conn.execute(select(Notice.state, func.count()).group_by(Notice.state))
    }


def oldest_queued(conn: Connection) -> int | None:
    return conn.execute(
        select(func.min(Notice.created_at)).where(Notice.state.in_(WAITING))
    ).scalar()


def channels_waiting(conn: Connection, at: int) -> list[str]:
    query = select(Notice.channel).where(Notice.state == "queued", Notice.next_at <= at).distinct()
    return sorted(conn.scalars(query))


def retry(tx: Tx, notice_id: int) -> bool:
    """A person's decision: one that failed, or whose result is unknown, is queued again."""
    done = tx.conn.execute(
        update(Notice)
        .where(Notice.id == notice_id, Notice.state.in_(("unknown", "failed")))
        .values(
            state="queued",
            token=None,
            lease_until=None,
            error=RETRIED,
            next_at=tx.at,
            expires_at=tx.at + 3 * 86_400,
        )
    )
    tx.audit("retry", "notice", notice_id)
    return done.rowcount == 1


def bounced(tx: Tx, notice_id: int, reason: str) -> None:
    """It came back: its items go, so that its topics are decided again, for the fallback."""
    tx.conn.execute(
        update(Notice)
        .where(Notice.id == notice_id)
        .values(state="failed", error=f"it came back: {reason}"[:300])
    )
    _keep_items(tx, [notice_id])
    tx.conn.execute(delete(SentItem).where(SentItem.notice_id == notice_id))
