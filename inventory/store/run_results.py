"""What a scan run saw at endpoints, as far as it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from inventory.db.sql import chunks, fetch
from inventory.models import Endpoint, PageObservation, ProbeState, ServedChain, StoredCertificate
from inventory.records import StoredAnswer, StoredProbe


def probes(conn: Connection, ids: Sequence[int]) -> list[StoredProbe]:
    """Return the last probe of each of these endpoints, with the leaf that was seen last."""
    query = (
        select(
            Endpoint.id,
            Endpoint.host,
            Endpoint.port,
            Endpoint.protocol,
            ProbeState.last_attempt,
            ProbeState.last_good,
            ProbeState.failing_since,
            ProbeState.error_layer,
            ProbeState.error_reason,
            StoredCertificate.sha256,
            StoredCertificate.serial,
            StoredCertificate.subject,
            StoredCertificate.issuer,
            StoredCertificate.names,
            StoredCertificate.not_before,
            StoredCertificate.not_after,
            StoredCertificate.key,
        )
        .join(ProbeState, ProbeState.endpoint_id == Endpoint.id)
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == ProbeState.leaf)
    )
    found: list[StoredProbe] = []
    for part in chunks(ids):
        found += fetch(conn, StoredProbe, query.where(Endpoint.id.in_(part)))
    return found


def answers(conn: Connection, ids: Sequence[int]) -> dict[int, list[StoredAnswer]]:
    """Return endpoint id -> what its addresses served in the last probe, in their order."""
    columns = [getattr(ServedChain, f) for f in StoredAnswer.__slots__]
    found: dict[int, list[StoredAnswer]] = {}
    for part in chunks(ids):
        query = select(*columns).where(
            ServedChain.endpoint_id.in_(part), ServedChain.open == 1, ServedChain.live == 1
        )
        for row in fetch(conn, StoredAnswer, query.order_by(ServedChain.address)):
            found.setdefault(row.endpoint_id, []).append(row)
    return found


def pages(conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return endpoint id -> what the last probe saw of its pages; without the unvisited ones."""
    found: dict[int, dict[str, Any]] = {}
    for part in chunks(ids):
        query = (
            select(PageObservation.endpoint_id, PageObservation.document)
            .join(ProbeState, ProbeState.endpoint_id == PageObservation.endpoint_id)
            .where(
                PageObservation.endpoint_id.in_(part),
                PageObservation.open == 1,
                # A run without pages leaves those of an earlier one as they were.
                PageObservation.last_seen >= ProbeState.last_attempt,
            )
        )
        found.update((key, document) for key, document in conn.execute(query))
    return found
