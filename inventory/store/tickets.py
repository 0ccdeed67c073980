"""Matters: what a conversation with a client is about.

The reference is made once and stays; it is what both sides name.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, exists, or_, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, insert_id, upsert
from inventory.models import (
    Client,
    Contact,
    Domain,
    Endpoint,
    Notice,
    Release,
    SentItem,
    Server,
    Snooze,
    StoredAnnouncement,
    StoredCertificate,
    StoredDecision,
    Ticket,
)
from inventory.records import (
    AnnouncementRecord,
    DecisionRecord,
    HeldMessage,
    ListedTicket,
    NoticeRecord,
    ReleasedTicket,
    ReleaseRecord,
    SnoozeRecord,
    TicketRecord,
    TicketTimes,
)
from inventory.store import editing

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no 0, O, 1 or I: it is read out over the telephone


def new_reference() -> str:
    """CM-7KQ4X2: 32^6 of them, unique by the table's key."""
    return "CM-" + "".join(secrets.choice(_ALPHABET) for _ in range(6))


def by_key(
    conn: Connection, keys: Iterable[str] | None = None, *, open_only: bool = False
) -> dict[str, TicketRecord]:
    query = select(Ticket)
    if open_only:
        query = query.where(Ticket.closed_at.is_(None))
    if keys is None:
        return {r.key: r for r in fetch(conn, TicketRecord, query)}
    wanted = list(keys)
    found: dict[str, TicketRecord] = {}
    for part in chunks(wanted):
        for record in fetch(conn, TicketRecord, query.where(Ticket.key.in_(part))):
            found[record.key] = record
    return found


def clients_of_open(conn: Connection) -> set[int]:
    return {
        i
        for i in conn.scalars(select(Ticket.client_id).where(Ticket.closed_at.is_(None)).distinct())
        if i is not None
    }


def find(conn: Connection, reference: str) -> TicketRecord:
    query = select(Ticket).where(Ticket.reference == reference.strip().upper())
    return editing.one(
        conn, TicketRecord, query, "matter with the reference", reference, "certmgr notice list"
    )


def open_(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """``rows``: key, kind, client_id, endpoint_id, domain_id, code, round, cause, hold.

    A key that is there keeps its reference.
    """
    for row in rows:
        for _ in range(8):
            values = {"released_at": None, **row, "reference": new_reference(), "opened_at": tx.at}
            statement = (
                upsert(tx.conn, Ticket)
                .values(values)
                .on_conflict_do_nothing(index_elements=["reference"])
            )
            if tx.conn.execute(statement.returning(Ticket.id)).first() is not None:
                break
    if rows:
        tx.audit("open", "matter", None, {"count": len(rows)})


def of_same_certificate(conn: Connection, row: TicketRecord) -> list[TicketRecord]:
    """Return the open tickets of the same client about the same certificate, this one included.

    A certificate with eight names is one matter, and one acknowledgement.
    """
    if row.kind != "cover" or row.client_id is None:
        return [row]
    query = select(Ticket).where(
        Ticket.kind == "cover",
        Ticket.client_id == row.client_id,
        Ticket.round == row.round,
        Ticket.closed_at.is_(None),
    )
    same = fetch(conn, TicketRecord, query.order_by(Ticket.id))
    return same if any(t.id == row.id for t in same) else [row]


def change(tx: Tx, matter_id: int, **values: Any) -> None:
    tx.conn.execute(update(Ticket).where(Ticket.id == matter_id).values(values))


def close(tx: Tx, ids: Sequence[int]) -> None:
    for part in chunks(ids):
        tx.conn.execute(update(Ticket).where(Ticket.id.in_(part)).values(closed_at=tx.at))
    if ids:
        tx.audit("close", "matter", None, {"count": len(ids)})


def told(tx: Tx, ids: Sequence[int]) -> None:
    """Marks matters that a client hears of for the first time."""
    tx.conn.execute(
        update(Ticket).where(Ticket.id.in_(ids), Ticket.told_at.is_(None)).values(told_at=tx.at)
    )


def acknowledge(tx: Tx, ids: Sequence[int], by: str) -> int:
    """A reader confirmed it.

    Of each notice about these matters the first acknowledgement is kept, for the measures.
    """
    if not ids:
        return 0
    done = tx.conn.execute(
        update(Ticket)
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
    """Notices whose matters are all closed are resolved."""
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
    if contact is None or contact.state == "retired":
        return None
    all_tickets = of_notice(conn, notice.id)
    owned = [
        t for t in all_tickets if contact.client_id in (None, t.client_id) and _still_owned(conn, t)
    ]
    if all_tickets and not owned:
        return None
    return [t for t in owned if t.closed_at is None]


def _still_owned(conn: Connection, ticket: TicketRecord) -> bool:
    query = select(Domain.client_id, Domain.state)
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
    """Open matters with client and domain."""
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
        .outerjoin(Domain, Domain.id == Ticket.domain_id)
        .outerjoin(Endpoint, Endpoint.id == Ticket.endpoint_id)
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == Ticket.round)
        .where(Ticket.closed_at.is_(None))
        .order_by(Ticket.id)
    )
    if client_id is not None:
        query = query.where(Ticket.client_id == client_id)
    if held:
        query = query.where(Ticket.hold.is_not(None), Ticket.released_at.is_(None))
    return fetch(conn, ListedTicket, query)


