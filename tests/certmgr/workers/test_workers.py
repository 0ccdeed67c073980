"""Scans and scheduled work that workers do: with real processes, on PostgreSQL."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from certmgr.config.context import Context
from certmgr.demo.authority import Authority
from certmgr.workers.engine import WorkQueues, work_queues_of
from inventory.models import ScanShard, StoredFinding
from inventory.store import shards, work_queues
from tests.campaign import Campaign, Progress, size, wait_until
from tests.certmgr.workers.fleet import Fleet, fleet
from tests.certmgr.workers.runs import begin, drain, failures, good_endpoints, has_ended, state_of
from tests.servers import pgbouncer, postgres


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
        assert good_endpoints(context, run_id) == count, failures(context, run_id).most_common(5)
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
    """Each end meets another step: a lease, a scan, a result, the end of a job, a heartbeat."""
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
