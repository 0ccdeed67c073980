"""The queues of workers as administrators see them: what waits, what runs, and what has stalled.

The tables belong to Procrastinate, which writes them (certmgr/workers/engine.py). They exist in
PostgreSQL only, after ``certmgr database upgrade`` with the extra ``distributed``.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from inventory.db.sql import fetch
from inventory.records import QueueState


def installed(conn: Connection) -> bool:
    """Return whether the database has the tables of the queues."""
    if conn.dialect.name != "postgresql":
        return False
    return conn.scalar(text("SELECT to_regclass('procrastinate_jobs')")) is not None


def exact_time(conn: Connection) -> float:
    """Return the time of the database in epoch seconds, with fractions."""
    return float(conn.scalar(text("SELECT extract(epoch FROM clock_timestamp())::float8")) or 0)


def live_shards(conn: Connection) -> set[int]:
    """Return the ids of shards with a job that waits or runs."""
    rows = conn.scalars(
        text(
            "SELECT (args->>'shard_id')::bigint FROM procrastinate_jobs"
            " WHERE task_name = 'scan_shard' AND status IN ('todo', 'doing')"
        )
    )
    return set(rows)


def has_live_call(conn: Connection, call_id: int) -> bool:
    """Return whether a job of a call waits or runs."""
    query = text(
        "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE task_name = 'call'"
        " AND status IN ('todo', 'doing') AND (args->>'call_id')::bigint = :id)"
    )
    return bool(conn.scalar(query, {"id": call_id}))


def live_workers(conn: Connection, silent: float) -> int:
    """Return the number of workers with a heartbeat in the last ``silent`` seconds."""
    return int(
        conn.scalar(
            text(
                "SELECT count(*) FROM procrastinate_workers"
                " WHERE last_heartbeat > now() - make_interval(secs => :s)"
            ),
            {"s": silent},
        )
        or 0
    )


def queue_states(conn: Connection, silent: float) -> list[QueueState]:
    """Return the state of each queue with jobs, by name.

    Args:
        conn: An open connection.
        silent: Seconds without a heartbeat after which a worker counts as dead.
    """
    query = text(
        """
        SELECT j.queue_name AS queue,
          count(*) FILTER (WHERE j.status = 'todo') AS waiting,
          count(*) FILTER (WHERE j.status = 'doing') AS running,
          count(*) FILTER (WHERE j.status = 'doing' AND (w.id IS NULL
            OR w.last_heartbeat < now() - make_interval(secs => :s))) AS stalled,
          count(*) FILTER (WHERE j.status = 'failed') AS failed,
          coalesce(max(extract(epoch FROM now() - coalesce(j.scheduled_at, e.at)))
            FILTER (WHERE j.status = 'todo'), 0)::bigint AS oldest
        FROM procrastinate_jobs j
        LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
        LEFT JOIN LATERAL (SELECT min(at) AS at FROM procrastinate_events
          WHERE job_id = j.id AND type = 'deferred') e ON true
        WHERE j.status IN ('todo', 'doing', 'failed')
        GROUP BY j.queue_name ORDER BY j.queue_name
        """
    ).bindparams(s=silent)
    return [
        QueueState(
            queue=s.queue,
            waiting=s.waiting,
            running=s.running,
            stalled=s.stalled,
            failed=s.failed,
            # A job that is scheduled for later has not waited yet.
            oldest=max(0, s.oldest),
        )
        for s in fetch(conn, QueueState, query)
    ]
