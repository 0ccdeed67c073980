"""Revocation lists as they were fetched, what they said of the leaves that are served, and where
those are served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, or_, select, update

from inventory.db.database import Tx
from inventory.models.acme_tables import crl, revocation
from inventory.models.tables import certificate, client, domain, endpoint, finding, observation
from inventory.store.records import Row
from inventory.store.scan_results import upsert

CHUNK = 500


def _parts(keys: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    return (keys[i : i + size] for i in range(0, len(keys), size))


# -- leaves


def _live(client_id: int | None) -> Any:
    """Observations of active endpoints that the last attempt saw, as a join and its conditions."""
    query = (
        select(observation.c.leaf)
        .distinct()
        .join(endpoint, endpoint.c.id == observation.c.endpoint_id)
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .join(client, client.c.id == domain.c.client_id)
        .where(
            observation.c.open == 1,
            observation.c.live == 1,
            observation.c.leaf.is_not(None),
            endpoint.c.state == "active",
            domain.c.state != "retired",
            client.c.state != "retired",
        )
    )
    return query if client_id is None else query.where(domain.c.client_id == client_id)


def due_leaves(conn: Connection, at: int, client_id: int | None, *, every: bool) -> list[str]:
    """SHA-256 of the leaves that are served now and were not asked about, or not lately; of all
    that are served with ``every``.

    Only where the path was verified: what anybody may have signed names lists of anybody's choice,
    and is refused by browsers anyway.
    """
    query = _live(client_id).where(observation.c.trusted == 1).order_by(observation.c.leaf)
    if not every:
        query = query.outerjoin(revocation, revocation.c.sha256 == observation.c.leaf).where(
            or_(revocation.c.next_at.is_(None), revocation.c.next_at <= at)
        )
    return list(conn.scalars(query))


def ders(conn: Connection, hashes: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in _parts(hashes):
        rows = conn.execute(
            select(certificate.c.sha256, certificate.c.der).where(certificate.c.sha256.in_(part))
        )
        found |= {r.sha256: r.der for r in rows}
    return found


def sent_with(conn: Connection, leaf: str, limit: int = 8) -> list[bytes]:
    """Certificates that were sent behind this leaf."""
    chains = conn.scalars(
        select(observation.c.chain)
        .where(observation.c.leaf == leaf, observation.c.open == 1)
        .limit(limit)
    )
    hashes = list(dict.fromkeys(h for chain in chains for h in chain.split()[1:4]))
    return list(ders(conn, hashes).values())


def issuers_named(conn: Connection, subject: str, limit: int = 32) -> list[bytes]:
    """CA certificates with this subject, as it is stored; the newest first."""
    query = (
        select(certificate.c.der)
        .where(certificate.c.is_ca == 1, certificate.c.subject == subject)
        .order_by(certificate.c.not_after.desc())
        .limit(limit)
    )
    return list(conn.scalars(query))


def statuses(conn: Connection, hashes: Sequence[str]) -> dict[str, Row]:
    """SHA-256 -> its row of ``revocation``."""
    found: dict[str, Row] = {}
    for part in _parts(hashes):
        for row in conn.execute(select(revocation).where(revocation.c.sha256.in_(part))).mappings():
            found[row["sha256"]] = dict(row)
    return found


def write_statuses(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """``rows``: every column of ``revocation``."""
    if not rows:
        return
    statement = upsert(tx.conn, revocation)
    changes = {c.name: statement.excluded[c.name] for c in revocation.c if c.name != "sha256"}
    # What we revoked ourselves is revoked, also while a list does not say so yet.
    ours = (
        (revocation.c.source == "us")
        & (revocation.c.status == "revoked")
        & (statement.excluded.status != "revoked")
    )
    tx.conn.execute(
        statement.on_conflict_do_update(index_elements=["sha256"], set_=changes, where=~ours),
        [dict(r) for r in rows],
    )


# -- lists

_STATE = tuple(c for c in crl.c if c.name != "body")


def lists(conn: Connection, urls: Sequence[str]) -> dict[str, Row]:
    """URL -> its row of ``crl`` without the body."""
    found: dict[str, Row] = {}
    for part in _parts(urls):
        for row in conn.execute(select(*_STATE).where(crl.c.url.in_(part))).mappings():
            found[row["url"]] = dict(row)
    return found


def body_of(conn: Connection, url: str) -> bytes | None:
    return conn.execute(select(crl.c.body).where(crl.c.url == url)).scalar()


def keep_list(tx: Tx, url: str, values: Mapping[str, Any]) -> None:
    """A list that was accepted. ``values``: digest, body, this_update, next_update, next_at."""
    row = {"url": url, "fetched_at": tx.at, "failures": 0, "error": None, **values}
    statement = upsert(tx.conn, crl).values(row)
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["url"], set_={k: v for k, v in row.items() if k != "url"}
        )
    )


def list_failed(tx: Tx, url: str, error: str, failures: int, next_at: int) -> None:
    """What is held of it stays."""
    values = {"failures": failures, "error": error[:500], "next_at": next_at}
    statement = upsert(tx.conn, crl).values(url=url, **values)
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["url"], set_=values))


def forget_unused(tx: Tx, before: int) -> int:
    """Bodies of lists that nobody was asked for since then: their CA has moved on, or their
    certificates are gone.
    """
    old = (
        update(crl)
        .where(crl.c.next_at < before, crl.c.body.is_not(None))
        .values(body=None, digest=None)
    )
    return int(tx.conn.execute(old).rowcount)


# -- where they are served


@dataclass(frozen=True, slots=True)
class ServedAddress:
    """An address of an endpoint.

    ``chain``: SHA-256, leaf first. ``live``: the last attempt saw it. ``trusted``: its path
    verifies to a public anchor; None: nobody said.
    """

    address: str
    leaf: str
    chain: tuple[str, ...]
    live: bool
    trusted: bool | None


def served(conn: Connection, ids: Sequence[int]) -> dict[int, list[ServedAddress]]:
    """Endpoint id -> what its addresses served last."""
    found: dict[int, list[ServedAddress]] = {}
    o = observation.c
    for part in _parts(ids):
        query = select(
            o.endpoint_id, o.address, o.leaf, o.chain, o.live, o.trusted, o.public
        ).where(o.endpoint_id.in_(part), o.open == 1, o.leaf.is_not(None))
        for r in conn.execute(query.order_by(o.endpoint_id, o.address)):
            trusted = None if r.trusted is None else bool(r.trusted and r.public)
            one = ServedAddress(r.address, r.leaf, tuple(r.chain.split()), bool(r.live), trusted)
            found.setdefault(r.endpoint_id, []).append(one)
    return found


def concerned(conn: Connection, client_id: int | None, codes: Sequence[str]) -> list[int]:
    """Endpoints that serve a leaf which is not known to be good, or have an open finding of
    ``codes``.
    """
    place = (
        select(endpoint.c.id)
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .join(client, client.c.id == domain.c.client_id)
        .where(
            endpoint.c.state == "active", domain.c.state != "retired", client.c.state != "retired"
        )
    )
    if client_id is not None:
        place = place.where(domain.c.client_id == client_id)
    bad = (
        select(observation.c.endpoint_id)
        .join(revocation, revocation.c.sha256 == observation.c.leaf)
        .where(revocation.c.status != "good", observation.c.open == 1, observation.c.live == 1)
    )
    known = select(finding.c.endpoint_id).where(
        finding.c.closed_at.is_(None), finding.c.code.in_(codes)
    )
    return list(
        conn.scalars(
            place.where(or_(endpoint.c.id.in_(bad), endpoint.c.id.in_(known))).order_by(
                endpoint.c.id
            )
        )
    )
