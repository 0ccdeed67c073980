"""Work whose command or worker died: taken up, given up, or dropped."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select, text

from certmgr.config.context import Context
from certmgr.workers import recovery, shard_scan
from certmgr.workers.engine import QueueWorker, WorkQueues
from certmgr.workers.scan_end import end_scan
from inventory.models import ProbeState
from inventory.store import work_queues
from tests.certmgr.workers.fleet import Fleet
from tests.certmgr.workers.runs import begin, drain, good_endpoints, has_ended, state_of, waiting


def test_scan_whose_command_died_is_ended_by_workers_alone(
    small: Fleet, context: Context, queues: WorkQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run and its shards are stored before the first job is deferred."""
    monkeypatch.setattr("certmgr.workers.spread_scan.take_up", lambda *_: None)
    run_id = begin(context, queues)
    with context.read() as conn:
        assert work_queues.live_shards(conn) == set()
    monkeypatch.undo()
    recovery.take_up(context, queues)
    recovery.take_up(context, queues)  # a job waits at most once
    with context.read() as conn:
        assert work_queues.live_shards(conn) == set(waiting(context, run_id))
        (state,) = work_queues.queue_states(conn, 30)
    assert (state.queue, state.waiting, state.running, state.stalled) == ("scan", 4, 0, 0)
    while not has_ended(context, run_id):
        drain(context)
    assert state_of(context, run_id) == ("complete", None)
    assert {small.visits()[host] for host in small.hosts} == {1}
    assert not end_scan(context, run_id)  # a run ends once


def test_shard_that_no_worker_can_finish_is_given_up_and_the_run_is_incomplete(
    context: Context, queues: WorkQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begin(context, queues)
    first, *others = waiting(context, run_id)

    def failing(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(shard_scan, "scan_jobs", failing)
        for _ in range(recovery.MAX_LEASES):
            with pytest.raises(MemoryError):
                shard_scan.scan_shard(context, first, "worker")
    for shard in others:
        assert shard_scan.scan_shard(context, shard, "worker")
    with context.write() as tx:
        tx.conn.execute(text("DELETE FROM procrastinate_jobs"))
    recovery.take_up(context, queues)
    assert end_scan(context, run_id)
    state, reason = state_of(context, run_id)
    assert state == "incomplete"
    assert "1 shard(s) were given up: 20 workers began it" in str(reason)
    assert good_endpoints(context, run_id) == 0  # the results of an incomplete run are facts only
    with context.read() as conn:
        assert conn.scalar(select(func.count()).select_from(ProbeState)) == 30


def test_stalled_job_is_dropped_if_another_one_waits_for_the_same_work(
    context: Context, queues: WorkQueues
) -> None:
    """A part was asked for again while a worker did it, and then that worker died."""
    for part in ("cases", "renew"):
        queues.defer_part(part)
        with context.write() as tx:
            tx.conn.execute(text("UPDATE procrastinate_jobs SET status = 'doing'"))
    queues.defer_part("cases")

    async def recover() -> int:
        worker = QueueWorker(context.database.engine.url, {}, silent=4)
        async with worker._app.open_async():
            return await worker.retry_stalled()

    assert asyncio.run(recover()) == 2
    with context.read() as conn:
        states = work_queues.queue_states(conn, 30)
    assert [(s.queue, s.waiting, s.running) for s in states] == [("notify", 1, 0), ("renew", 1, 0)]
