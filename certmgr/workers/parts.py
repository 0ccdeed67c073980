"""Parts of ``certmgr run`` that a worker does, and what the command that waits learns of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from certmgr.config.context import Context
from certmgr.operations.cron import run_part
from inventory.store import jobs


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """What a part did, one line each, for the output of ``certmgr run``."""

    problems: tuple[str, ...]
    messages: tuple[str, ...]


def _record(part: str) -> str:
    return f"worker: {part}"


def do_part(context: Context, part: str, round_id: str) -> None:
    """Do a part, and record its outcome for the command that waits.

    A worker that dies before the record does the part again elsewhere: each part is safe to repeat,
    and holds a lock against running twice at a time.
    """
    result = run_part(context, part)
    outcome = {
        "round": round_id,
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


def last_round(conn: Connection, part: str) -> str:
    """Return the round of the last outcome of a part; empty if there is none."""
    return str(jobs.state(conn, _record(part)).detail.get("round", ""))


def outcome_of(conn: Connection, part: str) -> PartOutcome:
    """Return what a part did in its last round."""
    detail = jobs.state(conn, _record(part)).detail
    return PartOutcome(tuple(detail["problems"]), tuple(detail["messages"]))
