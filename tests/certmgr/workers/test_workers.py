"""Scans and scheduled work that workers do: with real processes, on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from certmgr.config.context import Context
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.worker import scan_jobs
from certmgr.operations.stopping import StopState
from certmgr.workers import recovery, shard_scan
from certmgr.workers.engine import QueueWorker, WorkQueues, work_queues_of
from certmgr.workers.parts import do_part, outcome_since
from certmgr.workers.queue_names import SCHEDULE
from certmgr.workers.scan_end import end_scan
from certmgr.workers.service import WorkerService
from certmgr.workers.spread_run import _SpreadRun
from certmgr.workers.spread_run import run as spread_run
from certmgr.workers.spread_scan import SpreadScan
from inventory.clock import system_clock
from inventory.errors import Busy
from inventory.models import ProbeState, ScanShard, StoredFinding
from inventory.store import jobs, runs, shards, work_queues
from tests.campaign import Campaign, Progress, size, wait_until
from tests.certmgr.workers.fleet import Fleet, fleet
from tests.servers import pgbouncer, postgres

pytestmark = pytest.mark.real_clock


@pytest.fixture
def small(
    tmp_path: Path, migrated_postgres: Callable[[], str], system_root: Authority
) -> Iterator[Fleet]:
    with fleet(tmp_path, migrated_postgres(), system_root, 40) as found:
        yield found


@pytest.fixture(scope="module")
def system_root() -> Authority:
    """A CA by the system's clock, which worker processes have."""
    return Authority("Fleet Root", clock=system_clock)


@pytest.fixture
def context(small: Fleet) -> Iterator[Context]:
    with small.context() as context:
        yield context


@pytest.fixture
def queues(context: Context) -> Iterator[WorkQueues]:
    with work_queues_of(context.database) as queues:
        yield queues


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


def test_two_workers_scan_each_endpoint_once_and_the_command_reports_as_one_process(
    small: Fleet, context: Context, queues: WorkQueues
) -> None:
    small.start("--queues", "scan")
    small.start("--queues", "scan,notify,renew,revocation")
    seen: list[int] = []
    summary = SpreadScan(
        context, ScanOptions(), queues, lambda checked, planned: seen.append(checked)
    ).run()
    assert (summary.state, summary.planned, summary.checked) == ("complete", 40, 40)
    assert (summary.undetermined, summary.opened, summary.interrupted) == (0, 10, False)
    assert seen == sorted(seen)
    visits = small.visits()
    assert {visits[host] for host in small.hosts} == {1}
    with context.read() as conn:
        assert conn.scalar(select(func.count()).select_from(ScanShard)) == 0
    # The same evidence again, in one process: no finding changes.
    alone = ScanRun(context, ScanOptions()).run()
    assert (alone.state, alone.opened, alone.closed) == ("complete", 0, 0)
    result = spread_run(context, queues)
    assert result.messages[0] == "40 endpoints, 0 opened, 0 closed"
    assert "0 notice(s) queued, 0 sent" in result.messages
    assert [p.partition(":")[0] for p in result.problems] == ["notify"]  # no staff contact


@pytest.mark.campaign
def test_killed_workers_lose_nothing_and_each_finding_is_opened_once(
    tmp_path: Path, migrated_postgres: Callable[[], str], system_root: Authority, campaign: Campaign
) -> None:
    count = campaign.size("endpoints", 120, 200_000)
    kills = campaign.size("kills of workers at most", 3, 600)
    order = random.Random(6)
    with ExitStack() as stack:
        found = fleet(tmp_path, migrated_postgres(), system_root, count, size(10, 500))
        small = stack.enter_context(found)
        context = stack.enter_context(small.context())
        queues = stack.enter_context(work_queues_of(context.database))
        run_id = begin(context, queues)
        workers = [small.start("--queues", "scan") for _ in range(2)]
        killed, seen = 0, 0.0
        while killed < kills and not has_ended(context, run_id):
            # Each kill interrupts new work, and not a worker that still starts.
            wait_until(partial(has_more_leases, context, run_id, seen), "another lease")
            seen = leases(context, run_id)
            place = order.randrange(len(workers))
            small.end(workers[place])
            workers[place] = small.start("--queues", "scan")
            killed += 1
        campaign.report("kills", killed)
        progress = Progress("the run")
        while not has_ended(context, run_id):
            progress.check(sum(small.visits().values()))
            time.sleep(0.2)
        assert killed
        assert state_of(context, run_id) == ("complete", None)
        assert good_endpoints(context, run_id) == count
        assert set(small.visits()) >= set(small.hosts)
        with context.read() as conn:
            opened = conn.execute(
                select(StoredFinding.endpoint_id, StoredFinding.code, func.count()).group_by(
                    StoredFinding.endpoint_id, StoredFinding.code
                )
            ).all()
        assert len(opened) == count // 4
        assert {(code, number) for _, code, number in opened} == {("name-mismatch", 1)}


def registered(context: Context) -> int:
    with context.read() as conn:
        return work_queues.live_workers(conn, 3600)


def has_ended(context: Context, run_id: int) -> bool:
    return state_of(context, run_id)[0] != "running"


def leases(context: Context, run_id: int) -> float:
    """Return how many leases of its shards there were; without end if the run has ended."""
    with context.read() as conn:
        count = conn.scalar(select(func.sum(ScanShard.token)).where(ScanShard.run_id == run_id))
    return float("inf") if count is None else int(count)


