"""Parts of ``certmgr run`` that a worker does, and what the command that waits learns of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from certmgr.config.context import Context
from certmgr.operations.cron import run_part
from certmgr.workers.database_clock import with_database_clock
from inventory.store import jobs, work_queues


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """What a part did, one line each, for the output of ``certmgr run``.

    Attributes:
        begun: When it began by the clock of the database, in epoch seconds.
    """

    begun: float
    problems: tuple[str, ...]
    messages: tuple[str, ...]


def _record(part: str) -> str:
    return f"worker: {part}"


def do_part(context: Context, part: str) -> None:
    """Do a part, and record its outcome for the commands that wait.

    A worker that dies before the record does the part again elsewhere: each part is safe to repeat,
    and holds a lock against running twice at a time.
    """
    # Of two workers that send notices one after the other, the second must not think that a lease
    # of the first one has ended, or that a notice is due which is not yet.
    context = with_database_clock(context)
    begun = now(context)
    result = run_part(context, part)
    outcome = {
        "begun": begun,
        # The waiting command reads this record with each poll, so its size is bounded.
        "problems": [p[:300] for p in result.problems[:50]],
        "messages": [m[:300] for m in result.messages[:50]],
    }
    with context.write() as tx:
        # The outcome is durable before an error is raised, so that the waiting command gets it too.
        jobs.succeeded(tx, _record(part), outcome)
    if result.error is not None:
        # The library keeps the job as failed, so that doctor shows it.
        raise result.error


def now(context: Context) -> float:
    """Return the time by the clock of the database, the only one that all machines share."""
    with context.read() as conn:
        return work_queues.exact_time(conn)


def outcome_since(conn: Connection, part: str, asked: float) -> PartOutcome | None:
    """Return what a part did in its last round, if that began after ``asked``.

    Such a round includes all that was due at that time, whichever command asked for it. An earlier
    round may have passed what became due while it went on.
    """
    detail = jobs.state(conn, _record(part)).detail
    begun = detail.get("begun", 0.0)
    if begun < asked:
        return None
    return PartOutcome(begun, tuple(detail["problems"]), tuple(detail["messages"]))
