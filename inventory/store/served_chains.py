"""What active endpoints serve, with what is needed to compute until when browsers trust it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from inventory.clock import Timestamp
from inventory.db.sql import chunks
from inventory.models import Client, Domain, Endpoint, ServedChain, StoredCertificate
from inventory.store import foreign_addresses


@dataclass(frozen=True, slots=True)
class StoredChain:
    """The open observation of one address. Dates are epoch seconds.

    Attributes:
        chain: SHA-256 of each certificate as sent, the leaf first.
        public: Whether the path leads to a root of the browsers' list; None: undetermined.
        issuer: The issuer's name as text.
        key: Type and size of the key of the leaf.
    """

    endpoint_id: int
    host: str
    port: int
    protocol: str
    client: str
    client_id: int
    address: str
    chain: tuple[str, ...]
    public: bool | None
    issuer: str
    not_before: Timestamp
    not_after: Timestamp
    key: str

    @property
    def leaf(self) -> str:
        """The SHA-256 of the leaf."""
        return self.chain[0]


def served(
    conn: Connection, *, endpoint_ids: Sequence[int] | None = None, client_id: int | None = None
) -> Iterator[StoredChain]:
    """Yield what active endpoints serve: all, some, or those of one client.

    Foreign addresses are left out, since the endpoint is not judged by them.
    """
    foreign = foreign_addresses.by_endpoint(conn)
    query = _QUERY
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    # Without a selection, one query over all is faster than many with lists of ids.
    parts = [None] if endpoint_ids is None else list(chunks(endpoint_ids))
    for part in parts:
        found = query if part is None else query.where(ServedChain.endpoint_id.in_(part))
        for row in conn.execute(found):
            if row.address not in foreign.get(row.endpoint_id, ()):
                yield _chain_of(row)


_QUERY = (
    select(
        ServedChain.endpoint_id,
        Endpoint.host,
        Endpoint.port,
        Endpoint.protocol,
        Client.number.label("client"),
        Domain.client_id,
        ServedChain.address,
        ServedChain.chain,
        ServedChain.public,
        StoredCertificate.issuer,
        StoredCertificate.not_before,
        StoredCertificate.not_after,
        StoredCertificate.key,
    )
    .join(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
    .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
    .join(Domain, Domain.id == Endpoint.domain_id)
    .join(Client, Client.id == Domain.client_id)
    .where(
        ServedChain.open == 1,
        # Without readable dates, no end of trust can be computed; a finding reports them.
        StoredCertificate.not_before.is_not(None),
        StoredCertificate.not_after.is_not(None),
        Endpoint.state == "active",
        Domain.state != "retired",
        Client.state != "retired",
    )
    .order_by(ServedChain.endpoint_id, ServedChain.address)
)


def _chain_of(row: Row[*tuple[Any, ...]]) -> StoredChain:
    return StoredChain(
        endpoint_id=row.endpoint_id,
        host=row.host,
        port=row.port,
        protocol=row.protocol,
        client=row.client,
        client_id=row.client_id,
        address=row.address,
        chain=row.chain,
        # None stays None: an undetermined path is not a private one.
        public=None if row.public is None else bool(row.public),
        issuer=row.issuer,
        not_before=row.not_before,
        not_after=row.not_after,
        key=row.key,
    )
