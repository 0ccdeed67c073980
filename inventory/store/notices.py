"""Notices as records: what was sent to whom, when, and about what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    func,
    or_,
    select,
    union,
)

from inventory.clock import Timestamp
from inventory.db.sql import chunks, fetch, fetch_one
from inventory.models import Contact, DroppedItem, Notice, SentItem, Ticket
from inventory.records import (
    CompleteNotice,
    ListedNotice,
    NoticeAbout,
    NoticeOfTicket,
    NoticeRecord,
    NoticeTimes,
    SentItemRecord,
)
from inventory.store import outbox
from inventory.vocabulary import ItemStep, NoticeKind, NoticeState


def count_sent(conn: Connection, after: int) -> int:
    """Return how many notices were sent after that time."""
    query = select(func.count()).where(Notice.state == "sent", Notice.sent_at > after)
    return int(conn.execute(query).scalar() or 0)


def listing(
    conn: Connection,
    *,
    states: Sequence[str] = (),
    client_id: int | None = None,
    limit: int = 500,
) -> list[ListedNotice]:
    """Return notices without their texts, the newest first.

    Args:
        conn: The connection.
        states: Only notices in these states; all if empty.
        client_id: Only notices to this client; None for all clients and staff.
        limit: At most this many.
    """
    # The texts are most of the size of a row, and a listing of hundreds does not show them.
    query = _with_contact(c for c in Notice.__table__.c if c.name not in ("text", "html"))
    if states:
        query = query.where(Notice.state.in_(states))
    if client_id is not None:
        query = query.where(Notice.client_id == client_id)
    return fetch(conn, ListedNotice, query.order_by(Notice.id.desc()).limit(limit))


def with_texts(
    conn: Connection, ids: Sequence[int], client_id: int | None = None
) -> list[CompleteNotice]:
    """Return notices with their texts, the newest first; with ``client_id`` only that client's."""
    query = _with_contact(Notice.__table__.c).where(Notice.id.in_(ids))
    if client_id is not None:
        query = query.where(Notice.client_id == client_id)
    return fetch(conn, CompleteNotice, query.order_by(Notice.id.desc()))


def _with_contact(columns: Iterable[ColumnElement[Any]]) -> Select[*tuple[Any, ...]]:
    # An outer join, because the contact of a notice may have been erased.
    return select(*columns, Contact.name.label("contact")).outerjoin(
        Contact, Contact.id == Notice.contact_id
    )


def items_of(conn: Connection, notice_id: int) -> list[SentItemRecord]:
    """Return the items of a notice."""
    query = select(SentItem).where(SentItem.notice_id == notice_id).order_by(SentItem.id)
    return fetch(conn, SentItemRecord, query)


def sent_about(
    conn: Connection, subjects: Sequence[str] | None = None
) -> dict[tuple[str, str], list[tuple[int, ItemStep, str, int, NoticeState]]]:
    """Return (topic, revision) -> what was queued or sent about it.

    Each entry is (contact id, step, threshold, time of queueing, state of the notice). Without
    ``subjects``, all topics are returned.
    """
    columns = (
        SentItem.subject,
        SentItem.round,
        SentItem.contact_id,
        SentItem.step,
        SentItem.threshold,
        Notice.created_at,
        Notice.state,
    )
    query = select(*columns).join(Notice, Notice.id == SentItem.notice_id)
    found: dict[tuple[str, str], list[tuple[int, ItemStep, str, int, NoticeState]]] = {}
    parts: list[Any] = (
        [query]
        if subjects is None
        else [
            query.where(SentItem.subject.in_(subjects[i : i + 500]))
            for i in range(0, len(subjects), 500)
        ]
    )
    for part in parts:
        for subject, round_, contact_id, step, threshold, at, state in conn.execute(part):
            found.setdefault((subject, round_), []).append((contact_id, step, threshold, at, state))
    return found


def last_to_contacts(conn: Connection) -> dict[int, int]:
    """Return contact id -> when the last notice to a client was queued for it."""
    query = (
        select(Notice.contact_id, func.max(Notice.created_at))
        .where(
            # A dropped notice was never received, so it does not count against the limits of a
            # contact.
            Notice.kind == NoticeKind.CLIENT,
            Notice.state.in_(outbox.LIVE),
            Notice.contact_id.is_not(None),
        )
        .group_by(Notice.contact_id)
    )
    return {row[0]: row[1] for row in conn.execute(query) if row[0] is not None}


