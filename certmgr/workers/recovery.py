"""Takes up work that a dead worker left: shards without a job, runs whose end was not deferred.

Each step may be repeated at any time, by any number of workers: a job waits at most once, a shard
has at most one lease, and a run ends once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlalchemy import Connection

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.workers.queue_names import SCAN
from inventory.store import shards, work_queues, zone_workers
from inventory.zone_names import DEFAULT_ZONE

_log = logging.getLogger(__name__)

# A shard on which this many workers died or failed is given up, since it may be the cause. Workers
# that are killed for another reason reach it only if that never ends.
MAX_LEASES = 20


class Deferring(Protocol):
    """Defers jobs (certmgr/workers/engine.py)."""

    def defer_shard(self, shard_id: int, turn: str | None, zone: str) -> None: ...

    def defer_end(self, run_id: int, zone: str) -> None: ...


def take_up(context: Context, queues: Deferring) -> None:
    """Defer what running scans still need and no job stands for."""
    with context.read() as conn:
        running = shards.running(conn)
        if not running:
            return
        live = work_queues.live_shards(conn)
        waiting = [s for run in running for s in shards.waiting(conn, run.id)]
        workers = live_zones(conn, context.settings)
    patience = 60 * context.settings.workers.zone_minutes
    for shard in waiting:
        # A zone without workers must not keep the results of all others back. Its shards keep
        # their jobs: a worker that starts later finds them finished.
        if shard.zone != DEFAULT_ZONE and shard.zone not in workers and shard.idle > patience:
            _log.error("shard %d is left out: the zone %s has no worker", shard.id, shard.zone)
            with context.write() as tx:
                shards.leave_out(tx, shard.id, "it has no worker")
        elif shard.id in live:
            continue
        elif shard.leases >= MAX_LEASES:
            _log.error("shard %d is given up after %d leases", shard.id, shard.leases)
            with context.write() as tx:
                reason = f"{shard.leases} workers began it, and none finished it"
                shards.give_up(tx, shard.id, reason)
        else:
            queues.defer_shard(shard.id, shard.turn, shard.zone)
    for run in running:
        # Read after the loop above, because a shard that was given up may be the last one of its
        # run.
        with context.read() as conn:
            progress = shards.progress(conn, run.id)
            zones = shards.zones_of(conn, run.id)
        if progress.finished == progress.shards:
            queues.defer_end(run.id, ending_zone(zones, workers))


def live_zones(conn: Connection, settings: Settings) -> dict[str, int]:
    """Return zone -> the number of its workers that take scans now."""
    silent = settings.workers.silent_seconds
    found = zone_workers.live(conn, SCAN, silent)
    # Workers of an earlier version have no zone, and do the work of the default one.
    unnamed = work_queues.live_workers(conn, silent) - sum(found.values())
    if unnamed > 0:
        found[DEFAULT_ZONE] = found.get(DEFAULT_ZONE, 0) + unnamed
    return found


def ending_zone(zones: Sequence[str], workers: Mapping[str, int]) -> str:
    """Return the zone whose workers end a run. Pure.

    If the default zone takes part, its workers alone can probe its control targets after the run.
    Those of other zones were probed with each shard.
    """
    if DEFAULT_ZONE in zones:
        return DEFAULT_ZONE
    return next((z for z in (*zones, *sorted(workers)) if z in workers), DEFAULT_ZONE)
