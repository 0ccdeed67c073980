"""What endpoints showed to each zone, apart from their state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, case, func, select

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, fetch_all, upsert
from inventory.models import Domain, Endpoint, ZoneView
from inventory.records import NewZoneView, ZoneReach, ZoneViewRecord
from inventory.store.finding_columns import columns_of, from_columns


def write(tx: Tx, run_id: int, zone: str, views: Sequence[NewZoneView], *, first: bool) -> None:
    """Store what a zone saw, in the transaction that finishes its shard.

    Args:
        tx: The transaction.
        run_id: The run.
        zone: The zone.
        views: What was seen. A view without a certificate keeps what the zone saw served last.
        first: Whether the results of this zone are the state of the endpoints.
    """
    # Sorted, so that two writers do not deadlock on PostgreSQL.
    rows = [
        {
            **view.as_dict(),
            "good": int(view.good),
            "findings": [columns_of(f) for f in view.findings],
            "zone": zone,
            "run_id": run_id,
            "first": int(first),
            "served_at": view.at if view.good else None,
        }
        for view in sorted(views, key=lambda v: v.endpoint_id)
    ]
    statement = upsert(tx.conn, ZoneView)
    new = statement.excluded
    changes = {
        c.name: new[c.name] for c in ZoneView.__table__.c if c.name not in ("endpoint_id", "zone")
    }
    changes["served"] = case((new.good == 1, new.served), else_=ZoneView.served)
    changes["served_at"] = func.coalesce(new.served_at, ZoneView.served_at)
    statement = statement.on_conflict_do_update(
        index_elements=["endpoint_id", "zone"], set_=changes
    )
    for part in chunks(rows):
        tx.conn.execute(statement, list(part))


def of_endpoint(conn: Connection, endpoint_id: int) -> list[ZoneViewRecord]:
    """Return what an endpoint showed to each zone, the first zone at the beginning."""
    query = (
        select(ZoneView)
        .where(ZoneView.endpoint_id == endpoint_id)
        .order_by(ZoneView.first.desc(), ZoneView.zone)
    )
    return [_record(row) for row in fetch_all(conn, query)]


def compared(
    conn: Connection, run_id: int, size: int = 500
) -> Iterator[dict[int, list[ZoneViewRecord]]]:
    """Yield the views of a run, of some endpoints at a time: endpoint id -> its views.

    Endpoints that one zone alone has seen in this run are left out: there is nothing to compare.
    """
    several = (
        select(ZoneView.endpoint_id)
        .where(ZoneView.run_id == run_id)
        .group_by(ZoneView.endpoint_id)
        .having(func.count() > 1)
        .order_by(ZoneView.endpoint_id)
    )
    for part in chunks(list(conn.scalars(several)), size):
        query = select(ZoneView).where(ZoneView.endpoint_id.in_(part), ZoneView.run_id == run_id)
        found: dict[int, list[ZoneViewRecord]] = {}
        for row in fetch_all(conn, query.order_by(ZoneView.endpoint_id, ZoneView.zone)):
            found.setdefault(row["endpoint_id"], []).append(_record(row))
        yield found


def reach(conn: Connection, run_id: int) -> list[ZoneReach]:
    """Return how much of what other zones reached each zone reached in a run, by zone.

    Only further zones: if a first one fails, the suspicion about the whole run decides.
    """
    reached = (
        select(ZoneView.endpoint_id, func.max(ZoneView.good).label("good"))
        .where(ZoneView.run_id == run_id)
        .group_by(ZoneView.endpoint_id)
    ).subquery()
    missed = (ZoneView.good == 0) & (reached.c.good == 1)
    query = (
        select(
            ZoneView.zone,
            func.sum(ZoneView.good).label("reached"),
            func.count(case((missed, 1))).label("missed"),
            func.count(func.distinct(case((missed, Domain.client_id)))).label("clients"),
        )
        .join(reached, reached.c.endpoint_id == ZoneView.endpoint_id)
        .join(Endpoint, Endpoint.id == ZoneView.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(ZoneView.run_id == run_id, ZoneView.first == 0)
        .group_by(ZoneView.zone)
        .order_by(ZoneView.zone)
    )
    return fetch(conn, ZoneReach, query)


def _record(row: dict[str, Any]) -> ZoneViewRecord:
    values = row | {
        "first": bool(row["first"]),
        "good": bool(row["good"]),
        "findings": tuple(from_columns(f) for f in row["findings"]),
    }
    return ZoneViewRecord(**values)
