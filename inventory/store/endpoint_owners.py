"""One owner per endpoint: what is found at it is reported to one client alone."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from inventory.db.database import Tx
from inventory.errors import Conflict
from inventory.models import Client, Domain, Endpoint
from inventory.names import display
from inventory.targets import Target

# Retired records keep their owner, and are not visited.
_IN_USE = (Endpoint.state != "retired", Domain.state != "retired")


def refuse_second(conn: Connection, target: Target, domain_id: int) -> None:
    """Check that no other domain than this one has an endpoint.

    It would be visited twice, and both clients would be notified of it. The unique key covers one
    domain only, and a host may be below two.

    Raises:
        Conflict: Another domain has it.
    """
    query = (
        select(Domain.name, Client.number)
        .select_from(Endpoint)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .where(
            Endpoint.host == target.host,
            Endpoint.port == target.port,
            Endpoint.protocol == target.protocol,
            Endpoint.domain_id != domain_id,
            *_IN_USE,
        )
    )
    if (other := conn.execute(query).first()) is not None:
        raise Conflict(
            f"The endpoint {target} belongs to the domain {display(other.name)} of the client"
            f" {other.number} already",
            "what is found there has one owner",
            f"To give it to another domain: certmgr endpoint retire {target}, then add it again.",
        )


def move(tx: Tx, host: str, client_id: int, domain_id: int) -> set[Target]:
    """Give a domain the endpoints that its client has at a host, and return them.

    They keep their history.
    """
    query = (
        select(Endpoint.id, Endpoint.domain_id, Endpoint.port, Endpoint.protocol)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(Endpoint.host == host, Domain.client_id == client_id, *_IN_USE)
    )
    moved = tx.conn.execute(query).all()
    for row in moved:
        tx.conn.execute(update(Endpoint).where(Endpoint.id == row.id).values(domain_id=domain_id))
        tx.audit("edit", "endpoint", row.id, {"domain_id": [row.domain_id, domain_id]})
    return {Target(host, row.port, row.protocol) for row in moved}
