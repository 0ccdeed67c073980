"""Certificates that were served or received. A row is immutable; its key is its SHA-256."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, select

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, upsert
from inventory.models import ProbeState, StoredCertificate
from inventory.records import SerialMatch


def add(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """``rows``: the columns of certificate but first_seen.

    Immutable by SHA-256: one that is there stays as it is.
    """
    unique = {r["sha256"]: r for r in rows}
    if unique:
        statement: Insert = upsert(tx.conn, StoredCertificate).on_conflict_do_nothing(
            index_elements=["sha256"]
        )
        tx.conn.execute(statement, [{**unique[key], "first_seen": tx.at} for key in sorted(unique)])


def issuers(conn: Connection, limit: int = 20_000) -> list[bytes]:
    """Every certificate that can be an issuer, as DER."""
    return list(
        conn.scalars(select(StoredCertificate.der).where(StoredCertificate.is_ca == 1).limit(limit))
    )


def authorities(conn: Connection) -> list[bytes]:
    """Return the DER of all stored CA certificates."""
    query = select(StoredCertificate.der).where(StoredCertificate.is_ca == 1)
    return list(conn.scalars(query.order_by(StoredCertificate.sha256)))


def ders(conn: Connection, hashes: Sequence[str]) -> dict[str, bytes]:
    """Return SHA-256 -> DER."""
    found: dict[str, bytes] = {}
    for part in chunks(hashes):
        query = select(StoredCertificate.sha256, StoredCertificate.der).where(
            StoredCertificate.sha256.in_(part)
        )
        for sha256, der in conn.execute(query):
            found[sha256] = der
    return found


def issuers_named(conn: Connection, subject: str, limit: int = 32) -> list[bytes]:
    """CA certificates with this subject, as it is stored; the newest first."""
    query = (
        select(StoredCertificate.der)
        .where(StoredCertificate.is_ca == 1, StoredCertificate.subject == subject)
        .order_by(StoredCertificate.not_after.desc())
        .limit(limit)
    )
    return list(conn.scalars(query))


def names_of(conn: Connection, hashes: Sequence[str]) -> dict[str, frozenset[str]]:
    """SHA-256 -> the names of that certificate."""
    found = {}
    for part in chunks(hashes):
        query = select(StoredCertificate.sha256, StoredCertificate.names).where(
            StoredCertificate.sha256.in_(part)
        )
        for sha, names in conn.execute(query):
            found[sha] = frozenset(json.loads(names))
    return found


def ends_of(conn: Connection, hashes: Sequence[str]) -> dict[str, int]:
    """SHA-256 -> notAfter."""
    found: dict[str, int] = {}
    for part in chunks(hashes):
        query = select(StoredCertificate.sha256, StoredCertificate.not_after).where(
            StoredCertificate.sha256.in_(part)
        )
        found |= {row[0]: row[1] for row in conn.execute(query) if row[1] is not None}
    return found


def by_serials(conn: Connection, serials: Sequence[str]) -> dict[str, list[SerialMatch]]:
    """Serial -> the certificates with it (sha256, names, issuer)."""
    found: dict[str, list[SerialMatch]] = {}
    columns = (
        StoredCertificate.sha256,
        StoredCertificate.serial,
        StoredCertificate.names,
        StoredCertificate.issuer,
    )
    for part in chunks(serials):
        query = select(*columns).where(
            StoredCertificate.serial.in_(part), StoredCertificate.is_ca == 0
        )
        for record in fetch(conn, SerialMatch, query):
            found.setdefault(record.serial, []).append(record)
    return found


def not_before_of(conn: Connection) -> dict[str, int]:
    """SHA-256 -> notBefore of every leaf that is served now."""
    query = select(StoredCertificate.sha256, StoredCertificate.not_before).where(
        StoredCertificate.sha256.in_(select(ProbeState.leaf))
    )
    return {sha: start for sha, start in conn.execute(query) if start is not None}
