"""Inbound mail. Each mail is recorded once, by a hash of its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import fetch, upsert
from inventory.models import InboundMessage
from inventory.records import InboundRecord
from inventory.vocabulary import InboundKind

# Kinds of mail whose text staff read in the digest.
SHOWN = (
    InboundKind.REPLY,
    InboundKind.UNCERTAIN,
    InboundKind.ACCEPTED,
    InboundKind.DECLINED,
)


def add(tx: Tx, values: Mapping[str, Any]) -> bool:
    """Record a mail, and return whether it is new."""
    # The insert decides, and not a query before it: two runs may read the same mailbox.
    statement = (
        upsert(tx.conn, InboundMessage)
        .values(dict(values) | {"at": tx.at})
        .on_conflict_do_nothing(index_elements=["message_id"])
    )
    return tx.conn.execute(statement.returning(InboundMessage.id)).first() is not None


def known(conn: Connection, message_id: str) -> bool:
    """Return whether a mail was recorded before."""
    query = select(InboundMessage.id).where(InboundMessage.message_id == message_id)
    return conn.execute(query).first() is not None


def answers(conn: Connection, since: Timestamp) -> list[InboundRecord]:
    """Return the mail since a time that staff should read, the oldest first."""
    query = (
        select(InboundMessage)
        # Bounces and automatic mail have taken effect already, and need no reader.
        .where(InboundMessage.kind.in_(SHOWN), InboundMessage.at >= since)
        .order_by(InboundMessage.id)
    )
    return fetch(conn, InboundRecord, query)


def unmatched(conn: Connection, since: Timestamp) -> list[InboundRecord]:
    """Return the mails since a time that answer no notice."""
    query = (
        select(InboundMessage)
        # Mail without a valid mark. It may come from anyone, so it changes nothing and is only
        # shown.
        .where(InboundMessage.kind == InboundKind.STRANGER, InboundMessage.at >= since)
        .order_by(InboundMessage.id)
    )
    return fetch(conn, InboundRecord, query)


def of_notice(conn: Connection, notice_id: int) -> list[InboundRecord]:
    """Return the mails that answer a notice, the oldest first."""
    query = (
        select(InboundMessage)
        .where(InboundMessage.notice_id == notice_id)
        .order_by(InboundMessage.id)
    )
    return fetch(conn, InboundRecord, query)
