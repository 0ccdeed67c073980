"""Addresses that are not the provider's, at endpoints of which others are (``foreign-address``)."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, or_, select

from inventory.clock import Timestamp
from inventory.models import StoredFinding
from inventory.vocabulary import FOREIGN_ADDRESS


def by_endpoint(conn: Connection, at: Timestamp | None = None) -> Mapping[int, frozenset[str]]:
    """Return endpoint id -> its foreign addresses, of the findings that are open.

    What a foreign address serves is stored too, but is not what the endpoint serves.

    Args:
        at: The findings that were open at this time, in epoch seconds. Default: now.
    """
    query = select(StoredFinding.endpoint_id, StoredFinding.addresses).where(
        StoredFinding.code == FOREIGN_ADDRESS
    )
    # What was a foreign address then may be one of the provider's servers now.
    if at is None:
        query = query.where(StoredFinding.closed_at.is_(None))
    else:
        query = query.where(
            StoredFinding.opened_at <= at,
            or_(StoredFinding.closed_at.is_(None), StoredFinding.closed_at > at),
        )
    return {endpoint_id: frozenset(addresses) for endpoint_id, addresses in conn.execute(query)}
