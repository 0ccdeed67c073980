"""Endpoints: what a scan visits for a domain."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    Select,
    exists,
    func,
    or_,
    select,
)

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, fetch_all, fetch_one
from inventory.errors import NotFound, UsageError
from inventory.models import (
    Client,
    Domain,
    Endpoint,
    ProbeState,
    Server,
    Tag,
)
from inventory.names import display
from inventory.records import (
    ClientEndpoint,
    DomainRecord,
    EndpointRecord,
    ListedEndpoint,
    VisitedEndpoint,
)
from inventory.store import domains, editing, endpoint_owners, servers
from inventory.targets import Target
from inventory.vocabulary import PARTY_FIELDS


def _of(target: Target) -> Executable:
    return select(Endpoint).where(
        Endpoint.host == target.host,
        Endpoint.port == target.port,
        Endpoint.protocol == target.protocol,
        Endpoint.state != "retired",
    )


def known(conn: Connection, target: Target) -> EndpointRecord | None:
    """Return the endpoint of a target, if it is not retired; else None."""
    return fetch_one(conn, EndpointRecord, _of(target))


def of_domain(conn: Connection, domain_id: int) -> list[EndpointRecord]:
    """Return the endpoints of a domain that are not retired, by host and port."""
    query = select(Endpoint).where(Endpoint.domain_id == domain_id, Endpoint.state != "retired")
    return fetch(conn, EndpointRecord, query.order_by(Endpoint.host, Endpoint.port))


def find(conn: Connection, target: Target) -> EndpointRecord:
    """Return an active endpoint, or raise :class:`NotFound`."""
    query = _of(target)
    return editing.one(
        conn, EndpointRecord, query, "endpoint", str(target), "certmgr endpoint list"
    )


def _domain_for(conn: Connection, host: str) -> DomainRecord:
    """Return the active domain that the host is or is below."""
    name = host
    # The nearest domain above the host, so that a subdomain of another client keeps its owner.
    while name:
        row = domains.active(conn, name)
        if row is not None:
            return row
        name = name.partition(".")[2] if "." in name else ""
    raise UsageError(
        f"No domain of the inventory covers {display(host)}",
        "",
        "Name its domain with --domain, or add it first.",
    )


def add(
    tx: Tx,
    target: Target,
    domain_name: str | None = None,
    addresses: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> int:
    """Add an endpoint, or put a retired one back into use; return its id.

    Args:
        tx: The transaction.
        target: Host, port and protocol.
        domain_name: Its domain. Default: the nearest domain above the host.
        addresses: Fixed addresses, which are visited instead of those in the DNS.
        tags: Tags to add.
    """
    row = domains.find(tx.conn, domain_name) if domain_name else _domain_for(tx.conn, target.host)
    fixed = servers.addresses(addresses) or None
    # Checked before the insert: the unique key covers one domain only, and a host may be below two.
    endpoint_owners.refuse_second(tx.conn, target, row.id)
    same = (
        select(Endpoint)
        .where(
            Endpoint.domain_id == row.id,
            Endpoint.host == target.host,
            Endpoint.port == target.port,
        )
        .where(Endpoint.protocol == target.protocol)
    )
    before = fetch_one(tx.conn, EndpointRecord, same)
    # The old row has the history of the endpoint, which a new row would lose.
    if before is not None and before.state == "retired":
        editing.edit(
            tx, Endpoint, before, {"state": "active", "retired_at": None, "addresses": fixed}
        )
        editing.change_tags(tx, "endpoint", before.id, add=tags)
        return before.id
    values = {
        "domain_id": row.id,
        "host": target.host,
        "port": target.port,
        "protocol": target.protocol,
        "addresses": fixed,
    }
    return editing.add(tx, Endpoint, values, tags, f"The endpoint {target} exists already")


def edit(tx: Tx, target: Target, given: dict[str, Any]) -> dict[str, list[Any]]:
    """``given``: addresses (a list; empty: DNS again), port, protocol."""
    values: dict[str, Any] = {k: given[k] for k in ("port", "protocol") if given.get(k)}
    if "addresses" in given:
        values["addresses"] = servers.addresses(given["addresses"]) or None
    before = find(tx.conn, target)
    # The changed target may be an endpoint of another domain.
    if "port" in values or "protocol" in values:
        moved = Target(
            target.host, values.get("port", target.port), values.get("protocol", target.protocol)
        )
        endpoint_owners.refuse_second(tx.conn, moved, before.domain_id)
    return editing.edit(tx, Endpoint, before, values, "That endpoint exists already")


def retire(tx: Tx, target: Target) -> None:
    """Retire an endpoint, which scans do not visit any more."""
    editing.retire(tx, Endpoint, [find(tx.conn, target).id])


def selection(
    query: Select[*tuple[Any, ...]],
    client_id: int | None,
    tag_name: str | None,
    target: Target | None = None,
    server_id: int | None = None,
) -> Select[*tuple[Any, ...]]:
    """Restrict a query over endpoint and domain to a client, a server, a tag or a target."""
    if server_id is not None:
        query = query.where(Domain.server_id == server_id)
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    if tag_name is not None:
        # A tag of a client or a domain holds for everything below it.
        pairs = (
            ("endpoint", Endpoint.id),
            ("domain", Domain.id),
            ("client", Domain.client_id),
        )
        query = query.where(
            or_(
                *[
                    # EXISTS instead of a join, which would return an endpoint once per tag.
                    exists().where(Tag.kind == kind, Tag.row_id == column, Tag.name == tag_name)
                    for kind, column in pairs
                ]
            )
        )
    if target is not None:
        query = query.where(
            Endpoint.host == target.host,
            Endpoint.port == target.port,
            Endpoint.protocol == target.protocol,
        )
    return query


def listing(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag_name: str | None = None,
    retired: bool = False,
) -> list[ListedEndpoint]:
    """Return endpoints with their domains and clients, by client and host."""
    query = (
        select(Endpoint, Domain.name.label("domain"), Client.number.label("client"))
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .order_by(Client.number, Endpoint.host, Endpoint.port)
    )
    if not retired:
        query = query.where(Endpoint.state != "retired")
    tags = editing.tags_of(conn, "endpoint")
    rows = conn.execute(selection(query, client_id, tag_name)).mappings()
    return [ListedEndpoint(**r, tags=tags.get(r["id"], ())) for r in rows]


_VISITED = (
    select(
        Endpoint.id,
        Endpoint.host,
        Endpoint.port,
        Endpoint.protocol,
        Endpoint.addresses,
        Endpoint.domain_id,
        Domain.name.label("domain"),
        Domain.client_id,
        Domain.server_id,
        Domain.purpose,
        Domain.paths,
        Client.number.label("client"),
        ProbeState.fingerprint,
        ProbeState.memo,
        ProbeState.recheck_at,
        ProbeState.good,
        ProbeState.failing_since,
        ProbeState.failing_runs,
        ProbeState.last_good,
        ProbeState.last_attempt,
        *[Domain.__table__.c[f] for f in PARTY_FIELDS],
        *[Client.__table__.c[f].label(f"client_{f}") for f in PARTY_FIELDS],
        *[Server.__table__.c[f].label(f"server_{f}") for f in PARTY_FIELDS],
    )
    .join(Domain, Domain.id == Endpoint.domain_id)
    .join(Client, Client.id == Domain.client_id)
    .outerjoin(Server, Server.id == Domain.server_id)
    .outerjoin(ProbeState, ProbeState.endpoint_id == Endpoint.id)
    .where(Endpoint.state == "active", Domain.state != "retired", Client.state != "retired")
)


def count_visited(
    conn: Connection, client_id: int | None, tag_name: str | None, server_id: int | None = None
) -> int:
    """Return the number of endpoints that a scan of this selection visits."""
    query = selection(
        _VISITED.with_only_columns(func.count()), client_id, tag_name, server_id=server_id
    )
    return int(conn.execute(query).scalar() or 0)


def visited_ids(conn: Connection, client_id: int | None, tag_name: str | None) -> array[int]:
    """Return the ids of the endpoints that a scan visits. Leaving domains are visited too."""
    # An array of 64-bit numbers takes 8 bytes per endpoint, and a list of int objects 36.
    return array(
        "q", conn.scalars(selection(_VISITED.with_only_columns(Endpoint.id), client_id, tag_name))
    )


def visit_order(
    conn: Connection,
    client_id: int | None,
    tag_name: str | None,
    server_id: int | None = None,
    *,
    done_in: int | None = None,
) -> list[array[int]]:
    """Return the ids of the endpoints that a scan visits, grouped by the hour of the last attempt.

    The group that was not attempted for the longest time comes first, so that runs that are
    interrupted again and again reach every endpoint.

    Args:
        conn: An open connection.
        client_id: Only endpoints of this client.
        tag_name: Only endpoints with this tag.
        server_id: Only endpoints of domains on this server.
        done_in: Leave out the endpoints whose last attempt belongs to this run.
    """
    # By the hour, because the caller shuffles within a group. Never attempted is hour 0, the first.
    hour = func.coalesce(ProbeState.last_attempt, 0) // 3600
    query = selection(
        _VISITED.with_only_columns(Endpoint.id, hour), client_id, tag_name, server_id=server_id
    ).order_by(hour, Endpoint.id)
    if done_in is not None:
        query = query.where(
            # NULL is unequal to nothing in SQL, so endpoints without any attempt are asked for
            # separately.
            or_(ProbeState.last_run_id.is_(None), ProbeState.last_run_id != done_in)
        )
    groups: list[array[int]] = []
    last = None
    for endpoint_id, attempted in conn.execute(query):
        if not groups or attempted != last:
            groups.append(array("q"))
            last = attempted
        groups[-1].append(endpoint_id)
    return groups


def visited(conn: Connection, ids: Sequence[int]) -> list[VisitedEndpoint]:
    """Return endpoints with their parties and what is known of them.

    An endpoint that was retired since its id was read is left out.
    """
    rows = fetch_all(conn, _VISITED.where(Endpoint.id.in_(ids)))
    return [
        VisitedEndpoint(**domains.without_parties(r), parties=domains.parties_of_row(r))
        for r in rows
    ]


def require_some(
    count: int, client_key: str | None, tag_name: str | None, server_name: str | None = None
) -> None:
    """Raise :class:`NotFound` if a selection of endpoints is empty."""
    if count == 0:
        scope = f" for client {client_key}" if client_key else ""
        scope += f" on server {server_name}" if server_name else ""
        scope += f" with tag {tag_name}" if tag_name else ""
        raise NotFound(
            f"There is no active endpoint{scope} to scan",
            "the inventory has none",
            "Add a domain (certmgr domain add NAME --client NUMBER), or name targets: certmgr scan"
            " shop.example.com.",
        )


def named(conn: Connection, name: str) -> list[tuple[int, int]]:
    """Return (endpoint id, domain id) of a host or of a domain's endpoints, retired ones too."""
    query = select(Endpoint.id, Endpoint.domain_id).join(Domain, Domain.id == Endpoint.domain_id)
    rows: list[Any] = list(
        conn.execute(query.where(or_(Endpoint.host == name, Domain.name == name)))
    )
    return [(row[0], row[1]) for row in rows]


def of_clients(conn: Connection, client_ids: Iterable[int]) -> dict[int, list[ClientEndpoint]]:
    """Return client id -> its endpoints that are visited, with their servers."""
    found: dict[int, list[ClientEndpoint]] = {}
    wanted = sorted(set(client_ids))
    columns = (
        Endpoint.id,
        Endpoint.host,
        Endpoint.port,
        Endpoint.protocol,
        Endpoint.addresses,
        Endpoint.domain_id,
        Domain.client_id,
        Domain.name.label("domain"),
        Server.name.label("server"),
        Server.backends,
    )
    for part in chunks(wanted):
        query = (
            select(*columns)
            .join(Domain, Domain.id == Endpoint.domain_id)
            .outerjoin(Server, Server.id == Domain.server_id)
            .where(
                Domain.client_id.in_(part),
                Endpoint.state == "active",
                Domain.state != "retired",
            )
            .order_by(Endpoint.id)
        )
        for record in fetch(conn, ClientEndpoint, query):
            found.setdefault(record.client_id, []).append(record)
    return found
