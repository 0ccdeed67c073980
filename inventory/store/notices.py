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
    """Newest first, with the contact's name; without the texts."""
    query = _with_contact(c for c in Notice.__table__.c if c.name not in ("text", "html"))
    if states:
        query = query.where(Notice.state.in_(states))
    if client_id is not None:
        query = query.where(Notice.client_id == client_id)
    return fetch(conn, ListedNotice, query.order_by(Notice.id.desc()).limit(limit))


def with_texts(
    conn: Connection, ids: Sequence[int], client_id: int | None = None
) -> list[CompleteNotice]:
    """These notices with their texts, newest first; of every client where ``client_id`` is None."""
    query = _with_contact(Notice.__table__.c).where(Notice.id.in_(ids))
    if client_id is not None:
        query = query.where(Notice.client_id == client_id)
    return fetch(conn, CompleteNotice, query.order_by(Notice.id.desc()))


def _with_contact(columns: Iterable[ColumnElement[Any]]) -> Select[*tuple[Any, ...]]:
    return select(*columns, Contact.name.label("contact")).outerjoin(
        Contact, Contact.id == Notice.contact_id
    )


def items_of(conn: Connection, notice_id: int) -> list[SentItemRecord]:
    query = select(SentItem).where(SentItem.notice_id == notice_id).order_by(SentItem.id)
    return fetch(conn, SentItemRecord, query)


def sent_about(
    conn: Connection, subjects: Sequence[str] | None = None
) -> dict[tuple[str, str], list[tuple[int, str, str, int, str]]]:
    """(subject, round) -> what was sent or is queued about it: (contact id, step, threshold, when
    queued, state).
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
    found: dict[tuple[str, str], list[tuple[int, str, str, int, str]]] = {}
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
    """Contact id -> when the last notice to a client was queued for it; those that were dropped do
    not count.
    """
    query = (
        select(Notice.contact_id, func.max(Notice.created_at))
        .where(
            Notice.kind == "client", Notice.state.in_(outbox.LIVE), Notice.contact_id.is_not(None)
        )
        .group_by(Notice.contact_id)
    )
    return {row[0]: row[1] for row in conn.execute(query) if row[0] is not None}


def last_about(conn: Connection, subjects: Sequence[str]) -> dict[str, int]:
    """Subject -> when something about it was last queued."""
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
    query = select(SentItem.id).where(
        SentItem.contact_id == contact_id,
        SentItem.subject == "digest",
        SentItem.round == day,
    )
    return conn.execute(query.limit(1)).first() is not None


def by_mark(conn: Connection, mark: str) -> NoticeRecord | None:
    """The notice that was sent with this mark (id and secret); None for a mark that is none of
    ours.
    """
    number, _, secret = mark.partition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 19 and secret):
        return None
    return fetch_one(
        conn, NoticeRecord, select(Notice).where(Notice.id == int(number), Notice.secret == secret)
    )


def about_domain(
    conn: Connection, client_id: int, endpoint_id: int | None, domain_id: int, limit: int = 5
) -> list[NoticeAbout]:
    """The last notices to this client about an endpoint or domain, also those that failed, came
    back or wait.
    """
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
        Ticket.endpoint_id == (endpoint_id if endpoint_id is not None else -1),
    )
    sent = select(SentItem.notice_id).join(Ticket, Ticket.id == SentItem.matter_id).where(about)
    dropped = (
        select(DroppedItem.notice_id).join(Ticket, Ticket.id == DroppedItem.matter_id).where(about)
    )
    query = (
        select(*columns)
        .outerjoin(Contact, Contact.id == Notice.contact_id)
        .where(Notice.client_id == client_id, Notice.id.in_(union(sent, dropped)))
        .order_by(Notice.id.desc())
        .limit(limit)
    )
    return fetch(conn, NoticeAbout, query)


def about_topic(
    conn: Connection, subject: str, client_id: int, limit: int = 50
) -> list[NoticeOfTicket]:
    """Notices to this client about a subject, newest first: id, subject, state, sent_at,
    created_at, contact.
    """
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


def times_of_clients(conn: Connection, since: int) -> list[NoticeTimes]:
    """Of the notices that were sent to clients since then."""
    columns = (Notice.sent_at, Notice.acked_at, Notice.resolved_at)
    return fetch(
        conn,
        NoticeTimes,
        select(*columns).where(Notice.kind == "client", Notice.sent_at >= since),
    )
