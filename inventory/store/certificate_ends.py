"""What notices are decided from: certificates that end, where they are served, and what was served
before. For the whole inventory; a client's message is made from rows of that client alone
(notifiers/pipeline/decide.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, or_, select

from inventory.models.tables import (
    audit,
    certificate,
    client,
    domain,
    endpoint,
    finding,
    job,
    notice,
    observation,
    run,
    server,
    standing,
    tag,
)
from inventory.store.records import Row
from inventory.vocabulary import PARTY_FIELDS


@dataclass(frozen=True, slots=True)
class ServedLeaf:
    """What one address of an endpoint serves now. Instants are epoch seconds."""

    address: str
    sha256: str
    serial: str
    issuer: str
    not_before: int
    not_after: int


def ending(conn: Connection, now: int, horizon: int, *, scaled: bool) -> list[int]:
    """Ids of active endpoints at which some address serves a certificate that ends by ``horizon``.

    ``scaled``: and with less than half its life left.
    """
    query = (
        select(observation.c.endpoint_id)
        .join(certificate, certificate.c.sha256 == observation.c.leaf)
        .join(endpoint, endpoint.c.id == observation.c.endpoint_id)
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .join(client, client.c.id == domain.c.client_id)
        .where(
            observation.c.open == 1,
            observation.c.live == 1,
            certificate.c.not_after <= horizon,
            certificate.c.not_before.is_not(None),
            endpoint.c.state == "active",
            domain.c.state != "retired",
            client.c.state != "retired",
        )
        .distinct()
    )
    if scaled:
        query = query.where(
            (certificate.c.not_after - now) * 2
            <= certificate.c.not_after - certificate.c.not_before
        )
    return sorted(conn.scalars(query))


def leaves(conn: Connection, ids: Sequence[int]) -> dict[int, list[ServedLeaf]]:
    """Endpoint id -> what each of its addresses serves now."""
    found: dict[int, list[ServedLeaf]] = {}
    columns = (
        certificate.c.sha256,
        certificate.c.serial,
        certificate.c.issuer,
        certificate.c.not_before,
        certificate.c.not_after,
    )
    for start in range(0, len(ids), 500):
        query = (
            select(observation.c.endpoint_id, observation.c.address, *columns)
            .join(certificate, certificate.c.sha256 == observation.c.leaf)
            .where(
                observation.c.endpoint_id.in_(ids[start : start + 500]),
                observation.c.open == 1,
                observation.c.live == 1,
                certificate.c.not_before.is_not(None),
                certificate.c.not_after.is_not(None),
            )
            .order_by(observation.c.id)
        )
        for endpoint_id, *values in conn.execute(query):
            found.setdefault(endpoint_id, []).append(ServedLeaf(*values))
    return found


def replacements(
    conn: Connection, ids: Sequence[int]
) -> dict[int, list[tuple[str, int, int, int]]]:
    """Endpoint id -> (SHA-256, first seen, notBefore, notAfter) of every leaf that it ever served,
    in the order of their first sight.
    """
    found: dict[int, list[tuple[str, int, int, int]]] = {}
    for start in range(0, len(ids), 500):
        first = func.min(observation.c.first_seen)
        query = (
            select(
                observation.c.endpoint_id,
                certificate.c.sha256,
                first,
                certificate.c.not_before,
                certificate.c.not_after,
            )
            .join(certificate, certificate.c.sha256 == observation.c.leaf)
            .where(
                observation.c.endpoint_id.in_(ids[start : start + 500]),
                certificate.c.not_before.is_not(None),
                certificate.c.not_after.is_not(None),
            )
            .group_by(
                observation.c.endpoint_id,
                certificate.c.sha256,
                certificate.c.not_before,
                certificate.c.not_after,
            )
            .order_by(observation.c.endpoint_id, first)
        )
        for endpoint_id, sha, seen, begin, end in conn.execute(query):
            found.setdefault(endpoint_id, []).append((sha, seen, begin, end))
    return found


def places(conn: Connection, ids: Sequence[int]) -> dict[int, Row]:
    """Endpoint id -> where it stands: host, port, protocol, state, domain and client with their
    states, server, and the ``tags`` of all of them.
    """

    found: dict[int, Row] = {}
    columns = (
        endpoint.c.id,
        endpoint.c.host,
        endpoint.c.port,
        endpoint.c.protocol,
        endpoint.c.state,
        endpoint.c.domain_id,
        domain.c.client_id,
        domain.c.server_id,
        domain.c.state.label("domain_state"),
        standing.c.last_run_id,
        domain.c.purpose,
        client.c.number.label("client"),
        client.c.state.label("client_state"),
        server.c.name.label("server"),
        *[domain.c[f] for f in PARTY_FIELDS],
        *[client.c[f].label(f"client_{f}") for f in PARTY_FIELDS],
        *[server.c[f].label(f"server_{f}") for f in PARTY_FIELDS],
    )
    tags: dict[tuple[str, int], set[str]] = {}
    for kind, row_id, name in conn.execute(select(tag.c.kind, tag.c.row_id, tag.c.name)):
        tags.setdefault((kind, row_id), set()).add(name)
    for start in range(0, len(ids), 500):
        query = (
            select(*columns)
            .join(domain, domain.c.id == endpoint.c.domain_id)
            .join(client, client.c.id == domain.c.client_id)
            .outerjoin(server, server.c.id == domain.c.server_id)
            .outerjoin(standing, standing.c.endpoint_id == endpoint.c.id)
            .where(endpoint.c.id.in_(ids[start : start + 500]))
        )
        for row in conn.execute(query).mappings():
            own = [
                tags.get(k, ())
                for k in (
                    ("endpoint", row["id"]),
                    ("domain", row["domain_id"]),
                    ("client", row["client_id"]),
                )
            ]
            found[row["id"]] = dict(row) | {"tags": frozenset(t for group in own for t in group)}
    return found


def ends_of(conn: Connection, hashes: Sequence[str]) -> dict[str, int]:
    """SHA-256 -> notAfter."""
    found: dict[str, int] = {}
    for start in range(0, len(hashes), 500):
        query = select(certificate.c.sha256, certificate.c.not_after).where(
            certificate.c.sha256.in_(hashes[start : start + 500])
        )
        found |= {row[0]: row[1] for row in conn.execute(query) if row[1] is not None}
    return found


def fault_rows(conn: Connection, ids: Sequence[int]) -> dict[int, Row]:
    """Finding id -> its row (code, severity, addresses, evidence as JSON text, closed_at)."""
    found: dict[int, Row] = {}
    for start in range(0, len(ids), 500):
        for row in conn.execute(
            select(finding).where(finding.c.id.in_(ids[start : start + 500]))
        ).mappings():
            found[row["id"]] = dict(row)
    return found


def last_run(conn: Connection) -> Row | None:
    """The last run that ended: id, state, reason, finished_at."""
    columns = (run.c.id, run.c.state, run.c.reason, run.c.finished_at)
    row = (
        conn.execute(
            select(*columns)
            .where(run.c.finished_at.is_not(None))
            .order_by(run.c.id.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    return None if row is None else dict(row)


def last_complete(conn: Connection) -> int | None:
    """When a complete run of the whole inventory last ended."""
    return conn.execute(
        select(func.max(run.c.finished_at)).where(run.c.state == "complete", run.c.scope == "")
    ).scalar()


def newest_instant(conn: Connection) -> int | None:
    """The latest instant that the database has written: a clock before it was set back."""
    queries = (
        select(func.max(audit.c.at)),
        select(func.max(run.c.finished_at)),
        select(func.max(notice.c.created_at)),
        select(func.max(notice.c.sent_at)),
        select(func.max(job.c.started_at)),
        select(func.max(job.c.success_at)),
    )
    found = conn.execute(select(*(query.scalar_subquery() for query in queries))).one()
    return max((at for at in found if at is not None), default=None)


def count_clients(conn: Connection) -> int:
    """Active clients that have a domain."""
    query = select(func.count(func.distinct(domain.c.client_id))).join(
        client, client.c.id == domain.c.client_id
    )
    return int(
        conn.execute(query.where(domain.c.state != "retired", client.c.state != "retired")).scalar()
        or 0
    )


def named(conn: Connection, name: str) -> list[tuple[int, int]]:
    """(endpoint id, domain id) of everything with this host, or of the domain with this name;
    retired ones too.
    """
    query = select(endpoint.c.id, endpoint.c.domain_id).join(
        domain, domain.c.id == endpoint.c.domain_id
    )
    rows: list[Any] = list(
        conn.execute(query.where(or_(endpoint.c.host == name, domain.c.name == name)))
    )
    return [(row[0], row[1]) for row in rows]
