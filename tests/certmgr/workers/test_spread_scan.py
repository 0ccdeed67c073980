"""Commands that spread a scan over workers: what they report, join and wait for."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from certmgr.config.context import Context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.workers.engine import WorkQueues
from certmgr.workers.spread_run import run as spread_run
from certmgr.workers.spread_scan import SpreadScan
from inventory.errors import Busy
from inventory.models import ScanShard
from tests.certmgr.workers.fleet import Fleet
from tests.certmgr.workers.runs import begin, drain, has_ended, state_of


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


def test_second_command_joins_the_scan_and_another_selection_waits(
    context: Context, queues: WorkQueues
) -> None:
    run_id = begin(context, queues)
    joined, checked = SpreadScan(context, ScanOptions(), queues)._begin()
    assert (joined, checked) == (run_id, 0)
    # A scan that checks less is part of it; one that checks more is another scan.
    assert SpreadScan(context, ScanOptions(http=False), queues)._begin() == (run_id, 0)
    with pytest.raises(Busy):
        SpreadScan(context, ScanOptions(deep=True), queues)._begin()
    with pytest.raises(Busy, match=f"0 of 4 shards of run {run_id}"):
        SpreadScan(context, ScanOptions(client="1001"), queues)._begin()
    with pytest.raises(Busy, match="workers have finished"):
        ScanRun(context, ScanOptions()).run()


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
