"""Spans of what a visitor finds over HTTP and HTTPS at an endpoint. Times are epoch seconds.

Only changes are stored as new rows, since most visits find what the visit before found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import chunks
from inventory.models import Domain, Endpoint, PageObservation

_LONGER = (
    update(PageObservation)
    # An endpoint has one open span, which is found without its id.
    .where(PageObservation.endpoint_id == bindparam("e"), PageObservation.open == 1)
    .values(last_seen=bindparam("at"))
)


def seen_again(tx: Tx, rows: Sequence[tuple[int, int]]) -> None:
    """Extend the spans of visits that found what was found before: (endpoint id, time)."""
    if rows:
        tx.conn.execute(_LONGER, [{"e": e, "at": at} for e, at in rows])


def write(tx: Tx, seen: Mapping[int, tuple[int, str, Mapping[str, Any]] | None]) -> None:
    """Record what visits found. A span continues while its digest stays the same.

    Args:
        tx: The transaction.
        seen: Endpoint id -> (time, digest, document). None ends the span: no page is expected at
            the endpoint any more.
    """
    known: dict[int, Mapping[str, Any]] = {}
    ids = sorted(seen)
    for part in chunks(ids):
        query = select(PageObservation).where(
            PageObservation.endpoint_id.in_(part), PageObservation.open == 1
        )
        known |= {r["endpoint_id"]: dict(r) for r in tx.conn.execute(query).mappings()}
    new, longer, ended = [], [], []
    for endpoint_id in ids:
        met, before = seen[endpoint_id], known.get(endpoint_id)
        # Equal digests are equal for a visitor, so no new row is needed.
        if met is not None and before is not None and before["digest"] == met[1]:
            # The document is written again, as parts that are not in the digest may have changed.
            longer.append({"i": before["id"], "at": met[0], "d": dict(met[2])})
            continue
        if before is not None:
            ended.append({"i": before["id"]})
        if met is not None:
            at, digest, document = met
            new.append(
                {
                    "endpoint_id": endpoint_id,
                    "first_seen": at,
                    "last_seen": at,
                    "open": 1,
                    "digest": digest,
                    "document": dict(document),
                }
            )
    # Ended before new ones are inserted, so that an endpoint never has two open spans.
    by_id = PageObservation.id == bindparam("i")
    if ended:
        tx.conn.execute(update(PageObservation).where(by_id).values(open=0), ended)
    if longer:
        tx.conn.execute(
            update(PageObservation)
            .where(by_id)
            .values(last_seen=bindparam("at"), document=bindparam("d")),
            longer,
        )
    if new:
        tx.conn.execute(insert(PageObservation), new)


def visited(
    conn: Connection, at: Timestamp | None = None, client_id: int | None = None
) -> frozenset[int]:
    """Return the endpoints whose pages were visited, now or by a time in epoch seconds."""
    query = (
        select(PageObservation.endpoint_id)
        .join(Endpoint, Endpoint.id == PageObservation.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
    )
    query = query.where(
        PageObservation.open == 1 if at is None else PageObservation.first_seen <= at
    )
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    return frozenset(conn.scalars(query))
