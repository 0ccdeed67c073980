"""Zones: the vantage points of scans, and which endpoints are visited from which.

An endpoint without an assignment is visited from the default zone. A name that only a zone reaches
(kind ``internal``) is visited from such zones alone, whatever else is assigned: elsewhere it does
not exist, and would be reported as missing. Of several zones, the one that was assigned first gives
the state of the endpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, fetch_one
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import (
    Client,
    Domain,
    Endpoint,
    ProbeState,
    Server,
    StoredFinding,
    StoredZone,
    ZoneScope,
    ZoneView,
)
from inventory.names import normalise
from inventory.records import ZoneRecord, ZoneScopeRecord
from inventory.store import acceptance_ends, clients, editing, endpoints, servers
from inventory.text import printable
from inventory.vocabulary import ZONE_DIFFERENCE, ZoneScopeKind
from inventory.zone_names import DEFAULT_ZONE, is_zone_name

_NOUN = {
    ZoneScopeKind.CLIENT: "client",
    ZoneScopeKind.SERVER: "server",
    ZoneScopeKind.TAG: "tag",
    ZoneScopeKind.INTERNAL: "internal name",
}


@dataclass(frozen=True, slots=True)
class ZonesOfHosts:
    """From where hosts are visited.

    Attributes:
        by_target: Host and port of an endpoint -> its zones, the first one at the beginning.
            Endpoints that are visited from the default zone alone are left out.
        internal: (name, zone): the zone alone reaches the name, and all names below it.
    """

    by_target: Mapping[tuple[str, int], tuple[str, ...]]
    internal: tuple[tuple[str, str], ...]

    def visiting(self, host: str, port: int) -> tuple[str, ...]:
        """Return the zones of a host, the first one at the beginning."""
        zones = self.by_target.get((host, port))
        if zones is None:
            zones = tuple(
                z for name, z in self.internal if host == name or host.endswith(f".{name}")
            )
        return zones or (DEFAULT_ZONE,)


def add(tx: Tx, name: str, note: str | None = None) -> int:
    """Add a zone, or put a retired one back into use; return its id."""
    # "default" is what all machines without a named zone are.
    if not is_zone_name(name) or name == DEFAULT_ZONE:
        raise UsageError(
            f"'{printable(name, 60)}' cannot be the name of a zone",
            f"it has 1 to 40 small letters, digits, '-' and '_', and is not '{DEFAULT_ZONE}'",
            "Write fra1, for example.",
        )
    values = {"name": name, "note": editing.clean(note, "note", editing.MAX_TEXT)}
    before = fetch_one(tx.conn, ZoneRecord, select(StoredZone).where(StoredZone.name == name))
    if before is None or before.state != "retired":
        return editing.add(tx, StoredZone, values, (), f"A zone '{name}' exists already")
    editing.edit(tx, StoredZone, before, values | {"state": "active", "retired_at": None})
    return before.id


def find(conn: Connection, name: str) -> ZoneRecord:
    """Return a zone that is not retired."""
    query = select(StoredZone).where(StoredZone.name == name, StoredZone.state != "retired")
    return editing.one(conn, ZoneRecord, query, "zone", name, "certmgr zone list")


def listing(conn: Connection, *, retired: bool = False) -> list[ZoneRecord]:
    """Return the zones by name, without the default one."""
    query = select(StoredZone)
    if not retired:
        query = query.where(StoredZone.state != "retired")
    return fetch(conn, ZoneRecord, query.order_by(StoredZone.name))


def names(conn: Connection) -> tuple[str, ...]:
    """Return the names of all zones that may be visited from, the default one first."""
    return (DEFAULT_ZONE, *(z.name for z in listing(conn)))


def require(conn: Connection, name: str) -> str:
    """Return the name of a zone that exists; the default one always does."""
    return name if name == DEFAULT_ZONE else find(conn, name).name


@dataclass(frozen=True, slots=True)
class ScopeValue:
    """What a zone is assigned to, as a person names it: a client, server, tag or name."""

    kind: ZoneScopeKind
    text: str


def _columns(conn: Connection, scope: ScopeValue) -> tuple[int, str]:
    """Return (row id, value) of a scope."""
    match scope.kind:
        case ZoneScopeKind.CLIENT:
            return clients.find(conn, scope.text).id, ""
        case ZoneScopeKind.SERVER:
            return servers.find(conn, scope.text).id, ""
        case ZoneScopeKind.TAG:
            return 0, editing.clean_tag(scope.text)
        case ZoneScopeKind.INTERNAL:
            return 0, normalise(scope.text.removeprefix("*.").removeprefix("."))


def assign(tx: Tx, name: str, scope: ScopeValue) -> None:
    """Let the endpoints of a scope be visited from a zone.

    Raises:
        NotFound: The zone, client or server does not exist.
        Conflict: They are already.
    """
    zone = require(tx.conn, name)
    # The default zone reaches no internal names, and such a scope would only hide other zones.
    if zone == DEFAULT_ZONE and scope.kind is ZoneScopeKind.INTERNAL:
        raise UsageError(
            "The default zone cannot be the only one that reaches a name",
            "a name without an assignment is visited from it anyway",
            "Name the zone that reaches it.",
        )
    row_id, value = _columns(tx.conn, scope)
    if _scope_id(tx.conn, zone, scope.kind, row_id, value) is not None:
        raise Conflict(
            f"The {scope.kind} {printable(scope.text, 80)} is assigned to {zone} already"
        )
    row = {"zone": zone, "kind": scope.kind, "row_id": row_id, "value": value, "created_at": tx.at}
    tx.conn.execute(insert(ZoneScope).values(row))
    tx.audit("assign", "zone", row_id or None, {"zone": zone, "kind": str(scope.kind)})


def unassign(tx: Tx, name: str, scope: ScopeValue) -> None:
    """End an assignment.

    Raises:
        NotFound: There is none.
    """
    zone = require(tx.conn, name)
    row_id, value = _columns(tx.conn, scope)
    found = _scope_id(tx.conn, zone, scope.kind, row_id, value)
    if found is None:
        raise NotFound(
            f"The {_NOUN[scope.kind]} {printable(scope.text, 80)} is not assigned to {zone}",
            "",
            "See certmgr zone list.",
        )
    tx.conn.execute(delete(ZoneScope).where(ZoneScope.id == found))
    tx.audit("unassign", "zone", row_id or None, {"zone": zone, "kind": str(scope.kind)})


def _scope_id(
    conn: Connection, zone: str, kind: ZoneScopeKind, row_id: int, value: str
) -> int | None:
    query = select(ZoneScope.id).where(
        ZoneScope.zone == zone,
        ZoneScope.kind == kind,
        ZoneScope.row_id == row_id,
        ZoneScope.value == value,
    )
    return conn.scalar(query)


def retire(tx: Tx, name: str) -> None:
    """Retire a zone: its assignments end, and what it saw is deleted.

    Differences that it took part in are closed, since no run could close them any more. Their
    endpoints are judged again by the next run, which opens what the difference stood for.
    """
    zone = find(tx.conn, name)
    editing.retire(tx, StoredZone, [zone.id])
    tx.conn.execute(delete(ZoneScope).where(ZoneScope.zone == name))
    tx.conn.execute(delete(ZoneView).where(ZoneView.zone == name))
    open_ = select(StoredFinding.id, StoredFinding.endpoint_id, StoredFinding.evidence).where(
        StoredFinding.code == ZONE_DIFFERENCE, StoredFinding.closed_at.is_(None)
    )
    closed = [(key, e) for key, e, seen in tx.conn.execute(open_) if name in seen.get("zones", ())]
    for part in chunks(closed):
        ids, endpoint_ids = zip(*part, strict=True)
        tx.conn.execute(
            update(StoredFinding).where(StoredFinding.id.in_(ids)).values(closed_at=tx.at)
        )
        tx.conn.execute(
            update(ProbeState)
            .where(ProbeState.endpoint_id.in_(endpoint_ids))
            .values(fingerprint="", memo="", recheck_at=None)
        )
    acceptance_ends.end_with_faults(tx, [key for key, _ in closed])
    tx.audit_many("close", "finding", [(key, {"zone": name}) for key, _ in closed])


def scopes(conn: Connection) -> list[ZoneScopeRecord]:
    """Return all assignments, in the order in which they were made."""
    query = (
        select(
            ZoneScope.id,
            ZoneScope.zone,
            ZoneScope.kind,
            ZoneScope.row_id,
            func.coalesce(Client.number, Server.name, ZoneScope.value).label("label"),
        )
        .outerjoin(Client, and_(ZoneScope.kind == "client", Client.id == ZoneScope.row_id))
        .outerjoin(Server, and_(ZoneScope.kind == "server", Server.id == ZoneScope.row_id))
        .order_by(ZoneScope.id)
    )
    return fetch(conn, ZoneScopeRecord, query)


def of_endpoints(
    conn: Connection, client_id: int | None, tag_name: str | None, server_id: int | None = None
) -> dict[int, tuple[str, ...]]:
    """Return endpoint id -> its zones, the first one at the beginning.

    Endpoints of a scan with this selection that are visited from the default zone alone are left
    out.
    """
    internal: dict[int, dict[str, None]] = {}
    assigned: dict[int, dict[str, None]] = {}
    for scope in scopes(conn):
        found = internal if scope.kind is ZoneScopeKind.INTERNAL else assigned
        for key in _endpoints_of(conn, scope, client_id, tag_name, server_id):
            found.setdefault(key, {})[scope.zone] = None
    # A name that only some zones reach is visited from no other one.
    return {k: tuple(z) for k, z in (assigned | internal).items() if tuple(z) != (DEFAULT_ZONE,)}


def of_hosts(conn: Connection, client_id: int) -> ZonesOfHosts:
    """Return from where the hosts of a client are visited, also those without an endpoint."""
    by_id = of_endpoints(conn, client_id, None)
    by_target: dict[tuple[str, int], tuple[str, ...]] = {}
    for part in chunks(list(by_id)):
        columns = (Endpoint.id, Endpoint.host, Endpoint.port)
        for key, host, port in conn.execute(select(*columns).where(Endpoint.id.in_(part))):
            by_target[host, port] = by_id[key]
    internal = [(s.label, s.zone) for s in scopes(conn) if s.kind is ZoneScopeKind.INTERNAL]
    return ZonesOfHosts(by_target, tuple(internal))


def internal_endpoints(
    conn: Connection, client_id: int | None, tag_name: str | None, server_id: int | None = None
) -> set[int]:
    """Return the ids of endpoints whose name only some zones reach."""
    return {
        key
        for scope in scopes(conn)
        if scope.kind is ZoneScopeKind.INTERNAL
        for key in _endpoints_of(conn, scope, client_id, tag_name, server_id)
    }


def _endpoints_of(
    conn: Connection,
    scope: ZoneScopeRecord,
    client_id: int | None,
    tag_name: str | None,
    server_id: int | None,
) -> Collection[int]:
    """Return the ids of the endpoints of a scope, within the selection of a scan."""
    query = select(Endpoint.id).join(Domain, Domain.id == Endpoint.domain_id)
    query = query.where(Endpoint.state != "retired")
    match scope.kind:
        case ZoneScopeKind.CLIENT:
            query = query.where(Domain.client_id == scope.row_id)
        case ZoneScopeKind.SERVER:
            query = query.where(Domain.server_id == scope.row_id)
        case ZoneScopeKind.TAG:
            query = endpoints.selection(query, None, scope.label)
        case ZoneScopeKind.INTERNAL:
            below = Endpoint.host.endswith(f".{scope.label}", autoescape=True)
            query = query.where(or_(Endpoint.host == scope.label, below))
    selected = endpoints.selection(query, client_id, tag_name, server_id=server_id)
    return list(conn.scalars(selected))


def with_open_difference(conn: Connection) -> dict[int, tuple[str, ...]]:
    """Return endpoint id -> the zones that its open difference names."""
    query = select(StoredFinding.endpoint_id, StoredFinding.evidence).where(
        StoredFinding.code == ZONE_DIFFERENCE, StoredFinding.closed_at.is_(None)
    )
    return {key: tuple(map(str, seen.get("zones", ()))) for key, seen in conn.execute(query)}