def keys_about(conn: Connection, endpoint_ids: set[int], domain_ids: set[int]) -> list[str]:
    """The keys of everything that was ever decided about these endpoints and domains."""
    found: set[str] = set()
    for prefix in [f"{kind}:{i}:" for i in endpoint_ids for kind in ("cover", "fault")] + [
        f"deadline:{i}:" for i in domain_ids
    ]:
        found |= set(
            conn.scalars(
                select(StoredDecision.subject)
                .where(StoredDecision.subject.startswith(prefix, autoescape=True))
                .distinct()
            )
        )
    led = select(Ticket.key).where(Ticket.kind == "case", Ticket.domain_id.in_(sorted(domain_ids)))
    return sorted(found | set(conn.scalars(led)))


def announcements(conn: Connection) -> list[TicketRecord]:
    """Tickets of announcements that were not sent yet, with the announcement's row."""
    query = (
        select(Ticket)
        .where(Ticket.kind == "broadcast", Ticket.closed_at.is_(None))
        .order_by(Ticket.id)
    )
    return fetch(conn, TicketRecord, query)


def add_broadcast(tx: Tx, template: str, deadline: str, tag: str | None, words: str | None) -> int:
    values = {
        "template": template,
        "deadline": deadline,
        "tag": tag,
        "text": words,
        "by": tx.actor,
        "created_at": tx.at,
    }
    key = insert_id(tx.conn, StoredAnnouncement, values)
    tx.audit(
        "broadcast",
        "broadcast",
        key,
        {"template": template, "deadline": deadline, "tag": tag},
    )
    return key


def broadcasts(conn: Connection) -> dict[int, AnnouncementRecord]:
    return {
        r["id"]: AnnouncementRecord(**r)
        for r in conn.execute(select(StoredAnnouncement)).mappings()
    }


def times(conn: Connection, since: int) -> list[TicketTimes]:
    """Of the tickets of which a client was notified, or that were closed, since then."""
    query = select(Ticket.told_at, Ticket.closed_at).where(
        Ticket.told_at.is_not(None), or_(Ticket.told_at >= since, Ticket.closed_at >= since)
    )
    return fetch(conn, TicketTimes, query)


# -- decisions


