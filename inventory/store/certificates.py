"""Certificates that were served or received. A row is immutable; its key is its SHA-256."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, and_, func, or_, select

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, upsert
from inventory.errors import NotFound, UsageError
from inventory.models import (
    Client,
    Domain,
    Endpoint,
    ProbeState,
    ServedChain,
    StoredCertificate,
    StoredPurchase,
)
from inventory.names import matches
from inventory.records import CertificateRecord, LiveCertificate, LiveLeaf, SerialMatch
from inventory.store import observations
from inventory.text import printable


def add(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store certificates. One that is stored already stays as it is.

    Args:
        tx: The transaction.
        rows: The columns of each, except ``first_seen``.
    """
    unique = {r["sha256"]: r for r in rows}
    if unique:
        # Sorted, because PostgreSQL would deadlock two writers that insert the same rows in other
        # orders.
        statement: Insert = upsert(tx.conn, StoredCertificate).on_conflict_do_nothing(
            index_elements=["sha256"]
        )
        tx.conn.execute(statement, [{**unique[key], "first_seen": tx.at} for key in sorted(unique)])


def issuers(conn: Connection, limit: int = 20_000) -> list[bytes]:
    """Return certificates that can be an issuer, as DER."""
    return list(
        # The limit bounds memory: servers decide how many CA certificates are stored.
        conn.scalars(select(StoredCertificate.der).where(StoredCertificate.is_ca == 1).limit(limit))
    )


def authorities_state(conn: Connection) -> tuple[int, Timestamp | None]:
    """Return what differs if CA certificates were added or removed: their number and the newest."""
    query = select(func.count(), func.max(StoredCertificate.first_seen))
    count, newest = conn.execute(query.where(StoredCertificate.is_ca == 1)).one()
    return count, newest


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
            found[sha256] = bytes(der)
    return found


def issuers_named(conn: Connection, subject: str, limit: int = 32) -> list[bytes]:
    """Return CA certificates with a subject, as it is stored; the one that ends last first."""
    query = (
        select(StoredCertificate.der)
        .where(StoredCertificate.is_ca == 1, StoredCertificate.subject == subject)
        # A CA that renewed its intermediate signs with the newest one.
        .order_by(StoredCertificate.not_after.desc())
        .limit(limit)
    )
    return list(conn.scalars(query))


