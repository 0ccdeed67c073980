"""What was seen at endpoints last: the state of the probes, and what each address serves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select

from inventory.db.sql import fetch, fetch_one
from inventory.models import Client, Domain, Endpoint, ProbeState, ServedChain, StoredCertificate
from inventory.records import ObservedChain, ProbeStateRecord


def of_active_endpoints(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Restrict a query over observations to the open ones of active endpoints.

    It joins endpoint, domain and client. An observation stays open while its address does not
    answer; a caller that needs what the last probe saw adds ``ServedChain.live``.
    """
    return (
        query.join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .where(
            ServedChain.open == 1,
            Endpoint.state == "active",
            # Leaving domains count: until they have left, the provider reports their faults.
            Domain.state != "retired",
            Client.state != "retired",
        )
    )


def probe_state(conn: Connection, endpoint_id: int) -> ProbeStateRecord | None:
    """Return the last attempt and success; None for an endpoint that was never scanned."""
    query = select(ProbeState).where(ProbeState.endpoint_id == endpoint_id)
    return fetch_one(conn, ProbeStateRecord, query)


def served_by(conn: Connection, endpoint_id: int) -> list[ObservedChain]:
    """Return what each address of an endpoint served last, in the order of the addresses."""
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
