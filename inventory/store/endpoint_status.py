"""How every endpoint stands: the query behind ``status``.

Instants are epoch seconds here: a hundred thousand rows pass through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, exists, func, literal, null, or_, select

from inventory.db.database import to_epoch
from inventory.models.tables import (
    certificate,
    client,
    domain,
    endpoint,
    finding,
    observation,
    server,
    standing,
    tag,
)
from inventory.store.endpoints import selection
from inventory.targets import Target


def standings(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag_name: str | None = None,
    run_id: int | None = None,
    troubled: bool = False,
) -> Sequence[Any]:
    """Rows of active endpoints, soonest end first: id, host, port, protocol, domain_id, client_id,
    client, server, last_attempt, last_good, leaf, not_after, issuer, error_layer, error_reason.
    ``troubled``: only those with an open finding, or never looked at.
    """
    query = (
        select(
            endpoint.c.id,
            endpoint.c.host,
            endpoint.c.port,
            endpoint.c.protocol,
            endpoint.c.domain_id,
            domain.c.client_id,
            client.c.number.label("client"),
            server.c.name.label("server"),
            standing.c.last_attempt,
            standing.c.last_good,
            standing.c.leaf,
            standing.c.not_after,
            standing.c.issuer,
            standing.c.error_layer,
            standing.c.error_reason,
            standing.c.judged_at,
        )
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .join(client, client.c.id == domain.c.client_id)
        .outerjoin(server, server.c.id == domain.c.server_id)
        .outerjoin(standing, standing.c.endpoint_id == endpoint.c.id)
        .where(
            endpoint.c.state == "active", domain.c.state != "retired", client.c.state != "retired"
        )
        .order_by(standing.c.not_after.is_(None), standing.c.not_after, endpoint.c.id)
    )
    if run_id is not None:
        query = query.where(standing.c.last_run_id == run_id)
    if troubled:
        has_finding = exists().where(
            finding.c.endpoint_id == endpoint.c.id, finding.c.closed_at.is_(None)
        )
        query = query.where(or_(standing.c.judged_at.is_(None), has_finding))
    return conn.execute(selection(query, client_id, tag_name)).all()


def count(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag_name: str | None = None,
    run_id: int | None = None,
) -> int:
    """How many endpoints :func:`standings` would give."""
    query = (
        select(func.count())
        .select_from(endpoint)
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .join(client, client.c.id == domain.c.client_id)
        .where(
            endpoint.c.state == "active", domain.c.state != "retired", client.c.state != "retired"
        )
    )
    if run_id is not None:
        query = query.join(standing, standing.c.endpoint_id == endpoint.c.id).where(
            standing.c.last_run_id == run_id
        )
    return int(conn.execute(selection(query, client_id, tag_name)).scalar() or 0)


def standings_then(
    conn: Connection, at: datetime, *, client_id: int | None = None, tag_name: str | None = None
) -> Sequence[Any]:
    """The same rows as they were known at a past instant, from the spans.

    The last attempt is that of the last good look then.
    """
    moment = to_epoch(at)
    last = (
        select(observation.c.endpoint_id, func.max(observation.c.first_seen).label("first"))
        .where(observation.c.first_seen <= moment)
        .group_by(observation.c.endpoint_id)
    ).subquery()
    span = (
        select(
            observation.c.endpoint_id,
            func.max(observation.c.last_seen).label("seen"),
            func.min(certificate.c.not_after).label("not_after"),
            func.min(certificate.c.issuer).label("issuer"),
            func.min(observation.c.leaf).label("leaf"),
        )
        .join(
            last,
            (last.c.endpoint_id == observation.c.endpoint_id)
            & (last.c.first == observation.c.first_seen),
        )
        .outerjoin(certificate, certificate.c.sha256 == observation.c.leaf)
        .group_by(observation.c.endpoint_id)
    ).subquery()
    seen = case((span.c.seen > moment, moment), else_=span.c.seen)
    query = (
        select(
            endpoint.c.id,
            endpoint.c.host,
            endpoint.c.port,
            endpoint.c.protocol,
            endpoint.c.domain_id,
            domain.c.client_id,
            client.c.number.label("client"),
            server.c.name.label("server"),
            seen.label("last_attempt"),
            seen.label("last_good"),
            span.c.leaf,
            span.c.not_after,
            span.c.issuer,
            null().label("error_layer"),
            literal("").label("error_reason"),
            literal(1).label("judged_at"),
        )
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .join(client, client.c.id == domain.c.client_id)
        .outerjoin(server, server.c.id == domain.c.server_id)
        .outerjoin(span, span.c.endpoint_id == endpoint.c.id)
        .where(
            endpoint.c.created_at <= moment,
            or_(endpoint.c.retired_at.is_(None), endpoint.c.retired_at > moment),
        )
        .order_by(span.c.not_after.is_(None), span.c.not_after, endpoint.c.id)
    )
    return conn.execute(selection(query, client_id, tag_name)).all()


def not_before_of(conn: Connection) -> dict[str, int]:
    """SHA-256 -> notBefore of every leaf that is served now."""
    query = select(certificate.c.sha256, certificate.c.not_before).where(
        certificate.c.sha256.in_(select(standing.c.leaf))
    )
    return {sha: start for sha, start in conn.execute(query) if start is not None}


def leaves(
    conn: Connection, at: int | None = None, client_id: int | None = None
) -> dict[int, list[tuple[int, int, int | None]]]:
    """Endpoint id -> (notBefore, notAfter, public) of each leaf that its addresses serve now, or
    served at ``at``.
    """
    query = (
        select(
            observation.c.endpoint_id,
            certificate.c.not_before,
            certificate.c.not_after,
            observation.c.public,
        )
        .join(certificate, certificate.c.sha256 == observation.c.leaf)
        .join(endpoint, endpoint.c.id == observation.c.endpoint_id)
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .where(certificate.c.not_before.is_not(None), certificate.c.not_after.is_not(None))
        .order_by(observation.c.id)
    )
    if at is None:
        query = query.where(observation.c.open == 1)
    else:
        query = query.where(
            observation.c.first_seen <= at,
            or_(observation.c.last_seen >= at, observation.c.open == 1),
        )
    if client_id is not None:
        query = query.where(domain.c.client_id == client_id)
    found: dict[int, list[tuple[int, int, int | None]]] = {}
    for endpoint_id, start, end, public in conn.execute(query):
        found.setdefault(endpoint_id, []).append((start, end, public))
    return found


def client_tags(conn: Connection, client_id: int | None = None) -> dict[int, frozenset[str]]:
    """Client id -> its tags."""
    query = select(tag.c.row_id, tag.c.name).where(tag.c.kind == "client")
    if client_id is not None:
        query = query.where(tag.c.row_id == client_id)
    found: dict[int, frozenset[str]] = {}
    for row_id, name in conn.execute(query):
        found[row_id] = found.get(row_id, frozenset()) | {name}
    return found


def clients_with_tag(conn: Connection, name: str) -> set[int]:
    """Ids of clients that have the tag, or one of whose domains has it."""
    mine = select(tag.c.row_id).where(tag.c.kind == "client", tag.c.name == name)
    tagged = select(tag.c.row_id).where(tag.c.kind == "domain", tag.c.name == name)
    return set(conn.scalars(mine)) | set(
        conn.scalars(
            select(domain.c.client_id).where(domain.c.id.in_(tagged), domain.c.state != "retired")
        )
    )


def soonest(
    conn: Connection, *, client_id: int | None = None, tag_name: str | None = None
) -> tuple[str, int] | None:
    """The target whose certificate ends first, and when; of active endpoints."""
    query = (
        _ending()
        .where(standing.c.not_after.is_not(None))
        .order_by(standing.c.not_after, endpoint.c.id)
        .limit(1)
    )
    row = conn.execute(selection(query, client_id, tag_name)).first()
    return None if row is None else (Target(row.host, row.port, row.protocol).key, row.not_after)


def ends(conn: Connection) -> Iterator[tuple[str, str, int]]:
    """(target, client, notAfter) of every active endpoint at which a certificate was seen."""
    for row in conn.execute(
        _ending().where(standing.c.not_after.is_not(None)).order_by(endpoint.c.id)
    ):
        yield Target(row.host, row.port, row.protocol).key, row.number, row.not_after


def _ending() -> Any:
    return (
        select(
            endpoint.c.host,
            endpoint.c.port,
            endpoint.c.protocol,
            client.c.number,
            standing.c.not_after,
        )
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .join(client, client.c.id == domain.c.client_id)
        .join(standing, standing.c.endpoint_id == endpoint.c.id)
        .where(
            endpoint.c.state == "active", domain.c.state != "retired", client.c.state != "retired"
        )
    )
