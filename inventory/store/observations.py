"""What was seen at endpoints last: the state of the probes, and what each address serves."""

from __future__ import annotations

from sqlalchemy import Connection, select

from inventory.db.sql import fetch, fetch_one
from inventory.models import ProbeState, ServedChain, StoredCertificate
from inventory.records import ObservedChain, ProbeStateRecord


def probe_state(conn: Connection, endpoint_id: int) -> ProbeStateRecord | None:
    """The last attempt and the last success; None for an endpoint that was never scanned."""
    query = select(ProbeState).where(ProbeState.endpoint_id == endpoint_id)
    return fetch_one(conn, ProbeStateRecord, query)


def served_by(conn: Connection, endpoint_id: int) -> list[ObservedChain]:
    """What each address of an endpoint served last, by address; older observations are closed."""
    query = (
        select(
            ServedChain.address,
            ServedChain.leaf,
            ServedChain.first_seen,
            ServedChain.last_seen,
            ServedChain.live,
            ServedChain.tls_version,
            ServedChain.trusted,
            StoredCertificate.serial,
            StoredCertificate.issuer,
            StoredCertificate.not_after,
            StoredCertificate.key,
        )
        # An address may answer without a certificate that could be stored.
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
        .where(ServedChain.endpoint_id == endpoint_id, ServedChain.open == 1)
        .order_by(ServedChain.address)
    )
    return fetch(conn, ObservedChain, query)
