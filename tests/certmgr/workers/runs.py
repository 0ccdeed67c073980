"""Runs of a spread scan, as tests begin, drain and read them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import func, select

from certmgr.config.context import Context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.workers.engine import WorkQueues
from certmgr.workers.service import WorkerService
from certmgr.workers.spread_scan import SpreadScan
from inventory.models import ProbeState
from inventory.store import runs, shards


def begin(context: Context, queues: WorkQueues, **options: Any) -> int:
    """Begin a spread scan as a command that dies right after it."""
    run_id, joined = SpreadScan(context, ScanOptions(**options), queues)._begin()
    assert joined == 0
    return run_id


def drain(context: Context) -> None:
    """Run a worker in this process until no job waits."""
    WorkerService(context, ["scan"], 1).run(drain=True)


def waiting(context: Context, run_id: int) -> list[int]:
    with context.read() as conn:
        return [s.id for s in shards.waiting(conn, run_id)]


def state_of(context: Context, run_id: int) -> tuple[str, str | None]:
    with context.read() as conn:
        run = runs.get(conn, run_id)
    return run.state, run.reason


def good_endpoints(context: Context, run_id: int) -> int:
    with context.read() as conn:
        query = select(func.count()).where(ProbeState.last_run_id == run_id, ProbeState.good == 1)
        return conn.scalar(query) or 0


def failures(context: Context, run_id: int) -> Counter[str | None]:
    """Return why endpoints of a run were not good, for the message of a failed test."""
    with context.read() as conn:
        query = select(ProbeState.error_reason).where(
            ProbeState.last_run_id == run_id, ProbeState.good == 0
        )
        return Counter(conn.scalars(query))


def has_ended(context: Context, run_id: int) -> bool:
    return state_of(context, run_id)[0] != "running"