def decided(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """``rows``: subject, client_id, contact_id, threshold, round, action, reason.

    The same decision again only moves its last time.
    """
    if not rows:
        return
    keys = ("subject", "contact_id", "threshold", "round", "action", "reason")
    unique = {
        tuple(r[k] for k in keys): dict(r) | {"first_at": tx.at, "last_at": tx.at} for r in rows
    }
    statement = upsert(tx.conn, StoredDecision)
    statement = statement.on_conflict_do_update(
        index_elements=list(keys), set_={"last_at": statement.excluded.last_at}
    )
    tx.conn.execute(statement, [unique[k] for k in sorted(unique)])


def decisions(conn: Connection, subjects: Sequence[str], limit: int = 500) -> list[DecisionRecord]:
    query = (
        select(StoredDecision)
        .where(StoredDecision.subject.in_(subjects))
        .order_by(StoredDecision.last_at.desc(), StoredDecision.id.desc())
    )
    return fetch(conn, DecisionRecord, query.limit(limit))


def held_about(
    conn: Connection, client_id: int, endpoint_ids: set[int], domain_ids: set[int]
) -> list[HeldMessage]:
    """Return what the client was not notified of yet, since it is held or waits.

    Only the last decision about a topic counts: what was sent since is not held any more.
    """
    found: dict[str, HeldMessage] = {}
    keys = keys_about(conn, endpoint_ids, domain_ids)
    for row in decisions(conn, keys):
        if row.client_id != client_id or row.subject in found:
            continue
        found[row.subject] = HeldMessage(
            subject=row.subject,
            action=row.action,
            reason=row.reason,
            first_at=row.first_at,
            last_at=row.last_at,
        )
    over = set(
        conn.scalars(select(Ticket.key).where(Ticket.key.in_(found), Ticket.closed_at.is_not(None)))
    )
    return [h for h in found.values() if h.action in ("hold", "wait") and h.subject not in over]


def open_references(
    conn: Connection, client_id: int, endpoint_ids: set[int], domain_ids: set[int]
) -> dict[str, str]:
    """Return code -> reference of the open tickets about a host; the newest per code."""
    query = (
        select(Ticket.code, Ticket.reference)
        .where(
            Ticket.client_id == client_id,
            Ticket.closed_at.is_(None),
            or_(Ticket.endpoint_id.in_(endpoint_ids), Ticket.domain_id.in_(domain_ids)),
        )
        .order_by(Ticket.opened_at, Ticket.id)
    )
    return {code or "": reference for code, reference in conn.execute(query)}


def recent(conn: Connection, reason: str, since: int) -> list[str]:
    """Subjects that were decided on for this reason since then."""
    query = (
        select(StoredDecision.subject)
        .where(StoredDecision.reason == reason, StoredDecision.last_at >= since)
        .distinct()
    )
    return sorted(conn.scalars(query))


def waiting_since(
    conn: Connection, action: str, reason_start: str, oldest: int
) -> dict[tuple[str, str], int]:
    """(subject, round) -> since when it has been waiting for this reason without a break of more
    than two days.
    """
    query = select(StoredDecision).where(
        StoredDecision.action == action,
        StoredDecision.reason.startswith(reason_start, autoescape=True),
        StoredDecision.last_at >= oldest,
    )
    found: dict[tuple[str, str], int] = {}
    for row in conn.execute(query).mappings():
        key = (row["subject"], row["round"])
        found[key] = min(found.get(key, row["first_at"]), row["first_at"])
    return found


# -- snoozes and maintenance windows


def add_snooze(
    tx: Tx, scope: str, scope_id: int, starts_at: int, until: int, reason: str, by: str
) -> int:
    values = {
        "scope": scope,
        "scope_id": scope_id,
        "starts_at": starts_at,
        "until": until,
        "reason": reason,
        "by": by,
    }
    key = insert_id(tx.conn, Snooze, values | {"created_at": tx.at})
    tx.audit("snooze", scope, scope_id, {"until": until, "starts_at": starts_at})
    return key


def end_snooze(tx: Tx, snooze_id: int) -> bool:
    done = tx.conn.execute(
        update(Snooze)
        .where(Snooze.id == snooze_id, Snooze.withdrawn_at.is_(None))
        .values(withdrawn_at=tx.at)
    )
    tx.audit("wake", "snooze", snooze_id)
    return done.rowcount == 1


def snoozes(conn: Connection, at: int | None = None) -> list[SnoozeRecord]:
    """In force at ``at``; without it all that have not ended."""
    query = select(Snooze).where(Snooze.withdrawn_at.is_(None)).order_by(Snooze.id)
    if at is not None:
        query = query.where(Snooze.starts_at <= at, Snooze.until > at)
    return fetch(conn, SnoozeRecord, query)


def snoozed(conn: Connection) -> dict[tuple[str, int], str]:
    """(scope, id) -> what a person calls it."""
    found = {("client", i): n for i, n in conn.execute(select(Client.id, Client.number))}
    found |= {("server", i): n for i, n in conn.execute(select(Server.id, Server.name))}
    found |= {("domain", i): n for i, n in conn.execute(select(Domain.id, Domain.name))}
    return found | {("matter", i): n for i, n in conn.execute(select(Ticket.id, Ticket.reference))}


# -- release


def release(tx: Tx, cause: str, per_day: int, by: str) -> int:
    """Lets the matters of a cause go, for so many clients a day."""
    tx.conn.execute(
        update(Release)
        .where(Release.cause == cause, Release.ended_at.is_(None))
        .values(ended_at=tx.at)
    )
    values = {"cause": cause, "per_day": per_day, "by": by, "created_at": tx.at}
    key = insert_id(tx.conn, Release, values)
    tx.audit("release", "release", key, {"cause": cause, "per_day": per_day})
    return key


def held_at(row: TicketRecord) -> int:
    """When the matter was held: ``hold`` is its kind, the rank it was held at, and that instant."""
    parts = (row.hold or "").split(" ")
    return int(parts[2]) if len(parts) > 2 else 0


def end_releases(tx: Tx, ids: Sequence[int]) -> None:
    if ids:
        tx.conn.execute(update(Release).where(Release.id.in_(ids)).values(ended_at=tx.at))


def releases(conn: Connection) -> list[ReleaseRecord]:
    """Those in force, oldest first."""
    query = select(Release).where(Release.ended_at.is_(None)).order_by(Release.id)
    return fetch(conn, ReleaseRecord, query)


def belongs(row: TicketRecord | ReleasedTicket, cause: str) -> bool:
    """Whether a matter is of this cause; ``* CODE`` is every cause with that finding."""
    return bool(row.cause == cause or (cause.startswith("* ") and row.code == cause[2:]))


def released_since(conn: Connection, moment: int) -> list[ReleasedTicket]:
    """Matters that were let go since then: cause, code, client_id."""
    query = select(Ticket.cause, Ticket.code, Ticket.client_id).where(Ticket.released_at >= moment)
    return fetch(conn, ReleasedTicket, query)
