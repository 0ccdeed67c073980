"""Spans of what a visitor met over HTTP and HTTPS at an endpoint. Instants are epoch seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks
from inventory.models import Domain, Endpoint, PageObservation

_LONGER = (
    update(PageObservation)
    .where(PageObservation.endpoint_id == bindparam("e"), PageObservation.open == 1)
    .values(last_seen=bindparam("at"))
)


def seen_again(tx: Tx, rows: Sequence[tuple[int, int]]) -> None:
    """(endpoint id, instant) of visits that met what was met before."""
    if rows:
        tx.conn.execute(_LONGER, [{"e": e, "at": at} for e, at in rows])


def write(tx: Tx, seen: Mapping[int, tuple[int, str, Mapping[str, Any]] | None]) -> None:
    """``seen``: endpoint id -> (instant, digest, document), or None where no page is expected any
    more. A span goes on while its digest stays.
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
        if met is not None and before is not None and before["digest"] == met[1]:
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
    conn: Connection, at: int | None = None, client_id: int | None = None
) -> frozenset[int]:
    """Ids of the endpoints whose pages were visited (by ``at``); of every client where
    ``client_id`` is None.
    """
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
