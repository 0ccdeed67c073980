"""Scheduled work over workers: parts, rounds and schedules."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from certmgr.config.context import Context
from certmgr.operations.cron import AUDIT_HEAD
from certmgr.operations.stopping import StopState
from certmgr.workers import spread_run
from certmgr.workers.engine import WorkQueues
from certmgr.workers.parts import do_part, outcome_since
from certmgr.workers.queue_names import SCHEDULE
from certmgr.workers.service import WorkerService
from certmgr.workers.spread_run import _SpreadRun
from inventory.store import work_queues
from tests.campaign import wait_until
from tests.certmgr.workers.fleet import Fleet


def test_part_that_still_waits_for_a_worker_is_done_once_for_two_commands(
    context: Context, queues: WorkQueues
) -> None:
    """The first command gave up; its job is taken by a worker while the second one waits."""
    first, second = (spread(context, queues) for _ in range(2))
    first._defer("cases")
    second._defer("cases")
    with context.read() as conn:
        (state,) = work_queues.queue_states(conn, 30)
    assert (state.queue, state.waiting) == ("notify", 1)
    WorkerService(context, ["notify"], 1).run(drain=True)
    for command in (second, first):
        command._wait("cases")
        assert command.result.problems == []


def test_round_that_began_before_the_question_is_no_answer(
    context: Context, queues: WorkQueues
) -> None:
    """Its work may have passed what became due while it went on."""
    command = spread(context, queues)
    do_part(context, "cases")
    command._defer("cases")
    with context.read() as conn:
        assert outcome_since(conn, "cases", 0.0) is not None
        assert outcome_since(conn, "cases", command.asked["cases"]) is None


def spread(context: Context, queues: WorkQueues) -> _SpreadRun:
    return _SpreadRun(context, queues, StopState(), lambda what, done, planned: None)


def test_head_of_the_audit_log_is_written_where_the_command_runs(
    context: Context, queues: WorkQueues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker does this part: the file is on one machine."""
    monkeypatch.setattr(spread_run, "part_names", lambda _: [AUDIT_HEAD])
    for path, problems in ((tmp_path / "missing" / "heads", 1), (tmp_path / "heads", 0)):
        audit = replace(context.settings.audit, head_file=str(path))
        here = replace(context, settings=replace(context.settings, audit=audit))
        result = spread_run.run(here, queues, scan=False)
        assert [p.split(":")[0] for p in result.problems] == ["audit head"] * problems
        assert path.exists() is not bool(problems)


def test_of_two_workers_with_a_schedule_one_begins_each_run(small: Fleet, context: Context) -> None:
    """croniter reads a sixth field as seconds, so that the test need not wait for a minute."""
    for _ in range(2):
        small.start("--schedule", "* * * * * */2")
    wait_until(lambda: runs_in(context, "complete") >= 2, "two scheduled runs have ended")
    for process in small.workers:
        small.end(process, signal.SIGTERM)
    with context.read() as conn:
        ticks = conn.execute(
            text(
                "SELECT defer_timestamp, count(*) FROM procrastinate_periodic_defers"
                " GROUP BY defer_timestamp"
            )
        ).all()
        # Runs follow each other: a second one begins after the first one has ended.
        overlapping = conn.scalar(
            text(
                "SELECT count(*) FROM run a JOIN run b ON a.id < b.id"
                " AND b.started_at < a.finished_at"
            )
        )
    assert ticks
    assert {number for _, number in ticks} == {1}
    assert overlapping == 0


def test_stopped_worker_gives_its_scheduled_run_back(small: Fleet, context: Context) -> None:
    """The run waits for a scan that no worker does, so its worker must not wait for its end."""
    worker = small.start("--queues", "notify", "--schedule", "* * * * * */2")
    wait_until(lambda: runs_in(context, "running") == 1, "the scheduled run waits for its scan")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(300) == 0
    with context.read() as conn:
        (state,) = [s for s in work_queues.queue_states(conn, 30) if s.queue == SCHEDULE]
    assert (state.waiting, state.running, state.failed) == (1, 0, 0)
    small.start("--schedule", "0 0 1 1 *")
    wait_until(lambda: runs_in(context, "complete") == 1, "another worker has ended the run")


def runs_in(context: Context, state: str) -> int:
    with context.read() as conn:
        return (
            conn.scalar(text("SELECT count(*) FROM run WHERE state = :state"), {"state": state})
            or 0
        )
