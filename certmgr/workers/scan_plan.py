"""The shards of a scan that workers do: which endpoints, from which zones."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from certmgr.config.settings import Settings
from certmgr.inspection.scan_options import ALL_ZONES, ScanOptions
from certmgr.workers.recovery import live_zones
from certmgr.workers.sharding import plan_zones, zones_to_visit
from inventory.records import PlannedShard
from inventory.store import endpoints, shards, zones


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """The shards of a scan, and the zones that take part."""

    shards: list[PlannedShard]
    zones: frozenset[str]


def wanted_zones(conn: Connection, options: ScanOptions) -> tuple[str, ...]:
    """Return the zones of ``--zones``, from which each endpoint is visited in addition.

    Raises:
        NotFound: A zone does not exist.
    """
    if ALL_ZONES in options.zones:
        return zones.names(conn)
    return tuple(zones.require(conn, name) for name in options.zones)


def plan_scan(
    conn: Connection,
    settings: Settings,
    options: ScanOptions,
    client_id: int | None,
    server_id: int | None,
) -> ScanPlan:
    """Plan a scan of the selected endpoints."""
    wanted = wanted_zones(conn, options)
    selection = (client_id, options.tag, server_id)
    groups = endpoints.visit_order(conn, *selection)
    order: Sequence[int] = array("q", [key for group in groups for key in group])
    visits = zones_to_visit(
        order,
        zones.of_endpoints(conn, *selection),
        zones.internal_endpoints(conn, *selection),
        zones.with_open_difference(conn),
        wanted,
        zones.names(conn),
    )
    planned = plan_zones(
        visits,
        shards.addresses(conn, order),
        size=settings.workers.shard_size,
        workers=live_zones(conn, settings),
    )
    return ScanPlan(planned, frozenset(s.zone for s in planned))
