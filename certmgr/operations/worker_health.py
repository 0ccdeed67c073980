"""Whether workers and their queues are well, for doctor, the monitoring plug-in and metrics."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from inventory.records import QueueState
from inventory.store import runs, work_queues, zone_workers, zones

# Shards take seconds, so a job that waits for longer than this has no worker for its queue.
MAX_WAITING_SECONDS = 900


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
        workers: Workers that gave a sign of life lately.
        queues: The queues with jobs.
        zones: The zones, without the default one.
        left_out: What the last run left out, since a zone could not be used.
    """

    workers: int
    queues: tuple[QueueState, ...]
    zones: tuple[ZoneHealth, ...] = ()
    left_out: tuple[str, ...] = ()


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
    )


def worker_problems(health: WorkerHealth | None, *, enabled: bool) -> list[str]:
    """Return what an administrator must act on, one line each.

    Without ``[workers] enabled`` no command waits for workers, so a missing one is no problem.
    """
    if health is None:
        return ["the queues of workers are not installed"] if enabled else []
    problems = []
    if enabled and not health.workers:
        problems.append("no worker gives a sign of life")
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
