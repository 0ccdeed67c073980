"""Takes up work that a dead worker left: shards without a job, runs whose end was not deferred.

Each step may be repeated at any time, by any number of workers: a job waits at most once, a shard
has at most one lease, and a run ends once.
"""

from __future__ import annotations

import logging
from typing import Protocol

from certmgr.config.context import Context
from inventory.store import shards, work_queues

_log = logging.getLogger(__name__)

# A shard on which this many workers died or failed is given up, since it may be the cause. Workers
# that are killed for another reason reach it only if that never ends.
MAX_LEASES = 20


class Deferring(Protocol):
    """Defers jobs (certmgr/workers/engine.py)."""

    def defer_shard(self, shard_id: int, turn: str | None) -> None: ...

    def defer_end(self, run_id: int) -> None: ...


def take_up(context: Context, queues: Deferring) -> None:
    """Defer what running scans still need and no job stands for."""
    with context.read() as conn:
        running = shards.running(conn)
        if not running:
            return
        live = work_queues.live_shards(conn)
        waiting = [s for run in running for s in shards.waiting(conn, run.id)]
    for shard_id, turn, leases in waiting:
        if shard_id in live:
            continue
        if leases >= MAX_LEASES:
            _log.error("shard %d is given up after %d leases", shard_id, leases)
            with context.write() as tx:
                shards.give_up(tx, shard_id, f"{leases} workers began it, and none finished it")
            continue
        queues.defer_shard(shard_id, turn)
    for run in running:
        # Read after the loop above, because a shard that was given up may be the last one of its
        # run.
        with context.read() as conn:
            progress = shards.progress(conn, run.id)
        if progress.finished == progress.shards:
            queues.defer_end(run.id)
