"""The queue of notices.

What is durable before what:

1. A notice and its items are written in the transaction of the decision; the items' unique key
   keeps a second one out.
2. ``lease``: a worker takes queued rows under a token of its own, for a time.
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

from sqlalchemy import Connection, func, insert, or_, select, update

from inventory.db.database import Tx
from inventory.models.tables import contact, matter, notice, notice_item
from inventory.store.records import Row
from inventory.store.scan_results import upsert

WAITING = ("queued", "leased")
LIVE = ("queued", "leased", "sending", "sent", "unknown")


def add(tx: Tx, values: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> int | None:
    """Queues one notice with its items.

    None where every item was said before (another run was faster): then nothing is queued.
    """
    key = tx.conn.execute(
        insert(notice).values(dict(values) | {"state": "queued", "created_at": tx.at})
    ).inserted_primary_key
    assert key is not None
    notice_id = int(key[0])
    new = 0
    for item in items:
        statement = upsert(tx.conn, notice_item).values(dict(item) | {"notice_id": notice_id})
        new += (
            tx.conn.execute(statement.on_conflict_do_nothing().returning(notice_item.c.id)).first()
            is not None
        )
    if not new:
        tx.conn.execute(notice.delete().where(notice.c.id == notice_id))
        return None
    return notice_id


def recover(tx: Tx) -> tuple[int, int]:
    """(rows queued again, rows that became unknown) of workers whose lease has ended."""
    again = tx.conn.execute(
        update(notice)
        .where(notice.c.state == "leased", notice.c.lease_until < tx.at)
        .values(state="queued", token=None, lease_until=None)
    )
    lost = tx.conn.execute(
        update(notice)
        .where(notice.c.state == "sending", notice.c.lease_until < tx.at)
        .values(
            state="unknown", error="the process that sent it ended, or stood still, before it knew"
        )
    )
    return again.rowcount, lost.rowcount


def lease(tx: Tx, channel: str, token: str, seconds: int, limit: int) -> list[Row]:
    """Takes up to ``limit`` queued rows of a channel that are due, oldest first."""
    ids = select(notice.c.id).where(
        notice.c.state == "queued", notice.c.channel == channel, notice.c.next_at <= tx.at
    )
    ids = ids.order_by(notice.c.next_at, notice.c.id).limit(limit)
    if tx.conn.dialect.name == "postgresql":
        ids = ids.with_for_update(skip_locked=True)
    taken = list(tx.conn.scalars(ids))
    if not taken:
        return []
    tx.conn.execute(
        update(notice)
        .where(notice.c.id.in_(taken), notice.c.state == "queued")
        .values(state="leased", token=token, lease_until=tx.at + seconds)
    )
    rows = tx.conn.execute(
        select(notice).where(notice.c.id.in_(taken), notice.c.token == token).order_by(notice.c.id)
    ).mappings()
    return [dict(r) for r in rows]


def begin(tx: Tx, notice_id: int, token: str, seconds: int) -> bool:
    """Committed just before the call. False where the lease was lost: then it must not be sent."""
    done = tx.conn.execute(
        update(notice)
        .where(
            notice.c.id == notice_id,
            notice.c.state == "leased",
            notice.c.token == token,
            notice.c.lease_until >= tx.at,
        )
        .values(state="sending", lease_until=tx.at + seconds, attempts=notice.c.attempts + 1)
    )
    return done.rowcount == 1


def finish(tx: Tx, notice_id: int, token: str, state: str, /, **values: Any) -> bool:
    """``state``: sent, unknown, queued (with next_at), failed or dead.

    A worker that slept past its lease may still say that it was sent.
    """
    before = ("sending", "unknown") if state == "sent" else ("sending", "leased")
    changes = {
        "state": state,
        "sent_at": tx.at if state == "sent" else None,
        "lease_until": None,
        **values,
    }
    done = tx.conn.execute(
        update(notice)
        .where(notice.c.id == notice_id, notice.c.token == token, notice.c.state.in_(before))
        .values(changes)
    )
    return done.rowcount == 1


def give_back(tx: Tx, token: str) -> None:
    """Rows that a worker took and did not come to."""
    tx.conn.execute(
        update(notice)
        .where(notice.c.token == token, notice.c.state == "leased")
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
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        change = update(notice).where(
            notice.c.id.in_(part), notice.c.state.in_((*WAITING, "failed"))
        )
        gone += tx.conn.scalars(
            change.values(state="dead", error=reason[:300]).returning(notice.c.id)
        )
    for start in range(0, len(gone), 500):
        part = gone[start : start + 500]
        ended = select(notice_item.c.matter_id).where(
            notice_item.c.notice_id.in_(part), notice_item.c.step == "resolved"
        )
        tx.conn.execute(
            update(matter).where(matter.c.id.in_(ended)).values(closed_at=None)
        )  # that it is done was not said after all
        tx.conn.execute(notice_item.delete().where(notice_item.c.notice_id.in_(part)))
        if not trace:
            tx.conn.execute(notice.delete().where(notice.c.id.in_(part), notice.c.attempts == 0))
    tx.audit_many("drop", "notice", [(i, {}) for i in gone])


RETRIED = "sent again by a person's decision"


def waiting(conn: Connection, before: int) -> list[int]:
    """Client notices that are queued since before that instant, but for those that a person queued
    again.
    """
    query = select(notice.c.id).where(
        notice.c.state == "queued",
        notice.c.kind == "client",
        notice.c.created_at < before,
        or_(notice.c.error.is_(None), notice.c.error != RETRIED),
    )
    return list(conn.scalars(query))


def refused(conn: Connection, before: int) -> list[int]:
    """Client notices that were refused for good, before that instant."""
    return list(
        conn.scalars(
            select(notice.c.id).where(
                notice.c.state == "failed", notice.c.kind == "client", notice.c.created_at < before
            )
        )
    )


def depth(conn: Connection) -> dict[str, int]:
    """How many notices there are of each state."""
    return {
        row[0]: row[1]
        for row in conn.execute(select(notice.c.state, func.count()).group_by(notice.c.state))
    }


def count_sent(conn: Connection, after: int) -> int:
    """Return how many notices were sent after that time."""
    query = select(func.count()).where(notice.c.state == "sent", notice.c.sent_at > after)
    return int(conn.execute(query).scalar() or 0)


def oldest_queued(conn: Connection) -> int | None:
    return conn.execute(
        select(func.min(notice.c.created_at)).where(notice.c.state.in_(WAITING))
    ).scalar()


def channels_waiting(conn: Connection, at: int) -> list[str]:
    query = (
        select(notice.c.channel)
        .where(notice.c.state == "queued", notice.c.next_at <= at)
        .distinct()
    )
    return sorted(conn.scalars(query))


def listing(
    conn: Connection,
    *,
    states: Sequence[str] = (),
    client_id: int | None = None,
    ids: Sequence[int] | None = None,
    limit: int = 500,
) -> list[Row]:
    """Newest first, with the contact's name; without the bodies unless ``ids`` are named."""
    columns = [c for c in notice.c if ids is not None or c.name not in ("text", "html")]
    query = select(*columns, contact.c.name.label("contact")).outerjoin(
        contact, contact.c.id == notice.c.contact_id
    )
    if states:
        query = query.where(notice.c.state.in_(states))
    if client_id is not None:
        query = query.where(notice.c.client_id == client_id)
    if ids is not None:
        query = query.where(notice.c.id.in_(ids))
    return [
        dict(r) for r in conn.execute(query.order_by(notice.c.id.desc()).limit(limit)).mappings()
    ]


