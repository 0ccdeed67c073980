"""Incidents: many certificates that have to be replaced by a time, and the state of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, exists, func, insert, null, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, insert_id
from inventory.models import (
    Case,
    Client,
    Domain,
    Endpoint,
    Incident,
    IncidentItem,
    Issuance,
    ServedChain,
    Server,
    StoredCertificate,
    StoredLineage,
)
from inventory.names import matches
from inventory.records import (
    IncidentItemRecord,
    IncidentRecord,
    ServedName,
)
from inventory.store import editing, observations, tickets
from inventory.text import typed_reference
from inventory.vocabulary import IncidentCategory, IncidentKind

# The certificate of a lineage that is in use; the newest one if no target has it yet.
_IN_USE = func.coalesce(StoredLineage.deployed, StoredLineage.sha256)


def add(tx: Tx, kind: IncidentKind, what: str, until: Timestamp, reason: str) -> IncidentRecord:
    """Record an incident under a new reference.

    Args:
        tx: The transaction.
        kind: How its certificates were selected.
        what: The criterion of the selection.
        until: By when they must be replaced, in epoch seconds.
        reason: Why, for staff only.
    """
    # Another prefix than that of tickets, because an incident concerns many clients and is
    # internal.
    reference = "IN-" + tickets.new_reference().removeprefix("CM-")
    values = {
        "reference": reference,
        "kind": kind,
        "what": what[:500],
        "until": until,
        "reason": reason,
        "by": tx.actor,
        "opened_at": tx.at,
    }
    key = insert_id(tx.conn, Incident, values)
    tx.audit("open", "incident", key, {"kind": kind, "until": until})
    return find(tx.conn, reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIncidentItem:
    """A certificate that an incident concerns.

    Attributes:
        serial: The serial number in hexadecimal.
        sha256: The certificate; None if the inventory does not know it.
        client_id: The client whose sites serve it; None if there is none.
        names: The hosts or the names of the case.
        sort: Who replaces it.
        case_id: The case that replaces it; None if there is none.
    """

    serial: str
    sha256: str | None = None
    client_id: int | None = None
    names: tuple[str, ...] = ()
    sort: IncidentCategory
    case_id: int | None = None


def add_items(tx: Tx, incident_id: int, items: Sequence[NewIncidentItem]) -> None:
    """Store the certificates of an incident."""
    if items:
        rows = [asdict(item) | {"incident_id": incident_id} for item in items]
        tx.conn.execute(insert(IncidentItem), rows)


def find(conn: Connection, reference: str) -> IncidentRecord:
    """Return an incident by its reference, or raise :class:`NotFound`."""
    query = select(Incident).where(Incident.reference == typed_reference(reference))
    return editing.one(conn, IncidentRecord, query, "incident", reference, "certmgr incident list")


def listing(conn: Connection, *, ended: bool = False) -> list[IncidentRecord]:
    """Return incidents, the most urgent first; closed ones only with ``ended``."""
    query = select(Incident).order_by(Incident.until, Incident.id)
    if not ended:
        query = query.where(Incident.closed_at.is_(None))
    return fetch(conn, IncidentRecord, query)


def items(conn: Connection, incident_id: int) -> list[IncidentItemRecord]:
    """Return the certificates of an incident, each with its case and where it is still served."""
    live = (
        select(
            ServedChain.leaf,
            Domain.client_id,
            func.count().label("served"),
            # An open span counts also if its address did not answer lately: silence proves no
            # replacement.
            func.max(ServedChain.last_seen).label("seen_at"),
        )
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(ServedChain.open == 1, Endpoint.state == "active", Domain.state != "retired")
        .group_by(ServedChain.leaf, Domain.client_id)
    ).subquery()
    query = (
        select(
            IncidentItem,
            Client.number.label("client"),
            Case.reference,
            Case.state,
            Case.due_at,
            func.coalesce(live.c.served, 0).label("served"),
            func.coalesce(live.c.seen_at, 0).label("seen_at"),
            _held_of_item().label("held"),
        )
        # A serial number of the CA's list may be of no client.
        .outerjoin(Client, Client.id == IncidentItem.client_id)
        .outerjoin(Case, Case.id == IncidentItem.case_id)
        .outerjoin(
            live,
            # Per client: clients may share a certificate, and each replaces it at its own sites.
            (live.c.leaf == IncidentItem.sha256) & (live.c.client_id == IncidentItem.client_id),
        )
        .where(IncidentItem.incident_id == incident_id)
        # The two databases sort NULL at opposite ends: items without a client come last.
        .order_by(IncidentItem.sort, Client.number.is_(None), Client.number, IncidentItem.id)
    )
    return fetch(conn, IncidentItemRecord, query)


def _held_of_item() -> ScalarSelect[int]:
    """Return the number of active lineages that hold the certificate of an item; see held()."""
    return (
        select(func.count())
        .select_from(StoredLineage)
        .where(
            StoredLineage.state == "active",
            IncidentItem.sha256 == _IN_USE,
            ~exists().where(ServedChain.leaf == IncidentItem.sha256),
        )
        .correlate(IncidentItem)
        .scalar_subquery()
    )


def close(tx: Tx, incident_id: int) -> None:
    """Close an incident whose certificates are replaced."""
    tx.conn.execute(update(Incident).where(Incident.id == incident_id).values(closed_at=tx.at))
    tx.audit("close", "incident", incident_id)


def reopen(tx: Tx, incident_id: int) -> None:
    """Open an incident again, since one of its certificates is served again."""
    tx.conn.execute(update(Incident).where(Incident.id == incident_id).values(closed_at=None))
    tx.audit("reopen", "incident", incident_id)


def served(conn: Connection, *, server_name: str | None = None) -> list[ServedName]:
    """Return the leaves that were seen last, one row per endpoint and leaf.

    An address that did not answer since still counts. Retired endpoints are left out.
    """
    query = observations.of_active_endpoints(
        select(
            StoredCertificate.sha256,
            StoredCertificate.serial,
            StoredCertificate.issuer,
            StoredCertificate.names,
            Endpoint.host,
            Endpoint.domain_id,
            Domain.client_id,
            Client.number.label("client"),
        )
        .join(ServedChain, ServedChain.leaf == StoredCertificate.sha256)
        .distinct()
        .order_by(Client.number, Endpoint.host)
    )
    if server_name is not None:
        query = query.join(Server, Server.id == Domain.server_id).where(Server.name == server_name)
    return fetch(conn, ServedName, query)


@dataclass(frozen=True, slots=True)
class HeldLeaf:
    """The certificate of an active lineage that no scan has seen.

    Attributes:
        chain: The SHA-256 of each certificate, leaf first.
    """

    sha256: str
    serial: str
    issuer: str
    names: tuple[str, ...]
    chain: tuple[str, ...]
    client_id: int
    client: str


def held(conn: Connection) -> list[HeldLeaf]:
    """Return the certificates of active lineages that no scan has seen.

    A server with an RSA and an EC certificate presents one of them per handshake, so a scan does
    not see the other, which clients without EC get.
    """
    query = (
        select(
            StoredCertificate.sha256,
            StoredCertificate.serial,
            StoredCertificate.issuer,
            StoredCertificate.names,
            StoredLineage.chain,
            StoredLineage.client_id,
            Client.number,
        )
        .join(StoredLineage, StoredCertificate.sha256 == _IN_USE)
        .join(Client, Client.id == StoredLineage.client_id)
        .where(
            StoredLineage.state == "active",
            Client.state != "retired",
            ~exists().where(ServedChain.leaf == StoredCertificate.sha256),
        )
        .order_by(StoredLineage.id)
    )
    return [HeldLeaf(*row) for row in conn.execute(query)]


@dataclass(frozen=True, slots=True)
class SeenLeaf:
    """A leaf that was seen at a client's host.

    Attributes:
        host: The host of the endpoint; None if a lineage or a case verified it at all its names.
        names: The names in the certificate.
        not_after: Its end, in epoch seconds.
        at: When it was seen last, in epoch seconds.
        verified: Whether a lineage or a case verified it at each address of each of its names.
    """

    client_id: int
    host: str | None
    sha256: str
    names: tuple[str, ...]
    not_after: Timestamp
    at: Timestamp
    verified: bool


def seen(conn: Connection, client_ids: Sequence[int], since: Timestamp) -> list[SeenLeaf]:
    """Return the leaves that were seen last at the endpoints of clients, and what was verified.

    Args:
        conn: An open connection.
        client_ids: The clients.
        since: Verifications from this time on count, in epoch seconds.
    """
    found: list[SeenLeaf] = []
    for part in chunks(client_ids):
        for query, verified in _seen_queries(part, since):
            for client_id, host, sha256, names, not_after, at in conn.execute(query):
                found.append(
                    SeenLeaf(
                        client_id=client_id,
                        host=host,
                        sha256=sha256,
                        names=names,
                        # A certificate without a readable end counts as ended, so that it replaces
                        # nothing.
                        not_after=not_after or 0,
                        at=at,
                        verified=verified,
                    )
                )
    return found


def _seen_queries(
    client_ids: Sequence[int], since: Timestamp
) -> Iterator[tuple[Select[*tuple[Any, ...]], bool]]:
    """Yield the queries of :func:`seen`, and whether what each returns was verified."""
    leaf = (StoredCertificate.sha256, StoredCertificate.names, StoredCertificate.not_after)
    served_now = (
        select(Domain.client_id, Endpoint.host, *leaf, func.max(ServedChain.last_seen))
        .join(ServedChain, ServedChain.leaf == StoredCertificate.sha256)
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(
            ServedChain.open == 1,
            # Only what the last probe saw shows that a replacement is really served.
            ServedChain.live == 1,
            Endpoint.state == "active",
            Domain.state != "retired",
            Domain.client_id.in_(client_ids),
        )
        .group_by(Domain.client_id, Endpoint.host, *leaf)
    )
    by_lineage = (
        select(StoredLineage.client_id, null(), *leaf, StoredLineage.proven_at)
        .join(StoredCertificate, StoredCertificate.sha256 == StoredLineage.deployed)
        .where(
            StoredLineage.client_id.in_(client_ids),
            StoredLineage.state == "active",
            # Only the certificate in use was proven; a newer one may wait for its deployment.
            StoredLineage.deployed == StoredLineage.sha256,
            StoredLineage.proven_at >= since,
        )
    )
    by_case = (
        # A case verifies all names of its certificate at once, so it has no single host.
        select(Case.client_id, null(), *leaf, Issuance.live_at)
        .join(Issuance, Issuance.sha256 == StoredCertificate.sha256)
        .join(Case, Case.id == Issuance.case_id)
        .where(Case.client_id.in_(client_ids), Issuance.live_at >= since)
    )
    yield from ((served_now, False), (by_lineage, True), (by_case, True))


@dataclass(frozen=True, slots=True)
class LostHost:
    """A host of a server, and the valid certificate that was seen there last, if there was one."""

    client_id: int
    client: str
    host: str
    sha256: str | None
    serial: str | None


def lost_hosts(conn: Connection, server_name: str, now: Timestamp) -> list[LostHost]:
    """Return each active host of a server with the certificate to install there again.

    It is the certificate that names the host, was observed there, and ends last after ``now``
    (epoch seconds). A default certificate of the emptied server does not name the host.
    """
    query = (
        select(
            Domain.client_id,
            Client.number.label("client"),
            Endpoint.host,
            StoredCertificate.sha256,
            StoredCertificate.serial,
            StoredCertificate.names,
        )
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .join(Server, Server.id == Domain.server_id)
        # All spans, not only open ones: the lost server serves nothing any more.
        .outerjoin(ServedChain, ServedChain.endpoint_id == Endpoint.id)
        .outerjoin(
            StoredCertificate,
            (StoredCertificate.sha256 == ServedChain.leaf) & (StoredCertificate.not_after > now),
        )
        .where(
            Server.name == server_name,
            Endpoint.state == "active",
            Domain.state != "retired",
            Client.state != "retired",
        )
        .order_by(Client.number, Endpoint.host, StoredCertificate.not_after)
    )
    best: dict[tuple[int, str], LostHost] = {}
    for row in conn.execute(query).mappings():
        key = (row["client_id"], row["host"])
        host = LostHost(row["client_id"], row["client"], row["host"], None, None)
        if row["sha256"] and any(n == row["host"] or matches(n, row["host"]) for n in row["names"]):
            host = replace(host, sha256=row["sha256"], serial=row["serial"])
        # Ordered by their end, so that a later valid certificate replaces an earlier one.
        if host.sha256 is not None or key not in best:
            best[key] = host
    return list(best.values())
