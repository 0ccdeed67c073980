"""Decisions of runs of notices, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import fetch, upsert
from inventory.models import (
    StoredDecision,
    Ticket,
)
from inventory.records import (
    DecisionRecord,
    HeldMessage,
)
from inventory.vocabulary import DecisionAction, TicketKind


def keys_about(conn: Connection, endpoint_ids: set[int], domain_ids: set[int]) -> list[str]:
    """Return the keys of everything that was ever decided about endpoints and domains."""
    found: set[str] = set()
    # Keys begin with kind and id, which also finds topics that never got a ticket.
    for prefix in [
        f"{kind}:{i}:" for i in endpoint_ids for kind in (TicketKind.COVER, TicketKind.FAULT)
    ] + [f"{TicketKind.DEADLINE}:{i}:" for i in domain_ids]:
        found |= set(
            conn.scalars(
                select(StoredDecision.subject)
                .where(StoredDecision.subject.startswith(prefix, autoescape=True))
                .distinct()
            )
        )
    # The key of a case has its id instead, so its ticket names the domain.
    led = select(Ticket.key).where(
        Ticket.kind == TicketKind.CASE, Ticket.domain_id.in_(sorted(domain_ids))
    )
    return sorted(found | set(conn.scalars(led)))


def record(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record decisions. The same decision again only moves its last time.

    Args:
        tx: The transaction.
        rows: subject, client_id, contact_id, threshold, round, action and reason of each.
    """
    if not rows:
        return
    keys = ("subject", "contact_id", "threshold", "round", "action", "reason")
    unique = {
        # A run may decide the same about a topic twice. It is stored once.
        tuple(r[k] for k in keys): dict(r) | {"first_at": tx.at, "last_at": tx.at}
        for r in rows
    }
    statement = upsert(tx.conn, StoredDecision)
    statement = statement.on_conflict_do_update(
        index_elements=list(keys), set_={"last_at": statement.excluded.last_at}
    )
    # Sorted, so that two writers do not deadlock.
    tx.conn.execute(statement, [unique[k] for k in sorted(unique)])


def listing(conn: Connection, subjects: Sequence[str], limit: int = 500) -> list[DecisionRecord]:
    """Return decisions about these subjects, the last one first."""
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
    for row in listing(conn, keys):
        # A domain may have been moved: decisions about its earlier owner are not shown.
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
    waiting = (DecisionAction.HOLD, DecisionAction.WAIT)
    return [h for h in found.values() if h.action in waiting and h.subject not in over]


def recent(conn: Connection, reason: str, since: Timestamp) -> list[str]:
    """Subjects that were decided on for this reason since then."""
    query = (
        select(StoredDecision.subject)
        .where(StoredDecision.reason == reason, StoredDecision.last_at >= since)
        .distinct()
    )
    return sorted(conn.scalars(query))


def waiting_since(
    conn: Connection, action: DecisionAction, reason_start: str, oldest: Timestamp
) -> dict[tuple[str, str], int]:
    """Return (subject, revision) -> since when it waits for a reason, in epoch seconds.

    Args:
        conn: The connection.
        action: The action of the decision.
        reason_start: How the reason begins.
        oldest: A decision that was last repeated before this time does not count any more.
    """
    query = select(StoredDecision).where(
        StoredDecision.action == action,
        # The rest of the reason is that of the single attempt, and changes.
        StoredDecision.reason.startswith(reason_start, autoescape=True),
        StoredDecision.last_at >= oldest,
    )
    found: dict[tuple[str, str], int] = {}
    for row in conn.execute(query).mappings():
        key = (row["subject"], row["round"])
        found[key] = min(found.get(key, row["first_at"]), row["first_at"])
    return found