def items_of(conn: Connection, notice_id: int) -> list[Row]:
    query = (
        select(notice_item).where(notice_item.c.notice_id == notice_id).order_by(notice_item.c.id)
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def said(
    conn: Connection, subjects: Sequence[str] | None = None
) -> dict[tuple[str, str], list[tuple[int, str, str, int, str]]]:
    """(subject, round) -> what was said or is queued about it: (contact id, step, threshold, when
    queued, state).
    """
    columns = (
        notice_item.c.subject,
        notice_item.c.round,
        notice_item.c.contact_id,
        notice_item.c.step,
        notice_item.c.threshold,
        notice.c.created_at,
        notice.c.state,
    )
    query = select(*columns).join(notice, notice.c.id == notice_item.c.notice_id)
    found: dict[tuple[str, str], list[tuple[int, str, str, int, str]]] = {}
    parts: list[Any] = (
        [query]
        if subjects is None
        else [
            query.where(notice_item.c.subject.in_(subjects[i : i + 500]))
            for i in range(0, len(subjects), 500)
        ]
    )
    for part in parts:
        for subject, round_, contact_id, step, threshold, at, state in conn.execute(part):
            found.setdefault((subject, round_), []).append((contact_id, step, threshold, at, state))
    return found


def last_to_contacts(conn: Connection) -> dict[int, int]:
    """Contact id -> when the last notice to a client was queued for it; those that were dropped do
    not count.
    """
    query = (
        select(notice.c.contact_id, func.max(notice.c.created_at))
        .where(
            notice.c.kind == "client", notice.c.state.in_(LIVE), notice.c.contact_id.is_not(None)
        )
        .group_by(notice.c.contact_id)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def last_said(conn: Connection, subjects: Sequence[str]) -> dict[str, int]:
    """Subject -> when something about it was last queued."""
    found: dict[str, int] = {}
    for start in range(0, len(subjects), 500):
        query = (
            select(notice_item.c.subject, func.max(notice.c.created_at))
            .join(notice, notice.c.id == notice_item.c.notice_id)
            .where(notice_item.c.subject.in_(subjects[start : start + 500]))
            .group_by(notice_item.c.subject)
        )
        found |= {row[0]: row[1] for row in conn.execute(query)}
    return found


def digest_sent(conn: Connection, contact_id: int, day: str) -> bool:
    query = select(notice_item.c.id).where(
        notice_item.c.contact_id == contact_id,
        notice_item.c.subject == "digest",
        notice_item.c.round == day,
    )
    return conn.execute(query.limit(1)).first() is not None


def retry(tx: Tx, notice_id: int) -> bool:
    """A person's decision: one that failed, or of which nobody knows, is queued again."""
    done = tx.conn.execute(
        update(notice)
        .where(notice.c.id == notice_id, notice.c.state.in_(("unknown", "failed")))
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


def by_mark(conn: Connection, mark: str) -> Row | None:
    """The notice that was sent with this mark (id and secret); None for a mark that is none of
    ours.
    """
    number, _, secret = mark.partition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 19 and secret):
        return None
    row = (
        conn.execute(select(notice).where(notice.c.id == int(number), notice.c.secret == secret))
        .mappings()
        .first()
    )
    return None if row is None else dict(row)


def told_about(
    conn: Connection, client_id: int, endpoint_id: int | None, domain_id: int, limit: int = 5
) -> list[Row]:
    """The last notices to this client about an endpoint or domain: id, reference, outcome, state,
    sent_at, acked_at, subject.
    """
    columns = (
        notice.c.id,
        notice.c.reference,
        notice.c.outcome,
        notice.c.state,
        notice.c.sent_at,
        notice.c.created_at,
        notice.c.acked_at,
        notice.c.subject,
    )
    about = or_(
        matter.c.domain_id == domain_id,
        matter.c.endpoint_id == (endpoint_id if endpoint_id is not None else -1),
    )
    query = (
        select(*columns)
        .join(notice_item, notice_item.c.notice_id == notice.c.id)
        .join(matter, matter.c.id == notice_item.c.matter_id)
        .where(notice.c.client_id == client_id, about)
        .distinct()
        .order_by(notice.c.id.desc())
        .limit(limit)
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def about(conn: Connection, subject: str, client_id: int, limit: int = 50) -> list[Row]:
    """Notices to this client about a subject, newest first: id, subject, state, sent_at,
    created_at, contact.
    """
    columns = (
        notice.c.id,
        notice.c.subject,
        notice.c.state,
        notice.c.sent_at,
        notice.c.created_at,
        contact.c.name.label("contact"),
    )
    query = (
        select(*columns)
        .join(notice_item, notice_item.c.notice_id == notice.c.id)
        .outerjoin(contact, contact.c.id == notice.c.contact_id)
        .where(notice_item.c.subject == subject, notice.c.client_id == client_id)
        .distinct()
        .order_by(notice.c.id.desc())
        .limit(limit)
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def bounced(tx: Tx, notice_id: int, reason: str) -> None:
    """It came back: its items go, so that what it said is decided anew, for the fallback."""
    tx.conn.execute(
        update(notice)
        .where(notice.c.id == notice_id)
        .values(state="failed", error=f"it came back: {reason}"[:300])
    )
    tx.conn.execute(notice_item.delete().where(notice_item.c.notice_id == notice_id))