def names_of(conn: Connection, hashes: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return SHA-256 -> the names of the certificate."""
    found = {}
    for part in chunks(hashes):
        query = select(StoredCertificate.sha256, StoredCertificate.names).where(
            StoredCertificate.sha256.in_(part)
        )
        for sha, names in conn.execute(query):
            found[sha] = frozenset(names)
    return found


def ends_of(conn: Connection, hashes: Sequence[str]) -> dict[str, int]:
    """Return SHA-256 -> notAfter, in epoch seconds; certificates without one are left out."""
    found: dict[str, int] = {}
    for part in chunks(hashes):
        query = select(StoredCertificate.sha256, StoredCertificate.not_after).where(
            StoredCertificate.sha256.in_(part)
        )
        found |= {row[0]: row[1] for row in conn.execute(query) if row[1] is not None}
    return found


def by_serials(conn: Connection, serials: Sequence[str]) -> dict[str, list[SerialMatch]]:
    """Return serial number -> the leaves with it. Serial numbers are unique per CA only."""
    found: dict[str, list[SerialMatch]] = {}
    columns = (
        StoredCertificate.sha256,
        StoredCertificate.serial,
        StoredCertificate.names,
        StoredCertificate.issuer,
    )
    for part in chunks(serials):
        query = select(*columns).where(
            # CAs publish serial numbers of leaves; that of an intermediate may be the same by
            # chance.
            StoredCertificate.serial.in_(part),
            StoredCertificate.is_ca == 0,
        )
        for record in fetch(conn, SerialMatch, query):
            found.setdefault(record.serial, []).append(record)
    return found


def not_before_of(conn: Connection, fingerprints: Iterable[str] | None = None) -> dict[str, int]:
    """Return SHA-256 -> notBefore of the leaves that are served now, in epoch seconds.

    Args:
        fingerprints: Only these certificates.
    """
    query = select(StoredCertificate.sha256, StoredCertificate.not_before)
    if fingerprints is None:
        selected = [query.where(StoredCertificate.sha256.in_(select(ProbeState.leaf)))]
    else:
        parts = chunks(sorted(fingerprints))
        selected = [query.where(StoredCertificate.sha256.in_(part)) for part in parts]
    found = (row for part in selected for row in conn.execute(part))
    return {sha: start for sha, start in found if start is not None}


def find(conn: Connection, key: str) -> CertificateRecord:
    """Return a leaf certificate by its SHA-256 or serial number, or the beginning of either.

    Args:
        conn: The connection.
        key: At least eight hexadecimal digits; colons and capitals are allowed.

    Raises:
        UsageError: The key is not such a number, or several certificates begin with it.
        NotFound: There is no such certificate.
    """
    bare = key.strip().lower().replace(":", "")
    if len(bare) < 8 or not all(c in "0123456789abcdef" for c in bare):
        raise UsageError(
            f"'{printable(key, 60)}' is not a fingerprint or serial number",
            "",
            "Give at least 8 hexadecimal digits of it.",
        )
    # Serial numbers are stored without leading zeros. If fewer than 8 digits are left, they must be
    # the whole number: the beginning "1" of "00000001" would match certificates at random.
    serial = bare.lstrip("0") or "0"
    by_serial = StoredCertificate.serial == serial
    if len(serial) >= 8:
        by_serial = StoredCertificate.serial.startswith(serial)
    # A purchase or an incident is about leaves; serial numbers are unique per CA only.
    query = select(StoredCertificate).where(
        StoredCertificate.is_ca == 0, or_(StoredCertificate.sha256.startswith(bare), by_serial)
    )
    found = fetch(conn, CertificateRecord, query.limit(2))
    if len(found) > 1:
        raise UsageError(f"Several certificates begin with '{bare}'", "", "Give more of it.")
    if not found:
        raise NotFound(
            f"There is no certificate '{printable(bare, 70)}'",
            "",
            "Give the file instead, or scan first.",
        )
    return found[0]


def live(
    conn: Connection, client_id: int | None = None, *, buyers: bool = False
) -> list[LiveCertificate]:
    """Return the leaves that are served now, one record per client and certificate.

    Args:
        conn: The connection.
        client_id: Only those of this client; None for all clients.
        buyers: Only those of clients that have purchases, if ``client_id`` is None.
    """
    query = observations.of_active_endpoints(
        select(
            StoredCertificate.sha256,
            StoredCertificate.serial,
            StoredCertificate.issuer,
            StoredCertificate.not_before,
            StoredCertificate.not_after,
            StoredCertificate.names,
            Domain.client_id,
            Client.number.label("client"),
        )
        .join(ServedChain, ServedChain.leaf == StoredCertificate.sha256)
        .where(
            ServedChain.live == 1,
            # Dates that could not be parsed cannot be planned with; a finding reports them.
            StoredCertificate.not_before.is_not(None),
            StoredCertificate.not_after.is_not(None),
        )
        .distinct()
    )
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    elif buyers:
        # Clients without a purchase have no term that a certificate could be planned for.
        query = query.where(Domain.client_id.in_(select(StoredPurchase.client_id)))
    return fetch(conn, LiveCertificate, query)


def own_names(names: Iterable[str], mine: Iterable[str]) -> tuple[str, ...]:
    """Return those names of a certificate that belong to the client.

    A certificate may be shared by clients. One of them must not learn the names of the others.

    Args:
        names: The names of the certificate.
        mine: The hosts of the client.
    """
    hosts = set(mine)
    # A wildcard counts as the client's if it covers one of the client's hosts.
    return tuple(n for n in names if n in hosts or any(matches(n, h) for h in hosts if "*" in n))


def ders_in_order(conn: Connection, hashes: Sequence[str]) -> list[bytes]:
    """Return the DER of each certificate, in this order; unknown ones are left out."""
    stored = ders(conn, hashes)
    return [stored[h] for h in hashes if h in stored]


def live_leaves(conn: Connection, client_id: int, hosts: Sequence[str]) -> list[LiveLeaf]:
    """Return what the client's endpoints with these hosts serve now, each certificate once.

    The first end comes first. At most 20 are returned: a new case replaces them by name.
    """
    query = (
        select(StoredCertificate.sha256, StoredCertificate.not_after)
        .join(ServedChain, ServedChain.leaf == StoredCertificate.sha256)
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(
            and_(
                Domain.client_id == client_id,
                ServedChain.open == 1,
                ServedChain.live == 1,
                Endpoint.host.in_(list(hosts)),
                StoredCertificate.not_after.is_not(None),
            )
        )
        .distinct()
        .order_by(StoredCertificate.not_after, StoredCertificate.sha256)
        # A case names what it replaces; more than 20 certificates of one name are a
        # fault to investigate first.
        .limit(20)
    )
    return fetch(conn, LiveLeaf, query)


def served_until(conn: Connection, client_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """Return client id -> host -> the first end of what is served there now, in epoch seconds.

    Hosts that are not scanned, and certificates without a readable end, are left out.
    """
    found: dict[int, dict[str, int]] = {}
    wanted = sorted(set(client_ids))
    for part in chunks(wanted):
        query = (
            select(Domain.client_id, Endpoint.host, func.min(StoredCertificate.not_after))
            .join(Endpoint, Endpoint.domain_id == Domain.id)
            .join(ServedChain, ServedChain.endpoint_id == Endpoint.id)
            .join(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
            .where(
                Domain.client_id.in_(part),
                ServedChain.open == 1,
                ServedChain.live == 1,
                Endpoint.state == "active",
            )
            .group_by(Domain.client_id, Endpoint.host)
        )
        for client_id, host, end in conn.execute(query):
            if end is not None:
                found.setdefault(client_id, {})[host] = end
    return found
