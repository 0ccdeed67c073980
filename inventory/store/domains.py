"""Domains: a name that one client owns, and who does what for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch_all, fetch_existing, fetch_one
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import Client, Domain, Endpoint, Server
from inventory.names import as_ip, display, normalise_host, registered_domain
from inventory.records import DomainRecord, ListedDomain
from inventory.store import clients, editing, endpoint_owners, servers, suggestions
from inventory.targets import Target
from inventory.text import printable
from inventory.vocabulary import PARTY_FIELDS, HttpsPolicy, Parties, Purpose


def resolve_parties(
    own: Mapping[str, Any], of_server: Mapping[str, Any] | None, of_client: Mapping[str, Any]
) -> Parties:
    """Return who hosts, runs the DNS, buys and renews. Pure.

    What is stated for the domain counts, else for its server, else for its client. A domain on one
    of our servers is hosted by us unless something else is stated.
    """
    values = {f: own.get(f) or (of_server or {}).get(f) or of_client.get(f) for f in PARTY_FIELDS}
    # It stands on a server that we maintain, so a fault of the server is ours.
    if of_server is not None and values["hosts"] is None:
        values["hosts"] = "us"
    return Parties(**values, on_our_server=of_server is not None)


# The owner of a name of which only its registered domain is known.
NO_CLIENT = 0


_WITH_CLIENT = select(Domain, Client.number.label("client"), Client.name.label("client_name")).join(
    Client
)


def active(conn: Connection, name: str) -> DomainRecord | None:
    """Return the domain of this name that is not retired, with its client's number and name."""
    query = _WITH_CLIENT.where(Domain.name == normalise_host(name), Domain.state != "retired")
    return fetch_one(conn, DomainRecord, query)


def by_id(conn: Connection, domain_id: int) -> DomainRecord:
    """Return the domain with this id, which exists."""
    return fetch_existing(conn, DomainRecord, _WITH_CLIENT.where(Domain.id == domain_id))


def find(conn: Connection, name: str) -> DomainRecord:
    """Return an active domain, or raise :class:`NotFound` with similar names."""
    row = active(conn, name)
    if row is not None:
        return row
    host = display(normalise_host(name))
    if (above := _above(conn, name)) is not None:
        raise NotFound(
            f"There is no domain '{host}'",
            f"it is a name below the domain {display(above.name)}",
            f"Name that domain, or add the host as a domain: certmgr domain add {host}"
            f" --client {above.client}.",
        )
    raise suggestions.not_found(conn, "domain", host, "certmgr domain list")


def _above(conn: Connection, name: str) -> DomainRecord | None:
    """Return the nearest active domain above a name."""
    labels = normalise_host(name).split(".")
    above = [".".join(labels[i:]) for i in range(1, len(labels) - 1)]
    query = _WITH_CLIENT.where(Domain.name.in_(above), Domain.state != "retired")
    return fetch_one(conn, DomainRecord, query.order_by(func.length(Domain.name).desc()).limit(1))


# Each path is a page that every scan visits on every address.
MAX_PATHS = 10
_OTHERS = frozenset(f"{who}_{f}" for who in ("client", "server") for f in PARTY_FIELDS)


def paths(texts: Sequence[str]) -> tuple[str, ...]:
    """Paths that are visited in addition to the home page, each once.

    Raises :class:`UsageError`.
    """
    found = list(dict.fromkeys(p for text in texts for p in text.split()))
    # A path with // names another host (RFC 3986 4.2), and a fragment is never sent to a server.
    for path in found:
        if (
            not path.startswith("/")
            or path.startswith("//")
            or "#" in path
            or len(path) > 300
            or printable(path, 300) != path
        ):
            raise UsageError(
                f"'{printable(path, 60)}' is not a path",
                "it begins with one / and has no #",
                "Write /login.",
            )
    if len(found) > MAX_PATHS:
        raise UsageError(
            f"There are {len(found)} paths",
            f"a domain has at most {MAX_PATHS}",
            "Name the pages with a login or a payment.",
        )
    return tuple(found)


