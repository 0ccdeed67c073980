"""Announcements to many clients."""

from __future__ import annotations

from sqlalchemy import Connection, select

from inventory.db.database import Tx
from inventory.db.sql import fetch, insert_id
from inventory.models import (
    StoredAnnouncement,
    Ticket,
)
from inventory.records import (
    AnnouncementRecord,
    TicketRecord,
)
from inventory.vocabulary import TicketKind


def unsent(conn: Connection) -> list[TicketRecord]:
    """Tickets of announcements that were not sent yet."""
    query = (
        select(Ticket)
        # An announcement has one ticket per client, which is closed when its message is queued. The
        # open ones are still to be sent.
        .where(Ticket.kind == TicketKind.ANNOUNCEMENT, Ticket.closed_at.is_(None))
        .order_by(Ticket.id)
    )
    return fetch(conn, TicketRecord, query)


def add(tx: Tx, template: str, deadline: str, tag: str | None, words: str | None) -> int:
    """Record an announcement, and return its id."""
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


def by_id(conn: Connection) -> dict[int, AnnouncementRecord]:
    """Return id -> announcement, of all."""
    return {
        r["id"]: AnnouncementRecord(**r)
        for r in conn.execute(select(StoredAnnouncement)).mappings()
    }
