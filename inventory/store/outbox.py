"""The queue of notices.

What is durable before what:

1. A notice and its items are written in the transaction of the decision. The unique key of the
   items prevents a second notice.
2. ``lease``: a worker takes queued rows under a unique token, for a time.
3. ``begin``: committed directly before the call that may send, only by the holder of the token,
   and only while its lease lasts.
4. ``finish``: the delivery status.

A worker that dies or sleeps leaves a leased row, which is queued again when its lease ends (nothing
was sent), or a sending row, which becomes unknown: it may have arrived. A notice with an unknown
status is never sent again automatically; a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from sqlalchemy import (
    Connection,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, insert_id, upsert
from inventory.models import DroppedItem, Notice, SentItem, Ticket
from inventory.records import (
    NoticeRecord,
)
from inventory.vocabulary import ItemStep, NoticeKind

WAITING = ("queued", "leased")
LIVE = ("queued", "leased", "sending", "sent", "unknown")


def add(tx: Tx, values: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> int | None:
    """Queue one notice with its items, and return its id.

    Returns:
        None if each item was queued before, by a run that was faster. Then nothing is queued.
    """
    # The notice first, because its items refer to it.
    key = insert_id(tx.conn, Notice, dict(values) | {"state": "queued", "created_at": tx.at})
    notice_id = key
    new = 0
    for item in items:
        statement = upsert(tx.conn, SentItem).values(dict(item) | {"notice_id": notice_id})
        new += (
            tx.conn.execute(statement.on_conflict_do_nothing().returning(SentItem.id)).first()
            is not None
        )
    # A message without a new item would repeat what its reader has.
    if not new:
        tx.conn.execute(delete(Notice).where(Notice.id == notice_id))
        return None
    return notice_id


def recover(tx: Tx) -> tuple[int, int]:
    """Recover the rows of workers whose lease has ended.

    Returns:
        The number of rows that were queued again, and of those that became unknown.
    """
    again = tx.conn.execute(
        update(Notice)
        # Nothing was sent: "sending" is committed before each call.
        .where(Notice.state == "leased", Notice.lease_until < tx.at)
        .values(state="queued", token=None, lease_until=None)
    )
    lost = tx.conn.execute(
        update(Notice)
        # It may have arrived. Sending it again could notify twice, and dropping it could lose it.
        .where(Notice.state == "sending", Notice.lease_until < tx.at)
        .values(
            state="unknown",
            error="the process that sent it ended or was suspended before the server replied",
        )
    )
    return again.rowcount, lost.rowcount


def lease(tx: Tx, channel: str, token: str, seconds: int, limit: int) -> list[NoticeRecord]:
    """Take up to ``limit`` queued rows of a channel that are due, the oldest first."""
    ids = select(Notice.id).where(
        Notice.state == "queued", Notice.channel == channel, Notice.next_at <= tx.at
    )
    ids = ids.order_by(Notice.next_at, Notice.id).limit(limit)
    if tx.conn.dialect.name == "postgresql":
        # Two workers take different rows instead of waiting for each other. SQLite has one writer.
        ids = ids.with_for_update(skip_locked=True)
    taken = list(tx.conn.scalars(ids))
    if not taken:
        return []
    tx.conn.execute(
        update(Notice)
        .where(Notice.id.in_(taken), Notice.state == "queued")
        .values(state="leased", token=token, lease_until=tx.at + seconds)
    )
    # Read back by the token: a row that another worker took in between is not ours.
    rows = select(Notice).where(Notice.id.in_(taken), Notice.token == token).order_by(Notice.id)
    return fetch(tx.conn, NoticeRecord, rows)


def begin(tx: Tx, notice_id: int, token: str, seconds: int) -> bool:
    """Record that the message is handed over now; committed directly before the call.

    Returns:
        False if the lease was lost. Then the message must not be sent.
    """
    done = tx.conn.execute(
        update(Notice)
        .where(
            Notice.id == notice_id,
            Notice.state == "leased",
            Notice.token == token,
            # A worker that was suspended for longer than its lease sends nothing: another may have
            # sent it.
            Notice.lease_until >= tx.at,
        )
        .values(state="sending", lease_until=tx.at + seconds, attempts=Notice.attempts + 1)
    )
    return done.rowcount == 1


class DeliveryColumns(TypedDict, total=False):
    """What a delivery records besides the state. ``next_at`` is the time of the next attempt."""

    smtp_code: int | None
    error: str | None
    sent_to: str | None
    next_at: Timestamp
    token: str | None


def finish(
    tx: Tx, notice_id: int, token: str, state: str, /, **values: Unpack[DeliveryColumns]
) -> bool:
    """Record the delivery status, and return whether the row was still the worker's.

    Args:
        tx: The transaction.
        notice_id: The notice.
        token: The token of the lease.
        state: sent, unknown, queued (with ``next_at``), failed or dead.
        **values: Further columns.
    """
    # A worker that slept past its lease may still record that the message was sent: it knows better
    # than the worker that marked it as unknown.
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
    """Put the rows back that a worker leased and did not begin to send."""
    tx.conn.execute(
        update(Notice)
        .where(Notice.token == token, Notice.state == "leased")
        .values(state="queued", token=None, lease_until=None)
    )


def drop(tx: Tx, ids: Sequence[int], reason: str, *, trace: bool = True) -> int:
    """Drop notices that are not sent any more, and return their number.

    Their items are deleted, so that what is still due is decided again.

    Args:
        tx: The transaction.
        ids: The notices.
        reason: Why.
        trace: Whether a notice that was never attempted leaves a row.
    """
    gone: list[int] = []
    for part in chunks(ids):
        # The state is part of the change itself: a row that another machine begins to send at this
        # moment stays as it is.
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
            SentItem.notice_id.in_(part), SentItem.step == ItemStep.RESOLVED
        )
        # The message that it is resolved was not sent after all.
        tx.conn.execute(update(Ticket).where(Ticket.id.in_(ended)).values(closed_at=None))
        tx.conn.execute(delete(SentItem).where(SentItem.notice_id.in_(part)))
        # A digest must not list every notice that waited for a minute and was decided again.
        if not trace:
            never_tried = select(Notice.id).where(Notice.id.in_(part), Notice.attempts == 0)
            tx.conn.execute(delete(DroppedItem).where(DroppedItem.notice_id.in_(never_tried)))
            tx.conn.execute(delete(Notice).where(Notice.id.in_(part), Notice.attempts == 0))
    tx.audit_many("drop", "notice", [(i, {}) for i in gone])
    return len(gone)


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


def waiting(conn: Connection, before: Timestamp) -> list[int]:
    """Return the notices to clients that have been queued since before a time (epoch seconds).

    Those that a person queued again are left out: they are not decided again.
    """
    query = select(Notice.id).where(
        Notice.state == "queued",
        Notice.kind == NoticeKind.CLIENT,
        Notice.created_at < before,
        or_(Notice.error.is_(None), Notice.error != RETRIED),
    )
    return list(conn.scalars(query))


def refused(conn: Connection, before: Timestamp) -> list[int]:
    """Return the notices to clients that were queued before a time, and refused permanently."""
    return list(
        conn.scalars(
            select(Notice.id).where(
                Notice.state == "failed",
                Notice.kind == NoticeKind.CLIENT,
                Notice.created_at < before,
            )
        )
    )


def depth(conn: Connection) -> dict[str, int]:
    """Return the number of notices by state."""
    return {
        row[0]: row[1]
        for row in conn.execute(select(Notice.state, func.count()).group_by(Notice.state))
    }


def oldest_queued(conn: Connection) -> int | None:
    """Return since when the oldest notice waits, in epoch seconds; None if none does."""
    return conn.execute(
        select(func.min(Notice.created_at)).where(Notice.state.in_(WAITING))
    ).scalar()


def channels_waiting(conn: Connection, at: Timestamp) -> list[str]:
    """Return the channels that have a notice to send by a time, sorted."""
    query = select(Notice.channel).where(Notice.state == "queued", Notice.next_at <= at).distinct()
    return sorted(conn.scalars(query))


def retry(tx: Tx, notice_id: int) -> bool:
    """Queue a notice again that failed or whose status is unknown, as a person decided.

    Returns:
        False if the notice is in another state.
    """
    done = tx.conn.execute(
        update(Notice)
        .where(Notice.id == notice_id, Notice.state.in_(("unknown", "failed")))
        .values(
            state="queued",
            token=None,
            lease_until=None,
            error=RETRIED,
            next_at=tx.at,
            # Its first expiry has usually passed by the time a person decides.
            expires_at=tx.at + 3 * 86_400,
        )
    )
    tx.audit("retry", "notice", notice_id)
    return done.rowcount == 1


def bounced(tx: Tx, notice_id: int, reason: str) -> None:
    """Record a bounce. Its items are deleted, so that the fallback contact is notified."""
    tx.conn.execute(
        update(Notice)
        .where(Notice.id == notice_id)
        .values(state="failed", error=f"it came back: {reason}"[:300])
    )
    # What it was about stays known: the history of the domain shows that the client was not
    # reached.
    _keep_items(tx, [notice_id])
    tx.conn.execute(delete(SentItem).where(SentItem.notice_id == notice_id))
