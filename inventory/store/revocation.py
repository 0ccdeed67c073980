"""Fetched revocation lists, the status of served leaves, and where those are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, or_, select, update

from inventory.clock import Timestamp
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
from inventory.store import certificates, observations
from inventory.vocabulary import RevocationState

CHUNK = 500


def _live(client_id: int | None) -> Any:
    """Return the query for the leaves that the last probe of active endpoints saw."""
    query = observations.of_active_endpoints(
        select(ServedChain.leaf)
        .distinct()
        .where(
            ServedChain.live == 1,
            ServedChain.leaf.is_not(None),
        )
    )
    return query if client_id is None else query.where(Domain.client_id == client_id)


def due_leaves(conn: Connection, at: Timestamp, client_id: int | None, *, every: bool) -> list[str]:
    """Return the SHA-256 of the served leaves whose revocation status is due.

    Args:
        conn: The connection.
        at: The current time, in epoch seconds.
        client_id: Only leaves of this client; None for all clients.
        every: All served leaves, whether they are due or not.
    """
    # Only leaves with a verified path: any other certificate may name any URL as its list, and
    # browsers refuse it anyway.
    query = _live(client_id).where(ServedChain.trusted == 1).order_by(ServedChain.leaf)
    if not every:
        query = query.outerjoin(RevocationCheck, RevocationCheck.sha256 == ServedChain.leaf).where(
            # A leaf without a row was never checked.
            or_(RevocationCheck.next_at.is_(None), RevocationCheck.next_at <= at)
        )
    return list(conn.scalars(query))


def sent_with(conn: Connection, leaf: str, limit: int = 8) -> list[bytes]:
    """Return certificates that servers send after this leaf, among which its issuer may be."""
    chains = conn.scalars(
        select(ServedChain.chain)
        .where(ServedChain.leaf == leaf, ServedChain.open == 1)
        .limit(limit)
    )
    # The issuer is nearly always the next one. A hostile server may send dozens.
    hashes = list(dict.fromkeys(h for chain in chains for h in chain[1:4]))
    return list(certificates.ders(conn, hashes).values())


def statuses(conn: Connection, hashes: Sequence[str]) -> dict[str, RevocationRecord]:
    """Return SHA-256 -> the last known status."""
    found: dict[str, RevocationRecord] = {}
    for part in chunks(hashes):
        for record in fetch(
            conn, RevocationRecord, select(RevocationCheck).where(RevocationCheck.sha256.in_(part))
        ):
            found[record.sha256] = record
    return found


def write_statuses(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write statuses, each with all columns. An earlier status is replaced."""
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
        & (RevocationCheck.status == RevocationState.REVOKED)
        & (statement.excluded.status != RevocationState.REVOKED)
    )
    tx.conn.execute(
        # The condition is part of the statement, so that a revocation in this moment is not
        # overwritten.
        statement.on_conflict_do_update(index_elements=["sha256"], set_=changes, where=~ours),
        [dict(r) for r in rows],
    )


_STATE = tuple(c for c in StoredCrl.__table__.c if c.name != "body")


def lists(conn: Connection, urls: Sequence[str]) -> dict[str, CrlRecord]:
    """Return URL -> the state of its list, without the body, which may have 32 MB."""
    found: dict[str, CrlRecord] = {}
    for part in chunks(urls):
        for record in fetch(conn, CrlRecord, select(*_STATE).where(StoredCrl.url.in_(part))):
            found[record.url] = record
    return found


def body_of(conn: Connection, url: str) -> bytes | None:
    """Return the stored list of a URL, as DER; None if there is none."""
    return conn.execute(select(StoredCrl.body).where(StoredCrl.url == url)).scalar()


def keep_list(tx: Tx, url: str, values: Mapping[str, Any]) -> None:
    """Store an accepted list: digest, body, this_update, next_update and next_at."""
    # Stored before any status rests on it: a process that dies in between judges by the stored
    # list.
    row = {"url": url, "fetched_at": tx.at, "failures": 0, "error": None, **values}
    statement = upsert(tx.conn, StoredCrl).values(row)
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["url"], set_={k: v for k, v in row.items() if k != "url"}
        )
    )


def list_failed(tx: Tx, url: str, error: str, failures: int, next_at: Timestamp) -> None:
    """Record a failed download. The body that was stored before stays."""
    # Until its nextUpdate, the stored list is as good as a new one (RFC 5280 5.1.2.5).
    values = {"failures": failures, "error": error[:500], "next_at": next_at}
    statement = upsert(tx.conn, StoredCrl).values(url=url, **values)
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["url"], set_=values))


def forget_unused(tx: Tx, before: Timestamp) -> int:
    """Delete the bodies of lists that no served certificate has needed since a time."""
    old = (
        update(StoredCrl)
        .where(StoredCrl.next_at < before, StoredCrl.body.is_not(None))
        # The row stays with its state, and the list is fetched again if it is needed.
        .values(body=None, digest=None)
    )
    return int(tx.conn.execute(old).rowcount)


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
    """Return endpoint id -> what its addresses served last."""
    found: dict[int, list[ServedAddress]] = {}
    o = ServedChain.__table__.c
    for part in chunks(ids):
        query = select(
            o.endpoint_id, o.address, o.leaf, o.chain, o.live, o.trusted, o.public
        ).where(o.endpoint_id.in_(part), o.open == 1, o.leaf.is_not(None))
        for r in conn.execute(query.order_by(o.endpoint_id, o.address)):
            # A path to a private root is not the trust of browsers, and undetermined is neither.
            trusted = None if r.trusted is None else bool(r.trusted and r.public)
            one = ServedAddress(r.address, r.leaf, r.chain, bool(r.live), trusted)
            found.setdefault(r.endpoint_id, []).append(one)
    return found


def concerned(conn: Connection, client_id: int | None, codes: Sequence[str]) -> list[int]:
    """Return the endpoints whose findings may have to open or close.

    They serve a leaf that is not known to be good, or have an open finding of ``codes``.
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
        .where(
            RevocationCheck.status != RevocationState.GOOD,
            ServedChain.open == 1,
            ServedChain.live == 1,
        )
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
    """Record that we revoked a certificate, before any list of its CA contains it."""
    values = {
        "status": RevocationState.REVOKED,
        "reason": reason,
        "revoked_at": tx.at,
        "source": "us",
        "detail": None,
        "checked_at": tx.at,
        # Due at once, so that the list of the CA confirms it as soon as it is published.
        "next_at": tx.at,
    }
    statement = upsert(tx.conn, RevocationCheck).values(sha256=sha256, **values)
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=values))


def is_revoked(conn: Connection, sha256: str) -> bool | None:
    """Return whether a certificate is revoked; None if unchecked or undetermined."""
    status = conn.execute(
        select(RevocationCheck.status).where(RevocationCheck.sha256 == sha256)
    ).scalar()
    # Undetermined is neither good nor revoked, and callers must decide about it.
    if status in (None, RevocationState.UNKNOWN):
        return None
    return status is RevocationState.REVOKED
