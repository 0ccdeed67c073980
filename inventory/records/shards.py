"""A scan that is spread over workers: its shards, their leases, and the queues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import ShardRole
from inventory.zone_names import DEFAULT_ZONE


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShard(Record):
    """A part of a scan for one worker.

    Attributes:
        endpoints: Ids of endpoints, in the order of visits.
        turn: Shards with the same turn are scanned one after the other; None: with no other.
        share: By how much the limits per address are divided, because other shards may visit the
            same addresses at the same time.
        zone: The vantage point from which it is scanned.
        role: What its results are to its endpoints.
    """

    endpoints: tuple[int, ...]
    turn: str | None = None
    share: int = 1
    zone: str = DEFAULT_ZONE
    role: ShardRole = ShardRole.ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingShard(Record):
    """A shard without a result that no worker scans.

    Attributes:
        turn: Shards with the same turn are scanned one after the other.
        zone: The vantage point whose workers may scan it.
        leases: The number of leases so far.
        idle: Seconds since it was planned, or since a lease of it was begun or extended.
    """

    id: int
    turn: str | None
    zone: str
    leases: int
    idle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneShards(Record):
    """The shards of a zone in a run that have no result.

    Attributes:
        endpoints: The number of their endpoints.
        doubt: Why what the zone saw is not used; None while they wait for its workers.
    """

    zone: str
    endpoints: int
    doubt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLease(Record):
    """The right to scan a shard and to store its results, while no newer lease exists.

    Attributes:
        id: The shard.
        run_id: Its run.
        token: The number of the lease. A newer lease has a higher one.
        endpoints: Ids of the endpoints to scan, in this order.
        share: By how much the limits per address are divided.
        zone: The vantage point.
        role: What the results are to the endpoints.
        options: The options of the run.
    """

    id: int
    run_id: int
    token: int
    endpoints: tuple[int, ...]
    share: int
    zone: str
    role: ShardRole
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadRun(Record):
    """A running scan that is spread over workers."""

    id: int
    scope: str
    planned: int
    started_at: Timestamp
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardProgress(Record):
    """How far a run that is spread over workers has come.

    Attributes:
        shards: The number of its shards.
        finished: Those whose results are stored, or that were given up.
        checked: Endpoints with a stored result.
        undetermined: Those of them of which it is unknown what they serve.
        workers: Workers that hold a lease.
        errors: Why shards were given up.
        idle: Seconds since a worker began, extended or finished a lease.
    """

    shards: int
    finished: int
    checked: int
    undetermined: int
    workers: int
    errors: tuple[str, ...]
    idle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState(Record):
    """The jobs of one queue of workers.

    Attributes:
        waiting: Jobs that no worker has begun.
        running: Jobs that a worker has begun.
        stalled: Those of them whose worker sends no heartbeat.
        failed: Jobs that ended with an error, and are kept for a week.
        oldest: Seconds since the oldest job that waits could have begun; 0: none waits.
    """

    queue: str
    waiting: int
    running: int
    stalled: int
    failed: int
    oldest: int
