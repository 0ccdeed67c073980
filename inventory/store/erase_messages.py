"""What was written to an erased client or about it: notices, tickets, snoozes, and deadlines.

Steps of :mod:`inventory.store.erase`, in its transaction.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, delete_in
from inventory.models import (
    Client,
    Contact,
    DeadlineScope,
    DroppedItem,
    InboundMessage,
    Notice,
    SentItem,
    Snooze,
    StoredAcceptance,
    StoredDeadline,
    StoredDecision,
    Ticket,
)
from inventory.records import ClientRecord
from inventory.vocabulary import DeadlineScopeKind


def erase_texts(tx: Tx, row: ClientRecord, contacts: list[int], hosts: set[str]) -> None:
    """Delete the texts of notices and replies that name the client.

    Notices keep their times and states. A notice that was not sent yet is cancelled.

    Args:
        tx: The transaction.
        row: The client.
        contacts: The ids of its contacts.
        hosts: Its names, as A-labels and as U-labels.
    """
    blank = {
        "subject": "",
        "text": "",
        "html": "",
        "calendar": (),
        "sent_to": None,
        "contact_id": None,
        "error": None,
    }
    for part in chunks(sorted(_notices_about(tx.conn, row, contacts, hosts))):
        # Deleted items are decided again, so that other clients of a reseller get their
        # message.
        waits = select(Notice.id).where(
            Notice.id.in_(part), Notice.state.in_(("queued", "leased", "failed"))
        )
        tx.conn.execute(delete(SentItem).where(SentItem.notice_id.in_(waits)))
        tx.conn.execute(delete(DroppedItem).where(DroppedItem.notice_id.in_(part)))
        tx.conn.execute(
            update(Notice)
            .where(Notice.id.in_(part), Notice.state.in_(("queued", "leased", "failed")))
            .values(state="dead")
        )
        tx.conn.execute(update(Notice).where(Notice.id.in_(part)).values(blank))
        tx.conn.execute(
            update(InboundMessage)
            .where(InboundMessage.notice_id.in_(part))
            .values(text="", contact_id=None)
        )
    tx.conn.execute(delete(StoredDecision).where(StoredDecision.client_id == row.id))


def _notices_about(
    conn: Connection, row: ClientRecord, contacts: list[int], hosts: set[str]
) -> set[int]:
    """Return the ids of all notices to a client, and of those to others that name it."""
    client_id = int(row.id)
    mine = or_(Notice.client_id == client_id, Notice.contact_id.in_(contacts))
    ids = set(conn.scalars(select(Notice.id).where(mine)))
    # A message to a reseller may be about several clients. If it names this one, it loses its text,
    # and what it had to report about the others is decided again.
    about = (
        select(SentItem.notice_id)
        .join(Ticket, Ticket.id == SentItem.matter_id)
        .where(Ticket.client_id == client_id)
    )
    ids |= set(conn.scalars(about))
    dropped = select(DroppedItem.notice_id).join(Ticket, Ticket.id == DroppedItem.matter_id)
    ids |= set(conn.scalars(dropped.where(Ticket.client_id == client_id)))
    # Messages to staff (digests, alarms, tasks) have no client, but may name one.
    elsewhere = or_(Notice.contact_id.in_(_resellers(client_id)), Notice.client_id.is_(None))
    # Whole words only: the client "Ab" must not erase every text with "about".
    named = re.compile(rf"(?<!\w)(?:{re.escape(row.name)}|client {re.escape(row.number)})(?!\w)")
    for notice_id, words in conn.execute(
        select(Notice.id, Notice.subject + "\n" + Notice.text).where(elsewhere)
    ):
        # A host is searched as a part, since texts contain it in URLs and addresses.
        if named.search(words) or any(host in words for host in hosts):
            ids.add(notice_id)
    return ids


def _resellers(client_id: int) -> Any:
    """Return a query for the contacts of the reseller, who gets the notices of this client."""
    return select(Contact.id).where(
        Contact.client_id.in_(select(Client.reseller_id).where(Client.id == client_id))
    )


def erase_subjects(tx: Tx, client_id: int, domain_ids: list[int], endpoints: list[int]) -> None:
    """Close the tickets of the client, and delete what an administrator decided about it.

    Args:
        tx: The transaction.
        client_id: The client.
        domain_ids: Its domains.
        endpoints: The ids of its endpoints.
    """
    ticket_ids = list(tx.conn.scalars(select(Ticket.id).where(Ticket.client_id == client_id)))
    for part in chunks(ticket_ids):
        tx.conn.execute(
            update(Ticket)
            .where(Ticket.id.in_(part))
            .values(
                endpoint_id=None,
                domain_id=None,
                cause="",
                acked_by=None,
                # Closed, so that no run considers it. The time of the erasure would count as that
                # of a resolution.
                closed_at=Ticket.opened_at,
            )
        )
        # The reason of a snooze is free text.
        delete_in(tx.conn, Snooze, Snooze.scope_id, part, Snooze.scope == "matter")
    for scope, ids in (("domain", domain_ids), ("client", [client_id])):
        delete_in(tx.conn, Snooze, Snooze.scope_id, ids, Snooze.scope == scope)
    # A domain may have been moved to this client: tickets of the client that had it before still
    # refer to it.
    for column, ids in ((Ticket.endpoint_id, endpoints), (Ticket.domain_id, domain_ids)):
        for part in chunks(ids):
            tx.conn.execute(update(Ticket).where(column.in_(part)).values({column: None}))
    _deadlines(tx, client_id)
    tx.conn.execute(delete(StoredAcceptance).where(StoredAcceptance.client_id == client_id))
    delete_in(tx.conn, StoredAcceptance, StoredAcceptance.domain_id, domain_ids)
    delete_in(tx.conn, StoredAcceptance, StoredAcceptance.endpoint_id, endpoints)


def _deadlines(tx: Tx, client_id: int) -> None:
    """Retire the deadlines of this client alone, and remove the client from those of several."""
    mine = (DeadlineScope.kind == DeadlineScopeKind.CLIENT) & (
        DeadlineScope.value == str(client_id)
    )
    ids = set(tx.conn.scalars(select(DeadlineScope.deadline_id).where(mine)))
    others = set(
        tx.conn.scalars(
            select(DeadlineScope.deadline_id).where(DeadlineScope.deadline_id.in_(ids), ~mine)
        )
    )
    for row_id in sorted(ids - others):
        gone = {
            "name": f"erased-{row_id}",
            "title": f"erased-{row_id}",
            "text": None,
            "state": "retired",
            "retired_at": tx.at,
        }
        tx.conn.execute(update(StoredDeadline).where(StoredDeadline.id == row_id).values(gone))
    tx.conn.execute(delete(DeadlineScope).where(mine, DeadlineScope.deadline_id.in_(others)))
    tx.conn.execute(update(DeadlineScope).where(mine).values(value=f"erased-{client_id}"))