def has_more_leases(context: Context, run_id: int, before: float) -> bool:
    return leases(context, run_id) > before


def is_leased(context: Context, run_id: int) -> bool:
    """Return whether a worker holds a lease, or the run needs none any more."""
    with context.read() as conn:
        workers = shards.progress(conn, run_id).workers
    return workers > 0 or has_ended(context, run_id)


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


def test_second_command_joins_the_scan_and_another_selection_waits(
    context: Context, queues: WorkQueues
) -> None:
    run_id = begin(context, queues)
    joined, checked = SpreadScan(context, ScanOptions(), queues)._begin()
    assert (joined, checked) == (run_id, 0)
    with pytest.raises(Busy, match=f"0 of 4 shards of run {run_id}"):
        SpreadScan(context, ScanOptions(client="1001"), queues)._begin()
    with pytest.raises(Busy, match="workers have finished"):
        ScanRun(context, ScanOptions()).run()


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


def end_connections(context: Context) -> None:
    """End all other connections to the database, as a restart of the server does."""
    with context.read() as conn:
        conn.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_worker_outlives_connections_that_the_database_ends(
    small: Fleet, context: Context, queues: WorkQueues
) -> None:
    """Each end meets another step: a lease, a scan, a result, the end of a job, a sign of life."""
    moments = random.Random(8)
    run_id = begin(context, queues)
    worker = small.start("--queues", "scan")
    wait_until(lambda: registered(context) == 1, "the worker has started")
    for _ in range(8):
        wait_until(lambda: is_leased(context, run_id), "a shard is leased")
        time.sleep(moments.uniform(0, 0.5))
        end_connections(context)
    wait_until(lambda: has_ended(context, run_id), "the run has ended")
    assert worker.poll() is None
    assert state_of(context, run_id) == ("complete", None)
    assert good_endpoints(context, run_id) == 40


@pytest.mark.campaign
def test_database_that_restarts_in_the_middle_of_a_scan_loses_nothing(
    tmp_path: Path, system_root: Authority, campaign: Campaign
) -> None:
    count = campaign.size("endpoints", 60, 20_000)
    away = campaign.size("seconds without the database", 1, 60)
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server())
        url = f"postgresql://test@127.0.0.1:{server.port}/postgres"
        found = fleet(tmp_path, url, system_root, count, size(10, 500))
        small = stack.enter_context(found)
        context = stack.enter_context(small.context())
        queues = stack.enter_context(work_queues_of(context.database))
        run_id = begin(context, queues)
        workers = [small.start("--queues", "scan") for _ in range(2)]
        # A worker that cannot reach the database when it starts ends with an error.
        wait_until(lambda: registered(context) == 2, "both workers have started")
        for _ in range(campaign.size("restarts", 1, 5)):
            seen = leases(context, run_id)
            wait_until(partial(has_more_leases, context, run_id, seen), "another lease")
            server.stop()
            time.sleep(away)
            server.start()
        progress = Progress("the run")
        while not has_ended(context, run_id):
            progress.check(sum(small.visits().values()))
            time.sleep(0.2)
        assert [worker.poll() for worker in workers] == [None, None]
        assert state_of(context, run_id) == ("complete", None)
        assert good_endpoints(context, run_id) == count


def test_stopped_worker_finishes_its_shard_first(
    small: Fleet, context: Context, queues: WorkQueues
) -> None:
    run_id = begin(context, queues)
    worker = small.start("--queues", "scan", "--concurrency", "1")
    wait_until(lambda: is_leased(context, run_id), "a shard is leased")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(300) == 0
    with context.read() as conn:
        progress = shards.progress(conn, run_id)
    assert progress.workers == 0
    assert {small.visits()[host] for host in small.hosts} <= {0, 1}


def test_workers_and_commands_reach_the_database_through_pgbouncer(
    tmp_path: Path,
    postgres_port: int,
    migrated_postgres: Callable[[], str],
    system_root: Authority,
) -> None:
    """In transaction pooling, which keeps neither notifications nor prepared statements."""
    with ExitStack() as stack:
        port = stack.enter_context(pgbouncer.running(postgres_port))
        url = f"postgresql://test@127.0.0.1:{port}/{migrated_postgres().rsplit('/', 1)[1]}"
        small = stack.enter_context(fleet(tmp_path, url, system_root, 20))
        context = stack.enter_context(small.context())
        queues = stack.enter_context(work_queues_of(context.database))
        run_id = begin(context, queues)
        while not has_ended(context, run_id):
            drain(context)
        assert state_of(context, run_id) == ("complete", None)
        assert {small.visits()[host] for host in small.hosts} == {1}


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


def test_wait_for_a_scan_ends_at_its_limit_and_the_scan_goes_on(
    context: Context, queues: WorkQueues
) -> None:
    scan = SpreadScan(context, ScanOptions(), queues)
    summary = scan.run(limit=0.001)
    assert (scan.late, summary.interrupted, summary.checked) == (True, True, 0)
    assert state_of(context, summary.run_id)[0] == "running"
    while not has_ended(context, summary.run_id):
        drain(context)
    # The next command of the same scan has nothing to join any more.
    assert state_of(context, summary.run_id) == ("complete", None)


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
