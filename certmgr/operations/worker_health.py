"""Whether workers and their queues are well, for doctor, the monitoring plug-in and metrics."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from inventory.records import QueueState
from inventory.store import work_queues

# Shards take seconds, so a job that waits for longer than this has no worker for its queue.
MAX_WAITING_SECONDS = 900


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """The workers and queues of an inventory.

    Attributes:
        workers: Workers that gave a sign of life lately.
        queues: The queues with jobs.
    """

    workers: int
    queues: tuple[QueueState, ...]


def read_workers(conn: Connection, silent: float) -> WorkerHealth | None:
    """Return the state of workers and queues; None if this database has no queues.

    Args:
        conn: An open connection.
        silent: ``[workers] silent_seconds``.
    """
    if not work_queues.installed(conn):
        return None
    return WorkerHealth(
        work_queues.live_workers(conn, silent), tuple(work_queues.queue_states(conn, silent))
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
    for queue in health.queues:
        if queue.stalled:
            problems.append(f"{queue.stalled} job(s) of the queue {queue.queue} have stalled")
        if queue.oldest > MAX_WAITING_SECONDS:
            problems.append(
                f"a job of the queue {queue.queue} has waited for {queue.oldest // 60} minutes"
            )
    return problems
