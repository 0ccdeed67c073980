"""Tickets: what a client was, or will be, notified of.

The reference of a ticket never changes. Both sides quote it in every message.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict, Unpack

from sqlalchemy import ColumnElement, Connection, exists, func, or_, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, upsert
from inventory.models import (
    Client,
    Contact,
    Domain,
    Endpoint,
    Notice,
    SentItem,
    StoredCertificate,
    Ticket,
)
from inventory.records import (
    ListedTicket,
    NoticeRecord,
    TicketRecord,
    TicketTimes,
)
from inventory.store import editing
from inventory.text import typed_reference
from inventory.vocabulary import TicketKind

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no 0, O, 1 or I: it is read out over the telephone


def new_reference() -> str:
    """Return a new reference such as CM-7KQ4X2. The key of the table makes it unique."""
    # Random and not counted: a number would show a client how many others have tickets.
    return "CM-" + "".join(secrets.choice(_ALPHABET) for _ in range(6))


def _shown() -> ColumnElement[str]:
    """Return the reference that messages show for a ticket."""
    return func.coalesce(Ticket.shown_reference, Ticket.reference)


def by_key(
    conn: Connection, keys: Iterable[str] | None = None, *, open_only: bool = False
) -> dict[str, TicketRecord]:
    """Return key -> ticket.

    Args:
        conn: The connection.
        keys: Only these; None for all.
        open_only: Whether closed tickets are left out.
    """
    query = select(Ticket)
    if open_only:
        query = query.where(Ticket.closed_at.is_(None))
    if keys is None:
        return {r.key: r for r in fetch(conn, TicketRecord, query)}
    # A run asks for as many keys as there are topics, which is more than one statement takes.
    wanted = list(keys)
    found: dict[str, TicketRecord] = {}
    for part in chunks(wanted):
        for record in fetch(conn, TicketRecord, query.where(Ticket.key.in_(part))):
            found[record.key] = record
    return found


def clients_of_open(conn: Connection) -> set[int]:
    """Return the clients that have an open ticket."""
    return {
        i
        for i in conn.scalars(select(Ticket.client_id).where(Ticket.closed_at.is_(None)).distinct())
        if i is not None
    }


def find(conn: Connection, reference: str) -> TicketRecord:
    """Return the ticket that messages show with this reference, or that had it before.

    Raises:
        NotFound: No ticket has the reference.
    """
    wanted = typed_reference(reference)
    query = (
        select(Ticket)
        .where(or_(Ticket.reference == wanted, Ticket.shown_reference == wanted))
        # A reference that is shown for several tickets stands for those, and an open one first.
        .order_by(_shown() != wanted, Ticket.closed_at.is_not(None), Ticket.id)
        .limit(1)
    )
    return editing.one(
        conn, TicketRecord, query, "ticket with the reference", reference, "certmgr notice list"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTicket:
    """A ticket to open.

    Attributes:
        key: The key of its topic.
        kind: The kind of the topic.
        client_id: The client; None for staff.
        endpoint_id: The endpoint of the topic.
        domain_id: The domain of the topic.
        code: The finding code or the key of the wording.
        round: The revision of the topic.
        cause: What a release to clients is given for.
        hold: Why no client is notified yet; None if the client is. A release lets it through.
        released_at: When the hold was released, in epoch seconds.
    """

    key: str
    kind: TicketKind
    client_id: int | None = None
    endpoint_id: int | None = None
    domain_id: int | None = None
    code: str | None = None
    round: str = ""
    cause: str = ""
    hold: str | None = None
    released_at: Timestamp | None = None


def open_(tx: Tx, new: Sequence[NewTicket]) -> None:
    """Open tickets, each with a new reference."""
    for ticket in new:
        # 32^6 are a thousand million references. Eight collisions in a row do not happen by chance.
        for _ in range(8):
            values = asdict(ticket) | {"reference": new_reference(), "opened_at": tx.at}
            statement = (
                upsert(tx.conn, Ticket)
                .values(values)
                .on_conflict_do_nothing(index_elements=["reference"])
            )
            if tx.conn.execute(statement.returning(Ticket.id)).first() is not None:
                break
    if new:
        tx.audit("open", "matter", None, {"count": len(new)})


def of_same_reference(
    conn: Connection, row: TicketRecord, *, notified_only: bool = False
) -> list[TicketRecord]:
    """Return the open tickets that an acknowledgement of this one is for, this one included.

    They share its reference in messages, or the certificate: eight names of one certificate are
    one acknowledgement.

    Args:
        notified_only: Only tickets that a message to the client showed with this reference.
    """
    shown = _shown() == row.shown
    same_certificate = (Ticket.kind == TicketKind.COVER) & (Ticket.round == row.round)
    wide = row.kind is TicketKind.COVER and not notified_only
    query = select(Ticket).where(
        Ticket.client_id == row.client_id,
        or_(shown, same_certificate) if wide else shown,
        Ticket.closed_at.is_(None),
    )
    if notified_only:
        query = query.where(Ticket.told_at.is_not(None))
    same = fetch(conn, TicketRecord, query.order_by(Ticket.id))
    # The name whose ticket gave the reference may be fixed, and the others are not.
    return same or [row]


def shared_references(conn: Connection, references: Sequence[str]) -> dict[str, frozenset[int]]:
    """Return the ids of the open tickets that are shown with the reference of another ticket."""
    found: dict[str, set[int]] = {}
    for part in chunks(references):
        query = select(_shown(), Ticket.id).where(
            Ticket.shown_reference.in_(part), Ticket.closed_at.is_(None)
        )
        for reference, ticket_id in conn.execute(query):
            found.setdefault(reference, set()).add(ticket_id)
    return {reference: frozenset(ids) for reference, ids in found.items()}


class TicketColumns(TypedDict, total=False):
    """The columns of a ticket that may change. Times are in epoch seconds."""

    shown_reference: str | None
    round: str
    cause: str
    hold: str | None
    released_at: Timestamp | None
    closed_at: Timestamp | None
    told_at: Timestamp | None
    acked_at: Timestamp | None
    acked_by: str | None
    promised_at: Timestamp | None


def change(tx: Tx, matter_id: int, **values: Unpack[TicketColumns]) -> None:
    """Change columns of a ticket. The caller audits it."""
    tx.conn.execute(update(Ticket).where(Ticket.id == matter_id).values(values))


def reopen(tx: Tx, ticket_id: int, cause: str) -> None:
    """Open a closed ticket again, under its reference."""
    change(tx, ticket_id, closed_at=None, acked_at=None, acked_by=None, cause=cause)
    tx.audit("open", "matter", ticket_id)


def close(tx: Tx, ids: Sequence[int]) -> None:
    """Close tickets whose topic is over."""
    for part in chunks(ids):
        tx.conn.execute(update(Ticket).where(Ticket.id.in_(part)).values(closed_at=tx.at))
    if ids:
        tx.audit("close", "matter", None, {"count": len(ids)})


def mark_notified(tx: Tx, ids: Sequence[int]) -> None:
    """Mark tickets of which a client is notified for the first time."""
    tx.conn.execute(
        # Only the first time counts: the duration of a ticket is measured from it.
        update(Ticket).where(Ticket.id.in_(ids), Ticket.told_at.is_(None)).values(told_at=tx.at)
    )


def acknowledge(tx: Tx, ids: Sequence[int], by: str) -> int:
    """Acknowledge open tickets, and return how many there were.

    Each notice about them keeps its first acknowledgement, from which response times are measured.
    """
    if not ids:
        return 0
    done = tx.conn.execute(
        update(Ticket)
        # A closed ticket is not acknowledged: if it opens again, the client has not answered yet.
        .where(Ticket.id.in_(ids), Ticket.closed_at.is_(None))
        .values(acked_at=tx.at, acked_by=by[:200])
    )
    about = select(SentItem.notice_id).where(SentItem.matter_id.in_(ids))
    tx.conn.execute(
        update(Notice).where(Notice.id.in_(about), Notice.acked_at.is_(None)).values(acked_at=tx.at)
    )
    tx.audit_many("acknowledge", "matter", [(i, {}) for i in ids])
    return done.rowcount


def resolved(tx: Tx, ids: Sequence[int]) -> None:
    """Mark the notices whose tickets are all closed as resolved."""
    if not ids:
        return
    about = list(
        tx.conn.scalars(select(SentItem.notice_id).where(SentItem.matter_id.in_(ids)).distinct())
    )
    still = exists().where(
        SentItem.notice_id == Notice.id,
        SentItem.matter_id == Ticket.id,
        Ticket.closed_at.is_(None),
    )
    tx.conn.execute(
        update(Notice)
        .where(Notice.id.in_(about), Notice.resolved_at.is_(None), ~still)
        .values(resolved_at=tx.at)
    )


def of_notice(conn: Connection, notice_id: int) -> list[TicketRecord]:
    """Return the tickets that a notice is about."""
    query = (
        select(Ticket)
        .join(SentItem, SentItem.matter_id == Ticket.id)
        .where(SentItem.notice_id == notice_id)
    )
    return fetch(conn, TicketRecord, query.distinct().order_by(Ticket.id))


def answerable(conn: Connection, notice: NoticeRecord) -> list[TicketRecord] | None:
    """Return the open tickets that an answer to this notice may acknowledge.

    The mark of a notice ends with its ticket, and with the right of its reader: a retired contact,
    or one whose client no longer owns the name, must not silence notices to the new owner.

    Returns:
        None if the reader may no longer answer, for example about any of its names.
    """
    contact = conn.execute(
        select(Contact.client_id, Contact.state).where(Contact.id == notice.contact_id)
    ).first()
    # The contact may have left the client; the address may belong to another person by now.
    if contact is None or contact.state == "retired":
        return None
    all_tickets = of_notice(conn, notice.id)
    owned = [
        t for t in all_tickets if contact.client_id in (None, t.client_id) and _still_owned(conn, t)
    ]
    # The client of the reader owns none of its names any more.
    if all_tickets and not owned:
        return None
    return [t for t in owned if t.closed_at is None]


def _still_owned(conn: Connection, ticket: TicketRecord) -> bool:
    query = select(Domain.client_id, Domain.state)
    # The owner of today decides, and not the one of the time when the ticket was opened.
    if ticket.endpoint_id is not None:
        query = query.join(Endpoint, Endpoint.domain_id == Domain.id).where(
            Endpoint.id == ticket.endpoint_id
        )
    elif ticket.domain_id is not None:
        query = query.where(Domain.id == ticket.domain_id)
    else:
        return True  # about the client as a whole
    owner = conn.execute(query).first()
    return owner is not None and owner.client_id == ticket.client_id and owner.state != "retired"


def listing(
    conn: Connection, *, client_id: int | None = None, held: bool = False
) -> list[ListedTicket]:
    """Return open tickets with client, domain, host and certificate.

    Args:
        conn: The connection.
        client_id: Only tickets of this client; None for all clients.
        held: Only tickets that wait for their release.
    """
    query = (
        select(
            Ticket,
            Client.number.label("client"),
            Client.name.label("client_name"),
            Client.account_manager,
            Domain.name.label("domain"),
            Endpoint.host,
            StoredCertificate.not_after.label("ends_at"),
        )
        .outerjoin(Client, Client.id == Ticket.client_id)
        # Announcements and purchases concern no domain.
        .outerjoin(Domain, Domain.id == Ticket.domain_id)
        .outerjoin(Endpoint, Endpoint.id == Ticket.endpoint_id)
        # The revision of a name that loses cover is its certificate; other kinds find none here.
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == Ticket.round)
        .where(Ticket.closed_at.is_(None))
        .order_by(Ticket.id)
    )
    if client_id is not None:
        query = query.where(Ticket.client_id == client_id)
    if held:
        query = query.where(Ticket.hold.is_not(None), Ticket.released_at.is_(None))
    return fetch(conn, ListedTicket, query)


def times(conn: Connection, since: Timestamp) -> list[TicketTimes]:
    """Return the times of tickets of which a client was notified, or that closed, since a time."""
    query = select(Ticket.told_at, Ticket.closed_at).where(
        Ticket.told_at.is_not(None), or_(Ticket.told_at >= since, Ticket.closed_at >= since)
    )
    return fetch(conn, TicketTimes, query)


def open_references(
    conn: Connection, client_id: int, endpoint_ids: set[int], domain_ids: set[int]
) -> dict[str, str]:
    """Return code -> reference of the open tickets about a host; the newest per code."""
    query = (
        select(Ticket.code, _shown())
        .where(
            Ticket.client_id == client_id,
            Ticket.closed_at.is_(None),
            or_(Ticket.endpoint_id.in_(endpoint_ids), Ticket.domain_id.in_(domain_ids)),
        )
        .order_by(Ticket.opened_at, Ticket.id)
    )
    return {code or "": reference for code, reference in conn.execute(query)}
