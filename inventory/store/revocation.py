"""Revocation lists as they were fetched, the status of the leaves that are served, and where
those are served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, or_, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, upsert
from inventory.models import (
    Client,
    Domain,
    Endpoint,
    RevocationCheck,
    ServedChain,
    StoredCrl,
    StoredFinding,
)
from inventory.records import CrlRecord, RevocationRecord
from inventory.store import certificates

CHUNK = 500


# -- leaves


def _live(client_id: int | None) -> Any:
    """Observations of active endpoints that the last attempt saw, as a join and its conditions."""
    query = (
        select(ServedChain.leaf)
        .distinct()
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .where(
            ServedChain.open == 1,
            ServedChain.live == 1,
            ServedChain.leaf.is_not(None),
            Endpoint.state == "active",
            Domain.state != "retired",
            Client.state != "retired",
        )
    )
    return query if client_id is None else query.where(Domain.client_id == client_id)


def due_leaves(conn: Connection, at: int, client_id: int | None, *, every: bool) -> list[str]:
    """SHA-256 of the leaves that are served now and were not asked about, or not lately; of all
    that are served with ``every``.

    Only where the path was verified: what anybody may have signed names lists of anybody's choice,
    and is refused by browsers anyway.
    """
    query = _live(client_id).where(ServedChain.trusted == 1).order_by(ServedChain.leaf)
    if not every:
        query = query.outerjoin(RevocationCheck, RevocationCheck.sha256 == ServedChain.leaf).where(
            or_(RevocationCheck.next_at.is_(None), RevocationCheck.next_at <= at)
        )
    return list(conn.scalars(query))


def sent_with(conn: Connection, leaf: str, limit: int = 8) -> list[bytes]:
    """Certificates that were sent behind this leaf."""
    chains = conn.scalars(
        select(ServedChain.chain)
        .where(ServedChain.leaf == leaf, ServedChain.open == 1)
        .limit(limit)
    )
    hashes = list(dict.fromkeys(h for chain in chains for h in chain[1:4]))
    return list(certificates.ders(conn, hashes).values())


def statuses(conn: Connection, hashes: Sequence[str]) -> dict[str, RevocationRecord]:
    """SHA-256 -> its row of ``revocation``."""
    found: dict[str, RevocationRecord] = {}
    for part in chunks(hashes):
        for record in fetch(
            conn, RevocationRecord, select(RevocationCheck).where(RevocationCheck.sha256.in_(part))
        ):
            found[record.sha256] = record
    return found


def write_statuses(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """``rows``: every column of ``revocation``."""
    if not rows:
        return
    statement = upsert(tx.conn, RevocationCheck)
    changes = {
        c.name: statement.excluded[c.name]
        for c in RevocationCheck.__table__.c
        if c.name != "sha256"
    }
    # What we revoked ourselves is revoked, even while the CA's list does not contain it yet.
    ours = (
        (RevocationCheck.source == "us")
        & (RevocationCheck.status == "revoked")
        & (statement.excluded.status != "revoked")
    )
    tx.conn.execute(
        statement.on_conflict_do_update(index_elements=["sha256"], set_=changes, where=~ours),
        [dict(r) for r in rows],
    )


# -- lists

_STATE = tuple(c for c in StoredCrl.__table__.c if c.name != "body")


def lists(conn: Connection, urls: Sequence[str]) -> dict[str, CrlRecord]:
    """URL -> its row of ``crl`` without the body."""
    found: dict[str, CrlRecord] = {}
    for part in chunks(urls):
        for record in fetch(conn, CrlRecord, select(*_STATE).where(StoredCrl.url.in_(part))):
            found[record.url] = record
    return found


def body_of(conn: Connection, url: str) -> bytes | None:
    return conn.execute(select(StoredCrl.body).where(StoredCrl.url == url)).scalar()


def keep_list(tx: Tx, url: str, values: Mapping[str, Any]) -> None:
    """A list that was accepted. ``values``: digest, body, this_update, next_update, next_at."""
    row = {"url": url, "fetched_at": tx.at, "failures": 0, "error": None, **values}
    statement = upsert(tx.conn, StoredCrl).values(row)
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["url"], set_={k: v for k, v in row.items() if k != "url"}
        )
    )


def list_failed(tx: Tx, url: str, error: str, failures: int, next_at: int) -> None:
    """What is held of it stays."""
    values = {"failures": failures, "error": error[:500], "next_at": next_at}
    statement = upsert(tx.conn, StoredCrl).values(url=url, **values)
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["url"], set_=values))


def forget_unused(tx: Tx, before: int) -> int:
    """Bodies of lists that were not needed since then: their CA has moved on, or their
    certificates are gone.
    """
    old = (
        update(StoredCrl)
        .where(StoredCrl.next_at < before, StoredCrl.body.is_not(None))
        .values(body=None, digest=None)
    )
    return int(tx.conn.execute(old).rowcount)


# -- where they are served


@dataclass(frozen=True, slots=True)
class ServedAddress:
    """An address of an endpoint.

    ``chain``: SHA-256, leaf first. ``live``: the last attempt saw it. ``trusted``: its path
    verifies to a public anchor; None: unknown.
    """

    address: str
    leaf: str
    chain: tuple[str, ...]
    live: bool
    trusted: bool | None


def served(conn: Connection, ids: Sequence[int]) -> dict[int, list[ServedAddress]]:
    """Endpoint id -> what its addresses served last."""
    found: dict[int, list[ServedAddress]] = {}
    o = ServedChain.__table__.c
    for part in chunks(ids):
        query = select(
            o.endpoint_id, o.address, o.leaf, o.chain, o.live, o.trusted, o.public
        ).where(o.endpoint_id.in_(part), o.open == 1, o.leaf.is_not(None))
        for r in conn.execute(query.order_by(o.endpoint_id, o.address)):
            trusted = None if r.trusted is None else bool(r.trusted and r.public)
            one = ServedAddress(r.address, r.leaf, r.chain, bool(r.live), trusted)
            found.setdefault(r.endpoint_id, []).append(one)
    return found


def concerned(conn: Connection, client_id: int | None, codes: Sequence[str]) -> list[int]:
    """Endpoints that serve a leaf which is not known to be good, or have an open finding of
    ``codes``.
    """
    place = (
        select(Endpoint.id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .where(Endpoint.state == "active", Domain.state != "retired", Client.state != "retired")
    )
    if client_id is not None:
        place = place.where(Domain.client_id == client_id)
    bad = (
        select(ServedChain.endpoint_id)
        .join(RevocationCheck, RevocationCheck.sha256 == ServedChain.leaf)
        .where(RevocationCheck.status != "good", ServedChain.open == 1, ServedChain.live == 1)
    )
    known = select(StoredFinding.endpoint_id).where(
        StoredFinding.closed_at.is_(None), StoredFinding.code.in_(codes)
    )
    return list(
        conn.scalars(
            place.where(or_(Endpoint.id.in_(bad), Endpoint.id.in_(known))).order_by(Endpoint.id)
        )
    )


def revoked_by_us(tx: Tx, sha256: str, reason: str) -> None:
    """We revoked it: known before any CRL contains it."""
    values = {
        "status": "revoked",
        "reason": reason,
        "revoked_at": tx.at,
        "source": "us",
        "detail": None,
        "checked_at": tx.at,
        "next_at": tx.at,
    }
    statement = upsert(tx.conn, RevocationCheck).values(sha256=sha256, **values)
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=values))


def is_revoked(conn: Connection, sha256: str) -> bool | None:
    """Whether a certificate is revoked; None if it was not checked, or is undetermined."""
    status = conn.execute(
        select(RevocationCheck.status).where(RevocationCheck.sha256 == sha256)
    ).scalar()
    return None if status in (None, "unknown") else status == "revoked"
