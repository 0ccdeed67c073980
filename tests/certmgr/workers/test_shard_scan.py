"""One shard: lost and returned leases, and clocks that differ."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from certmgr.config.context import Context
from certmgr.inspection.worker import scan_jobs
from certmgr.workers import shard_scan
from certmgr.workers.engine import WorkQueues
from certmgr.workers.parts import do_part
from certmgr.workers.scan_end import end_scan
from inventory.clock import system_clock
from inventory.models import ProbeState, ScanShard, StoredFinding
from inventory.store import jobs, runs, shards
from tests.certmgr.workers.runs import begin, good_endpoints, waiting


def test_results_of_a_worker_that_was_paused_past_its_lease_are_refused(
    context: Context, queues: WorkQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begin(context, queues)
    shard, *_ = waiting(context, run_id)
    taken = []

    def scan_and_pause(*arguments: Any) -> None:
        """Scan; then the lease ends, and another worker takes the shard."""
        scan_jobs(*arguments)
        with context.write() as tx:
            tx.conn.execute(update(ScanShard).values(leased_until=0))
            taken.append(shards.lease(tx, shard, "other", 60))

    monkeypatch.setattr(shard_scan, "scan_jobs", scan_and_pause)
    assert not shard_scan.scan_shard(context, shard, "paused")
    assert taken[0] is not None
    assert good_endpoints(context, run_id) == 0
    with context.read() as conn:
        assert conn.scalar(select(func.count()).select_from(ProbeState)) == 0
    # The lease of the other worker is untouched: the paused one releases nothing.
    assert not shard_scan.scan_shard(context, shard, "third")


def test_lease_that_was_given_back_is_not_extended(context: Context, queues: WorkQueues) -> None:
    """The thread that extends leases may come late; the shard would wait for a lease of no worker.

    A lease that ended because its worker was slow can be extended.
    """
    run_id = begin(context, queues)
    shard, *_ = waiting(context, run_id)
    with context.write() as tx:
        held = shards.lease(tx, shard, "worker", 60)
        assert held is not None
        tx.conn.execute(update(ScanShard).values(leased_until=1))
        assert shards.extend(tx, held, 60)
        shards.release(tx, held)
        assert not shards.extend(tx, held, 60)
        assert shards.lease(tx, shard, "other", 60) is not None


@pytest.mark.parametrize("wrong", [timedelta(minutes=10), timedelta(days=-400)])
def test_clocks_of_workers_that_differ_change_nothing_of_a_run(
    context: Context, queues: WorkQueues, wrong: timedelta
) -> None:
    """A command, two workers and the end of the run have different clocks."""
    fast = replace(context, clock=lambda: system_clock() + wrong)
    slow = replace(context, clock=lambda: system_clock() - wrong)
    with context.read() as conn:
        earliest = shards.database_time(conn)
    run_id = begin(slow, queues)
    for number, shard in enumerate(waiting(context, run_id)):
        assert shard_scan.scan_shard(fast if number % 2 else slow, shard, f"worker {number}")
    assert end_scan(fast, run_id)
    for worker in (slow, fast):
        do_part(worker, "cases")
    with context.read() as conn:
        latest = shards.database_time(conn)
        run = runs.get(conn, run_id)
        times = [run.started_at, run.finished_at, jobs.state(conn, "worker: cases").success_at]
        for column in (ProbeState.last_attempt, ProbeState.judged_at, StoredFinding.opened_at):
            times += conn.execute(select(func.min(column), func.max(column))).one()
    # A clock may lag by what counts as no difference.
    for at in times:
        assert at is not None
        assert earliest - 5 <= at <= latest + 5
    assert run.state == "complete"
