"""Whether workers and their queues are well, for doctor, the monitoring plug-in and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from certmgr.config.settings import Settings
from inventory.records import QueueState
from inventory.store import runs, work_queues, zone_workers, zones

# Shards take seconds, so a job that waits for longer than this has no worker for its queue.
MAX_WAITING_SECONDS = 900
# Each certmgr run needs a worker for them. A single command that needs a worker reports it if there
# is none.
RUN_QUEUES = ("scan", "renew", "revocation", "notify")


@dataclass(frozen=True, slots=True)
class ZoneHealth:
    """A zone with its workers.

    Attributes:
        zone: The zone.
        workers: The workers that scan from it now.
        assigned: Whether endpoints are visited from it in each scan.
    """

    zone: str
    workers: int
    assigned: bool


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """The workers and queues of an inventory.

    Attributes:
        workers: Workers with a recent heartbeat.
        queues: The queues with jobs.
        zones: The zones, without the default one.
        left_out: What the last run left out, since a zone could not be used.
        by_queue: The number of workers by the queue that they take jobs from.
    """

    workers: int
    queues: tuple[QueueState, ...]
    zones: tuple[ZoneHealth, ...] = ()
    left_out: tuple[str, ...] = ()
    by_queue: Mapping[str, int] = field(default_factory=dict)

    def unattended(self, needed: Sequence[str]) -> tuple[str, ...]:
        """Return the queues without a worker, if there are workers for others."""
        # A worker that has just begun has not stated its queues yet.
        if not self.by_queue:
            return ()
        return tuple(q for q in needed if not self.by_queue.get(q))


def run_queues(settings: Settings) -> tuple[str, ...]:
    """Return the queues of the parts of ``certmgr run`` that the configuration enables."""
    checks_revocation = settings.scan.revocation or settings.scan.dane
    return tuple(q for q in RUN_QUEUES if q != "revocation" or checks_revocation)


def read_workers(conn: Connection, silent: float) -> WorkerHealth | None:
    """Return the state of workers and queues; None if this database has no queues.

    Args:
        conn: An open connection.
        silent: ``[workers] silent_seconds``.
    """
    if not work_queues.installed(conn):
        return None
    live = zone_workers.live(conn, "scan", silent)
    assigned = {s.zone for s in zones.scopes(conn)}
    return WorkerHealth(
        work_queues.live_workers(conn, silent),
        tuple(work_queues.queue_states(conn, silent)),
        tuple(
            ZoneHealth(z.name, live.get(z.name, 0), z.name in assigned) for z in zones.listing(conn)
        ),
        runs.last_notes(conn),
        zone_workers.by_queue(conn, silent),
    )


def worker_problems(health: WorkerHealth | None, settings: Settings) -> list[str]:
    """Return the problems that an administrator must act on, one line each.

    Without ``[workers] enabled`` no command waits for workers, so a missing one is no problem.
    """
    enabled = settings.workers.enabled
    if health is None:
        return ["the queues of workers are not installed"] if enabled else []
    problems = []
    if enabled and not health.workers:
        problems.append("no worker sends heartbeats")
    # Found at once, and not when a job has waited for a quarter of an hour.
    elif enabled and (unattended := health.unattended(run_queues(settings))):
        problems.append(f"no worker takes jobs of the queue {', '.join(unattended)}")
    # A zone without an assignment only serves second opinions, which a person asks for.
    problems += [
        f"the zone {z.zone} has no worker, so its endpoints are not checked"
        for z in health.zones
        if enabled and z.assigned and not z.workers
    ]
    problems += [f"the last scan left out: {text}" for text in health.left_out]
    for queue in health.queues:
        if queue.stalled:
            problems.append(f"{queue.stalled} job(s) of the queue {queue.queue} have stalled")
        if queue.oldest > MAX_WAITING_SECONDS:
            problems.append(
                f"a job of the queue {queue.queue} has waited for {queue.oldest // 60} minutes"
            )
    return problems
