"""How every endpoint stands: the query behind ``status``.

Instants are epoch seconds here: a hundred thousand rows pass through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

from sqlalchemy import Connection, Subquery, case, exists, func, literal, null, or_, select

from inventory.clock import Timestamp
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


class StatusRow(Protocol):
    """A row of :func:`current_status` and :func:`status_at`. Times are epoch seconds."""

    id: int
    host: str
    port: int
    protocol: str
    domain_id: int
    client_id: int
    client: str
    server: str | None
    last_attempt: Timestamp | None
    last_good: Timestamp | None
    leaf: str | None
    not_after: Timestamp | None
    issuer: str | None
    error_layer: str | None
    error_reason: str | None
    judged_at: Timestamp | None


def current_status(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag_name: str | None = None,
    run_id: int | None = None,
    skip_healthy: bool = False,
) -> Sequence[StatusRow]:
    """Return the active endpoints, the first end first.

    Args:
        conn: The connection.
        client_id: Only endpoints of this client.
        tag_name: Only endpoints with this tag.
        run_id: Only endpoints that this run attempted.
        skip_healthy: Only endpoints with an open finding, or never probed.
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
        # Leaving domains are included: until they have left, their faults are the provider's to
        # report.
        .where(Endpoint.state == "active", Domain.state != "retired", Client.state != "retired")
        # The two databases sort NULL at opposite ends, so endpoints without a certificate are put
        # last.
        .order_by(ProbeState.not_after.is_(None), ProbeState.not_after, Endpoint.id)
    )
    if run_id is not None:
        query = query.where(ProbeState.last_run_id == run_id)
    if skip_healthy:
        # A healthy inventory of 100,000 endpoints has few findings, so the command shows few rows
        # fast.
        has_finding = exists().where(
            StoredFinding.endpoint_id == Endpoint.id, StoredFinding.closed_at.is_(None)
        )
        # What was never judged is undetermined and not healthy.
        query = query.where(or_(ProbeState.judged_at.is_(None), has_finding))
    # Rows as SQLAlchemy returns them: records would cost more than the query of 100,000.
    return cast("Sequence[StatusRow]", conn.execute(selection(query, client_id, tag_name)).all())


def count(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag_name: str | None = None,
    run_id: int | None = None,
) -> int:
    """Return the number of endpoints that :func:`current_status` returns."""
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
) -> Sequence[StatusRow]:
    """Return the same rows as they were known at a past time, from the spans.

    The last attempt is that of the last good probe then.
    """
    timestamp = to_epoch(at)
    span = _spans_at(timestamp)
    # The span goes on after that time, so it had last been seen at that time at the latest.
    seen = case((span.c.seen > timestamp, timestamp), else_=span.c.seen)
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
            # Spans record successes only, so failures of that time are not known.
            null().label("error_layer"),
            literal("").label("error_reason"),
            literal(1).label("judged_at"),
        )
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .outerjoin(Server, Server.id == Domain.server_id)
        .outerjoin(span, span.c.endpoint_id == Endpoint.id)
        .where(
            # As it was known then: a record that was retired since is shown, and a later one is
            # not.
            Endpoint.created_at <= timestamp,
            or_(Endpoint.retired_at.is_(None), Endpoint.retired_at > timestamp),
        )
        .order_by(span.c.not_after.is_(None), span.c.not_after, Endpoint.id)
    )
    # Rows as SQLAlchemy returns them: records would cost more than the query of 100,000.
    return cast("Sequence[StatusRow]", conn.execute(selection(query, client_id, tag_name)).all())


def _spans_at(timestamp: Timestamp) -> Subquery:
    """Return what each endpoint served at a time: when it was seen, and its certificate."""
    last = (
        # Spans are kept and not overwritten, so the last one that began by then is what was served.
        select(ServedChain.endpoint_id, func.max(ServedChain.first_seen).label("first"))
        .where(ServedChain.first_seen <= timestamp)
        .group_by(ServedChain.endpoint_id)
    ).subquery()
    return (
        select(
            ServedChain.endpoint_id,
            func.max(ServedChain.last_seen).label("seen"),
            # Addresses may differ. The first end decides, as in the current status.
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


def leaves(
    conn: Connection, at: Timestamp | None = None, client_id: int | None = None
) -> dict[int, list[tuple[int, int, int | None]]]:
    """Return endpoint id -> (notBefore, notAfter, public) of each leaf that its addresses serve.

    With ``at`` (epoch seconds), it is what they served then. Foreign addresses are left out.
    """
    # The endpoint is not judged by what a server of another provider serves.
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
            # An open span goes on after its last observation, until other facts end it.
            or_(ServedChain.last_seen >= at, ServedChain.open == 1),
        )
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    found: dict[int, list[tuple[int, int, int | None]]] = {}
    for endpoint_id, start, end, public, address in conn.execute(query):
        if address in foreign.get(endpoint_id, ()):
            continue
        # The query excludes None, which the type checker does not know.
        if start is not None and end is not None:
            found.setdefault(endpoint_id, []).append((start, end, public))
    return found


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Certificates with less time left than this.

    Attributes:
        at: The time from which it is counted, in epoch seconds.
        days: The days that are left at most.
        share: The share of a short lifetime that is left at most: 6 means a sixth. Longer
            lifetimes, and those that are not known, have only the days.
        short: The first lifetime that is not short, in days.
    """

    at: Timestamp
    days: int
    share: int
    short: int


def soonest(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag_name: str | None = None,
    within: TimeLeft | None = None,
) -> tuple[str, int] | None:
    """Return the active target whose certificate ends first, and when; None without any."""
    query = (
        _ending()
        .where(ProbeState.not_after.is_not(None))
        .order_by(ProbeState.not_after, Endpoint.id)
        .limit(1)
    )
    if within is not None:
        left = ProbeState.not_after - within.at
        life = ProbeState.not_after - StoredCertificate.not_before
        query = query.where(
            left < within.days * 86_400,
            or_(
                StoredCertificate.not_before.is_(None),
                life >= within.short * 86_400,
                left * within.share < life,
            ),
        )
    row = conn.execute(selection(query, client_id, tag_name)).first()
    return None if row is None else (Target(row.host, row.port, row.protocol).key, row.not_after)


def ends(conn: Connection) -> Iterator[tuple[str, str, int, int | None]]:
    """Yield the target, client, end and begin of each certificate that an active endpoint serves.

    The begin is None if it could not be read.
    """
    for row in conn.execute(
        _ending().where(ProbeState.not_after.is_not(None)).order_by(Endpoint.id)
    ):
        target = Target(row.host, row.port, row.protocol).key
        yield target, row.number, row.not_after, row.not_before


def _ending() -> Any:
    return (
        select(
            Endpoint.host,
            Endpoint.port,
            Endpoint.protocol,
            Client.number,
            ProbeState.not_after,
            StoredCertificate.not_before,
        )
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .join(ProbeState, ProbeState.endpoint_id == Endpoint.id)
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == ProbeState.leaf)
        .where(Endpoint.state == "active", Domain.state != "retired", Client.state != "retired")
    )
