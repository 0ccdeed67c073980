"""How every endpoint stands: the query behind ``status``.

Instants are epoch seconds here: a hundred thousand rows pass through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, exists, func, literal, null, or_, select

from inventory.db.database import to_epoch
from inventory.models import (
    Client,
    Domain,
    Endpoint,
    ProbeState,
    ServedChain,
    Server,
    StoredCertificate,
    StoredFinding,
)
from inventory.store import foreign_addresses
from inventory.store.endpoints import selection
from inventory.targets import Target


def current_status(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag_name: str | None = None,
    run_id: int | None = None,
    skip_healthy: bool = False,
) -> Sequence[Any]:
    """Rows of active endpoints, soonest end first: id, host, port, protocol, domain_id, client_id,
    client, server, last_attempt, last_good, leaf, not_after, issuer, error_layer, error_reason.
    ``skip_healthy``: only those with an open finding, or never probed.
    """
    query = (
        select(
            Endpoint.id,
            Endpoint.host,
            Endpoint.port,
            Endpoint.protocol,
            Endpoint.domain_id,
            Domain.client_id,
            Client.number.label("client"),
            Server.name.label("server"),
            ProbeState.last_attempt,
            ProbeState.last_good,
            ProbeState.leaf,
            ProbeState.not_after,
            ProbeState.issuer,
            ProbeState.error_layer,
            ProbeState.error_reason,
            ProbeState.judged_at,
        )
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .outerjoin(Server, Server.id == Domain.server_id)
        .outerjoin(ProbeState, ProbeState.endpoint_id == Endpoint.id)
        .where(Endpoint.state == "active", Domain.state != "retired", Client.state != "retired")
        .order_by(ProbeState.not_after.is_(None), ProbeState.not_after, Endpoint.id)
    )
    if run_id is not None:
        query = query.where(ProbeState.last_run_id == run_id)
    if skip_healthy:
        has_finding = exists().where(
            StoredFinding.endpoint_id == Endpoint.id, StoredFinding.closed_at.is_(None)
        )
        query = query.where(or_(ProbeState.judged_at.is_(None), has_finding))
    return conn.execute(selection(query, client_id, tag_name)).all()


def count(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag_name: str | None = None,
    run_id: int | None = None,
) -> int:
    """How many endpoints :func:`current_status` would give."""
    query = (
        select(func.count())
        .select_from(Endpoint)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .where(Endpoint.state == "active", Domain.state != "retired", Client.state != "retired")
    )
    if run_id is not None:
        query = query.join(ProbeState, ProbeState.endpoint_id == Endpoint.id).where(
            ProbeState.last_run_id == run_id
        )
    return int(conn.execute(selection(query, client_id, tag_name)).scalar() or 0)


def status_at(
    conn: Connection, at: datetime, *, client_id: int | None = None, tag_name: str | None = None
) -> Sequence[Any]:
    """The same rows as they were known at a past instant, from the spans.

    The last attempt is that of the last good probe then.
    """
    moment = to_epoch(at)
    last = (
        select(ServedChain.endpoint_id, func.max(ServedChain.first_seen).label("first"))
        .where(ServedChain.first_seen <= moment)
        .group_by(ServedChain.endpoint_id)
    ).subquery()
    span = (
        select(
            ServedChain.endpoint_id,
            func.max(ServedChain.last_seen).label("seen"),
            func.min(StoredCertificate.not_after).label("not_after"),
            func.min(StoredCertificate.issuer).label("issuer"),
            func.min(ServedChain.leaf).label("leaf"),
        )
        .join(
            last,
            (last.c.endpoint_id == ServedChain.endpoint_id)
            & (last.c.first == ServedChain.first_seen),
        )
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
        .group_by(ServedChain.endpoint_id)
    ).subquery()
    seen = case((span.c.seen > moment, moment), else_=span.c.seen)
    query = (
        select(
            Endpoint.id,
            Endpoint.host,
            Endpoint.port,
            Endpoint.protocol,
            Endpoint.domain_id,
            Domain.client_id,
            Client.number.label("client"),
            Server.name.label("server"),
            seen.label("last_attempt"),
            seen.label("last_good"),
            span.c.leaf,
            span.c.not_after,
            span.c.issuer,
            null().label("error_layer"),
            literal("").label("error_reason"),
            literal(1).label("judged_at"),
        )
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .outerjoin(Server, Server.id == Domain.server_id)
        .outerjoin(span, span.c.endpoint_id == Endpoint.id)
        .where(
            Endpoint.created_at <= moment,
            or_(Endpoint.retired_at.is_(None), Endpoint.retired_at > moment),
        )
        .order_by(span.c.not_after.is_(None), span.c.not_after, Endpoint.id)
    )
    return conn.execute(selection(query, client_id, tag_name)).all()


def leaves(
    conn: Connection, at: int | None = None, client_id: int | None = None
) -> dict[int, list[tuple[int, int, int | None]]]:
    """Endpoint id -> (notBefore, notAfter, public) of each leaf that its addresses serve now, or
    served at ``at``. Foreign addresses are left out.
    """
    foreign = foreign_addresses.by_endpoint(conn, at)
    query = (
        select(
            ServedChain.endpoint_id,
            StoredCertificate.not_before,
            StoredCertificate.not_after,
            ServedChain.public,
            ServedChain.address,
        )
        .join(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(StoredCertificate.not_before.is_not(None), StoredCertificate.not_after.is_not(None))
        .order_by(ServedChain.id)
    )
    if at is None:
        query = query.where(ServedChain.open == 1)
    else:
        query = query.where(
            ServedChain.first_seen <= at,
            or_(ServedChain.last_seen >= at, ServedChain.open == 1),
        )
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    found: dict[int, list[tuple[int, int, int | None]]] = {}
    for endpoint_id, start, end, public, address in conn.execute(query):
        if address in foreign.get(endpoint_id, ()):
            continue
        if start is not None and end is not None:
            found.setdefault(endpoint_id, []).append((start, end, public))
    return found


def soonest(
    conn: Connection, *, client_id: int | None = None, tag_name: str | None = None
) -> tuple[str, int] | None:
    """The target whose certificate ends first, and when; of active endpoints."""
    query = (
        _ending()
        .where(ProbeState.not_after.is_not(None))
        .order_by(ProbeState.not_after, Endpoint.id)
        .limit(1)
    )
    row = conn.execute(selection(query, client_id, tag_name)).first()
    return None if row is None else (Target(row.host, row.port, row.protocol).key, row.not_after)


def ends(conn: Connection) -> Iterator[tuple[str, str, int]]:
    """(target, client, notAfter) of every active endpoint at which a certificate was seen."""
    for row in conn.execute(
        _ending().where(ProbeState.not_after.is_not(None)).order_by(Endpoint.id)
    ):
        yield Target(row.host, row.port, row.protocol).key, row.number, row.not_after


def _ending() -> Any:
    return (
        select(
            Endpoint.host,
            Endpoint.port,
            Endpoint.protocol,
            Client.number,
            ProbeState.not_after,
        )
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .join(ProbeState, ProbeState.endpoint_id == Endpoint.id)
        .where(Endpoint.state == "active", Domain.state != "retired", Client.state != "retired")
    )