def _values(conn: Connection, given: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = dict(editing.parties(given))
    # A domain is moved by this, so the new owner must be able to be notified.
    if given.get("client"):
        row = clients.find(conn, given["client"])
        # Its notices would have no recipient.
        if row.state == "retired":
            raise UsageError(
                f"The client {row.number} is retired", "a retired client has no active domains"
            )
        values["client_id"] = row.id
    if given.get("server"):
        machine = servers.find(conn, given["server"])
        if machine.state == "retired":
            raise UsageError(f"The server {machine.name} is retired", "", "Name another one.")
        values["server_id"] = machine.id
    # An empty text removes the server; a missing one leaves it.
    elif "server" in given:
        values["server_id"] = None
    if given.get("purpose"):
        values["purpose"] = editing.choice(given["purpose"], "purpose", tuple(Purpose))
    if "paths" in given:
        values["paths"] = paths(given["paths"])
    if "policy" in given:
        values["policy"] = editing.choice(given["policy"], "HTTPS policy", tuple(HttpsPolicy))
    if given.get("state"):
        values["state"] = editing.choice(given["state"], "state", ("active", "leaving"))
    if "note" in given:
        values["note"] = editing.clean(given["note"], "note", editing.MAX_TEXT)
    return values


def add(tx: Tx, name: str, given: dict[str, Any], tags: tuple[str, ...] = ()) -> int:
    """Add a domain with its endpoint NAME:443/https, and return its id.

    Endpoints that the client has at this name under a domain above it go to the new domain.

    Raises:
        Conflict: Another client has the name, or the web site at it.
    """
    host = normalise_host(name)
    # What is found at a name must have one owner, who alone is notified of it.
    if (other := active(tx.conn, host)) is not None:
        raise Conflict(
            f"The domain {display(host)} belongs to the client {other.client} already",
            "a name has one client",
            f"To move it: certmgr domain edit {display(host)} --client NUMBER.",
        )
    if not given.get("client"):
        raise UsageError("A domain needs a client", "", "Give --client NUMBER.")
    values = _values(tx.conn, given)
    row_id = editing.add(tx, Domain, {"name": host} | values, tags)
    site = Target(host)
    if site not in endpoint_owners.move(tx, host, values["client_id"], row_id):
        endpoint_owners.refuse_second(tx.conn, site, row_id)
        # Most domains are web sites, and one without an endpoint would never be scanned.
        web = {"domain_id": row_id, "host": host, "port": site.port, "protocol": site.protocol}
        editing.add(tx, Endpoint, web)
    return row_id


def edit(tx: Tx, name: str, given: dict[str, Any]) -> dict[str, list[Any]]:
    """Change a domain, and return column -> [old, new] of what changed."""
    before = find(tx.conn, name)
    return editing.edit(tx, Domain, before, _values(tx.conn, given))


def retire(tx: Tx, name: str) -> None:
    """Retire a domain with its endpoints."""
    row = find(tx.conn, name)
    ids = list(
        tx.conn.scalars(
            select(Endpoint.id).where(Endpoint.domain_id == row.id, Endpoint.state != "retired")
        )
    )
    # An endpoint that stayed active would still be found by its host, after its owner has changed.
    editing.retire(tx, Endpoint, ids)
    editing.retire(tx, Domain, [row.id])


def listing(
    conn: Connection,
    *,
    client_id: int | None = None,
    tag: str | None = None,
    server_name: str | None = None,
    retired: bool = False,
) -> list[ListedDomain]:
    """Return domains with client, server, resolved parties and tags.

    Args:
        conn: The connection.
        client_id: Only domains of this client; None for all clients.
        tag: Only domains with this tag.
        server_name: Only domains on this server.
        retired: Whether to include retired domains.
    """
    query = (
        select(
            Domain,
            Client.number.label("client"),
            Client.name.label("client_name"),
            Server.name.label("server"),
            *[Client.__table__.c[f].label(f"client_{f}") for f in PARTY_FIELDS],
            *[Server.__table__.c[f].label(f"server_{f}") for f in PARTY_FIELDS],
        )
        .join(Client, Client.id == Domain.client_id)
        .outerjoin(Server, Server.id == Domain.server_id)
        .order_by(Client.number, Domain.name, Domain.id)
    )
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    if server_name is not None:
        query = query.where(Server.name == server_name)
    if not retired:
        query = query.where(Domain.state != "retired")
    listed = fetch_all(conn, query)
    # A list of ids beyond the limit of parameters would have to be split; all tags are read
    # instead.
    tags = editing.tags_of(conn, "domain", [r["id"] for r in listed] if len(listed) < 500 else None)
    rows = [
        ListedDomain(
            **{k: v for k, v in found.items() if k not in _OTHERS},
            tags=tags.get(found["id"], ()),
            parties=parties_of_row(found),
        )
        for found in listed
    ]
    return [row for row in rows if tag is None or tag in row.tags]


# More ids than this would have to be split, because of the limit of parameters.
_FEW_IDS = 500


def parties_by_domain(
    conn: Connection, client_id: int | None = None, ids: Collection[int] | None = None
) -> dict[int, Parties]:
    """Return domain id -> its resolved parties, for each domain that is not retired.

    Args:
        conn: The connection.
        client_id: Only domains of this client; None for all clients.
        ids: The domains that are needed; None for all. Others may be in the result too.
    """
    if ids is not None and not ids:
        return {}
    query = (
        select(
            Domain.id,
            Domain.server_id,
            *[Domain.__table__.c[f] for f in PARTY_FIELDS],
            *[Client.__table__.c[f].label(f"client_{f}") for f in PARTY_FIELDS],
            *[Server.__table__.c[f].label(f"server_{f}") for f in PARTY_FIELDS],
        )
        .join(Client, Client.id == Domain.client_id)
        .outerjoin(Server, Server.id == Domain.server_id)
        .where(Domain.state != "retired")
    )
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    if ids is not None and len(ids) <= _FEW_IDS:
        query = query.where(Domain.id.in_(ids))
    return {row["id"]: parties_of_row(row) for row in fetch_all(conn, query)}


def without_parties(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without the columns that :func:`parties_of_row` reads."""
    return {k: v for k, v in row.items() if k not in _OTHERS and k not in PARTY_FIELDS}


def parties_of_row(row: Mapping[str, Any]) -> Parties:
    """Return the parties of a domain, inherited from its server and its client.

    Args:
        row: The columns of the domain, and of client and server under the prefixes ``client_`` and
            ``server_``.
    """
    of_server = (
        {f: row[f"server_{f}"] for f in PARTY_FIELDS} if row["server_id"] is not None else None
    )
    own = {f: row[f] for f in PARTY_FIELDS}
    return resolve_parties(own, of_server, {f: row[f"client_{f}"] for f in PARTY_FIELDS})


def owners_of(conn: Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the client that owns each name of a certificate; names without an owner are left out.

    The most specific domain or endpoint decides: below the domain of a platform, each name may
    belong to another client. A retired one counts if there is no other of that name: a client who
    left still owns what its certificate shows. A name that the inventory does not have, below a
    registered domain of several clients, belongs to none of them (0).

    Args:
        conn: An open connection.
        names: Names of certificates, also wildcards.
    """
    parents = {n: _with_parents(n.removeprefix("*.")) for n in names}
    wanted = sorted({p for found in parents.values() for p in found})
    active: dict[str, int] = {}
    retired: dict[str, int] = {}
    for part in chunks(wanted):
        hosts = (
            select(Endpoint.host, Domain.client_id, Endpoint.state)
            .select_from(Endpoint)
            .join(Domain, Domain.id == Endpoint.domain_id)
            .where(Endpoint.host.in_(part))
        )
        own = select(Domain.name, Domain.client_id, Domain.state).where(Domain.name.in_(part))
        # An endpoint may have a name below a domain of its client, so both name an owner.
        for name, client_id, state in conn.execute(hosts.union(own)):
            (retired if state == "retired" else active)[name] = client_id
    owners = retired | active
    found_owners = {
        name: owners[first]
        for name, found in parents.items()
        # The most specific name stands first.
        if (first := next((p for p in found if p in owners), None)) is not None
    }
    unknown = [n for n in parents if n not in found_owners and as_ip(n) is None and "." in n]
    return found_owners | dict.fromkeys(_below_shared(conn, unknown), NO_CLIENT)


def _below_shared(conn: Connection, names: Sequence[str]) -> list[str]:
    """Return those of the names whose registered domain contains names of several clients."""
    registered = {n: registered_domain(n.removeprefix("*.").lower()) for n in names}
    if not registered:
        return []
    suffixes = tuple(f".{r}" for r in set(registered.values()))
    clients_below: dict[str, set[int]] = {}
    for name, client_id in conn.execute(select(Domain.name, Domain.client_id)):
        if f".{name}".endswith(suffixes):
            clients_below.setdefault(registered_domain(name), set()).add(client_id)
    return [n for n, r in registered.items() if len(clients_below.get(r, ())) > 1]


def _with_parents(name: str) -> list[str]:
    """Return a name and the names above it, up to two labels, the most specific first."""
    labels = name.lower().split(".")
    # A name of a foreign certificate may have any number of labels.
    return [".".join(labels[i:]) for i in range(min(max(len(labels) - 1, 1), 20))]


def names_of_client(conn: Connection, client_id: int) -> frozenset[str]:
    """Return the names of the client that are not retired, of its domains and endpoints."""
    return names_of_clients(conn, [client_id])[client_id]


def names_of_clients(conn: Connection, client_ids: Sequence[int]) -> dict[int, frozenset[str]]:
    """Return client id -> its names, as :func:`names_of_client`, in few queries."""
    found: dict[int, set[str]] = {i: set() for i in client_ids}
    for part in chunks(client_ids):
        hosts = (
            select(Domain.client_id, Endpoint.host)
            .select_from(Endpoint)
            .join(Domain, Domain.id == Endpoint.domain_id)
        )
        names = select(Domain.client_id, Domain.name).where(
            Domain.client_id.in_(part), Domain.state != "retired"
        )
        for client_id, name in conn.execute(
            # Endpoints of retired domains are retired with them.
            names.union(hosts.where(Domain.client_id.in_(part), Endpoint.state != "retired"))
        ):
            found[client_id].add(name)
    return {i: frozenset(names) for i, names in found.items()}
