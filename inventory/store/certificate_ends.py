"""The basis of notices: certificates that end, where they are served, and what was served before.

The queries cover the whole inventory. A message to a client is made from rows of that client alone
(notifiers/pipeline/addressees.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from inventory.clock import Timestamp
from inventory.db.sql import chunks, fetch_all
from inventory.models import (
    Client,
    Domain,
    Endpoint,
    ProbeState,
    ServedChain,
    Server,
    StoredCertificate,
    Tag,
)
from inventory.records import EndpointOwnership
from inventory.store import foreign_addresses, observations
from inventory.store.domains import parties_of_row, without_parties
from inventory.vocabulary import PARTY_FIELDS


@dataclass(frozen=True, slots=True)
class ServedLeaf:
    """What one address of an endpoint serves now. Times are epoch seconds."""

    address: str
    sha256: str
    serial: str
    issuer: str
    not_before: Timestamp
    not_after: Timestamp


@dataclass(frozen=True, slots=True)
class EarlierLeaf:
    """A leaf that an endpoint served, now or before. Times are epoch seconds.

    Attributes:
        sha256: Its fingerprint.
        first_seen: When a scan saw it there for the first time.
    """

    sha256: str
    first_seen: Timestamp
    not_before: Timestamp
    not_after: Timestamp


def ending(conn: Connection, now: Timestamp, horizon: Timestamp, *, scaled: bool) -> list[int]:
    """Return the active endpoints at which an address serves a certificate that ends soon.

    Args:
        conn: The connection.
        now: The current time, in epoch seconds.
        horizon: The end is at this time or before.
        scaled: Whether less than half of the lifetime must be left too.
    """
    query = observations.of_active_endpoints(
        select(ServedChain.endpoint_id)
        .join(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
        .where(
            ServedChain.live == 1,
            StoredCertificate.not_after <= horizon,
            # Without a begin, the lifetime is unknown, and with it how many days ahead to notify.
            StoredCertificate.not_before.is_not(None),
        )
        .distinct()
    )
    if scaled:
        query = query.where(
            # Multiplied, because both databases cut the quotient of integers. For a certificate of
            # 90 days, a horizon of 60 days would list it for most of its life.
            (StoredCertificate.not_after - now) * 2
            <= StoredCertificate.not_after - StoredCertificate.not_before
        )
    return sorted(conn.scalars(query))


def leaves(conn: Connection, ids: Sequence[int]) -> dict[int, list[ServedLeaf]]:
    """Return endpoint id -> what each of its addresses serves now, without foreign addresses."""
    # A foreign server's certificate is no reason to notify the client of an end.
    foreign = foreign_addresses.by_endpoint(conn)
    found: dict[int, list[ServedLeaf]] = {}
    columns = (
        StoredCertificate.sha256,
        StoredCertificate.serial,
        StoredCertificate.issuer,
        StoredCertificate.not_before,
        StoredCertificate.not_after,
    )
    for part in chunks(ids):
        query = (
            select(ServedChain.endpoint_id, ServedChain.address, *columns)
            .join(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
            .where(
                ServedChain.endpoint_id.in_(part),
                ServedChain.open == 1,
                ServedChain.live == 1,
                StoredCertificate.not_before.is_not(None),
                StoredCertificate.not_after.is_not(None),
            )
            .order_by(ServedChain.id)
        )
        for row in conn.execute(query).mappings():
            values = dict(row)
            endpoint_id = values.pop("endpoint_id")
            if values["address"] not in foreign.get(endpoint_id, ()):
                found.setdefault(endpoint_id, []).append(ServedLeaf(**values))
    return found


@dataclass(frozen=True, slots=True)
class ReplacedEndpoint:
    """An active endpoint whose certificate was replaced at least twice."""

    endpoint_id: int
    client_id: int
    host: str


def replaced_endpoints(conn: Connection, client_id: int | None = None) -> list[ReplacedEndpoint]:
    """Return the active endpoints that served at least three leaves, so replaced two of them."""
    query = (
        select(ServedChain.endpoint_id, Domain.client_id, Endpoint.host)
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(Endpoint.state == "active", Domain.state != "retired")
        .group_by(ServedChain.endpoint_id, Domain.client_id, Endpoint.host)
        # Three leaves are two replacements, the least from which a rhythm can be learned.
        .having(func.count(func.distinct(ServedChain.leaf)) >= 3)
        .order_by(ServedChain.endpoint_id)
    )
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    return [ReplacedEndpoint(**row) for row in conn.execute(query).mappings()]


def replacements(conn: Connection, ids: Sequence[int]) -> dict[int, list[EarlierLeaf]]:
    """Return endpoint id -> the leaves that it served, in the order in which they were seen."""
    found: dict[int, list[EarlierLeaf]] = {}
    for part in chunks(ids):
        first = func.min(ServedChain.first_seen)
        query = (
            select(
                ServedChain.endpoint_id,
                StoredCertificate.sha256,
                first,
                StoredCertificate.not_before,
                StoredCertificate.not_after,
            )
            .join(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
            .where(
                # All spans, closed ones too: they are the history of replacements.
                ServedChain.endpoint_id.in_(part),
                StoredCertificate.not_before.is_not(None),
                StoredCertificate.not_after.is_not(None),
            )
            .group_by(
                ServedChain.endpoint_id,
                StoredCertificate.sha256,
                StoredCertificate.not_before,
                StoredCertificate.not_after,
            )
            .order_by(ServedChain.endpoint_id, first)
        )
        for endpoint_id, sha, seen, begin, end in conn.execute(query):
            # The query excludes None, which the type checker does not know.
            if begin is not None and end is not None:
                found.setdefault(endpoint_id, []).append(EarlierLeaf(sha, seen, begin, end))
    return found


def places(conn: Connection, ids: Sequence[int]) -> dict[int, EndpointOwnership]:
    """Return endpoint id -> its domain, client and server with their states, parties and tags."""
    found: dict[int, EndpointOwnership] = {}
    columns = (
        Endpoint.id,
        Endpoint.host,
        Endpoint.port,
        Endpoint.protocol,
        Endpoint.state,
        Endpoint.domain_id,
        Domain.client_id,
        Domain.server_id,
        Domain.state.label("domain_state"),
        ProbeState.last_run_id,
        Domain.purpose,
        Client.number.label("client"),
        Client.state.label("client_state"),
        Server.name.label("server"),
        *[Domain.__table__.c[f] for f in PARTY_FIELDS],
        *[Client.__table__.c[f].label(f"client_{f}") for f in PARTY_FIELDS],
        *[Server.__table__.c[f].label(f"server_{f}") for f in PARTY_FIELDS],
    )
    tags: dict[tuple[str, int], set[str]] = {}
    # All tags are read at once: the table is small, and an endpoint needs those of three kinds.
    for kind, row_id, name in conn.execute(select(Tag.kind, Tag.row_id, Tag.name)):
        tags.setdefault((kind, row_id), set()).add(name)
    for part in chunks(ids):
        query = (
            select(*columns)
            .join(Domain, Domain.id == Endpoint.domain_id)
            .join(Client, Client.id == Domain.client_id)
            .outerjoin(Server, Server.id == Domain.server_id)
            .outerjoin(ProbeState, ProbeState.endpoint_id == Endpoint.id)
            .where(Endpoint.id.in_(part))
        )
        for row in fetch_all(conn, query):
            # A threshold may be set for a tag of the client, of the domain or of the endpoint
            # alone.
            own = [
                tags.get(k, ())
                for k in (
                    ("endpoint", row["id"]),
                    ("domain", row["domain_id"]),
                    ("client", row["client_id"]),
                )
            ]
            found[row["id"]] = EndpointOwnership(
                **without_parties(row),
                tags=frozenset(t for group in own for t in group),
                parties=parties_of_row(row),
            )
    return found
