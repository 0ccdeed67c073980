"""Endpoints to which no connection succeeds, with their server, for the whole inventory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from inventory.models import Client, Domain, Endpoint, ProbeState, Server, StoredFinding


@dataclass(frozen=True, slots=True)
class NotConnected:
    """One endpoint with an open finding about its connection.

    Attributes:
        server: The name of the server; None if the inventory does not name it.
        had_certificate: Whether a certificate was ever seen at the endpoint.
    """

    endpoint_id: int
    server: str | None
    port: int
    code: str
    addresses: tuple[str, ...]
    had_certificate: bool


def not_connected(conn: Connection, codes: Iterable[str]) -> list[NotConnected]:
    """Return the active endpoints with an open finding of one of these codes."""
    query = (
        select(
            Endpoint.id,
            Server.name,
            Endpoint.port,
            StoredFinding.code,
            StoredFinding.addresses,
            ProbeState.last_good,
        )
        .join(StoredFinding, StoredFinding.endpoint_id == Endpoint.id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .outerjoin(Server, Server.id == Domain.server_id)
        .outerjoin(ProbeState, ProbeState.endpoint_id == Endpoint.id)
        .where(
            StoredFinding.closed_at.is_(None),
            # Sorted, so that the statement has one text and is found in the cache of statements.
            StoredFinding.code.in_(sorted(codes)),
            Endpoint.state == "active",
            Domain.state != "retired",
            Client.state != "retired",
        )
        .order_by(Endpoint.id)
    )
    return [
        NotConnected(
            endpoint_id=i,
            server=server,
            port=port,
            code=code,
            addresses=tuple(addresses),
            # Without any certificate in the past, the site may never have had HTTPS, and the server
            # is not to blame.
            had_certificate=last_good is not None,
        )
        for i, server, port, code, addresses, last_good in conn.execute(query)
    ]