def last_about(conn: Connection, subjects: Sequence[str]) -> dict[str, int]:
    """Return topic -> when a notice about it was last queued."""
    found: dict[str, int] = {}
    for part in chunks(subjects):
        query = (
            select(SentItem.subject, func.max(Notice.created_at))
            .join(Notice, Notice.id == SentItem.notice_id)
            .where(SentItem.subject.in_(part))
            .group_by(SentItem.subject)
        )
        found |= {row[0]: row[1] for row in conn.execute(query)}
    return found


def digest_sent(conn: Connection, contact_id: int, day: str) -> bool:
    """Return whether a contact of staff has got the digest of a day (ISO date)."""
    # By the unique key of items, so that a digest is sent once per day and person, also by two
    # machines.
    query = select(SentItem.id).where(
        SentItem.contact_id == contact_id,
        SentItem.subject == "digest",
        SentItem.round == day,
    )
    return conn.execute(query.limit(1)).first() is not None


def by_mark(conn: Connection, mark: str) -> NoticeRecord | None:
    """Return the notice that was sent with this mark, its id and secret; None if there is none."""
    number, _, secret = mark.partition(".")
    # Marks come from mail. More than 18 digits would overflow the column.
    if not (number.isascii() and number.isdigit() and len(number) < 19 and secret):
        return None
    return fetch_one(
        conn, NoticeRecord, select(Notice).where(Notice.id == int(number), Notice.secret == secret)
    )


def about_domain(
    conn: Connection, client_id: int, endpoint_id: int | None, domain_id: int, limit: int = 5
) -> list[NoticeAbout]:
    """Return the last notices to a client about an endpoint or domain, whatever their state is."""
    columns = (
        Notice.id,
        Notice.reference,
        Notice.outcome,
        Notice.state,
        Notice.sent_at,
        Notice.created_at,
        Notice.acked_at,
        Notice.subject,
        Notice.sent_to,
        Notice.error,
        Notice.next_at,
        Contact.name.label("contact"),
    )
    about = or_(
        Ticket.domain_id == domain_id,
        # No row has the id -1; a comparison with NULL would match the tickets without an endpoint.
        Ticket.endpoint_id == (endpoint_id if endpoint_id is not None else -1),
    )
    sent = select(SentItem.notice_id).join(Ticket, Ticket.id == SentItem.matter_id).where(about)
    # The items of a notice that failed or came back are kept apart. The support desk needs them
    # most.
    dropped = (
        select(DroppedItem.notice_id).join(Ticket, Ticket.id == DroppedItem.matter_id).where(about)
    )
    query = (
        select(*columns)
        .outerjoin(Contact, Contact.id == Notice.contact_id)
        # The client is part of the condition: an earlier owner of the domain was notified too.
        .where(Notice.client_id == client_id, Notice.id.in_(union(sent, dropped)))
        .order_by(Notice.id.desc())
        .limit(limit)
    )
    return fetch(conn, NoticeAbout, query)


def about_topic(
    conn: Connection, subject: str, client_id: int, limit: int = 50
) -> list[NoticeOfTicket]:
    """Return the notices to a client about a topic, the newest first."""
    columns = (
        Notice.id,
        Notice.subject,
        Notice.state,
        Notice.sent_at,
        Notice.created_at,
        Contact.name.label("contact"),
    )
    query = (
        select(*columns)
        .join(SentItem, SentItem.notice_id == Notice.id)
        .outerjoin(Contact, Contact.id == Notice.contact_id)
        .where(SentItem.subject == subject, Notice.client_id == client_id)
        .distinct()
        .order_by(Notice.id.desc())
        .limit(limit)
    )
    return fetch(conn, NoticeOfTicket, query)


def times_of_clients(conn: Connection, since: Timestamp) -> list[NoticeTimes]:
    """Return the times of the notices that were sent to clients since a time (epoch seconds)."""
    columns = (Notice.sent_at, Notice.acked_at, Notice.resolved_at)
    return fetch(
        conn,
        NoticeTimes,
        select(*columns).where(Notice.kind == NoticeKind.CLIENT, Notice.sent_at >= since),
    )
