"""Workers and queues in doctor, in the monitoring plug-in and in the metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from certmgr.config.settings import ScanSettings, Settings, WorkersSettings
from certmgr.operations.worker_health import (
    RUN_QUEUES,
    WorkerHealth,
    ZoneHealth,
    worker_problems,
)
from certmgr.workers.engine import work_queues_of
from certmgr.workers.queue_names import QUEUE_OF, SCAN
from inventory.db.opening import open_database
from inventory.records import QueueState
from inventory.store import zone_workers
from tests.program import Ran


def queue(name: str = "scan", **changes: int) -> QueueState:
    values = {"waiting": 0, "running": 0, "stalled": 0, "failed": 0, "oldest": 0}
    return QueueState(queue=name, **(values | changes))


@pytest.mark.parametrize(
    ("health", "enabled", "expected"),
    [
        (None, False, []),
        (None, True, ["the queues of workers are not installed"]),
        (WorkerHealth(0, ()), False, []),
        (WorkerHealth(0, ()), True, ["no worker sends heartbeats"]),
        (WorkerHealth(1, (queue(waiting=5, running=2, oldest=900),)), True, []),
        (
            WorkerHealth(1, (queue(waiting=5, oldest=960), queue("renew", running=2, stalled=1))),
            True,
            [
                "a job of the queue scan has waited for 16 minutes",
                "1 job(s) of the queue renew have stalled",
            ],
        ),
        (WorkerHealth(3, (queue(failed=4),)), True, []),
        (WorkerHealth(1, (), by_queue=dict.fromkeys(RUN_QUEUES, 1)), True, []),
        (WorkerHealth(1, (), by_queue={"scan": 2, "report": 1}), False, []),
        (
            WorkerHealth(3, (), by_queue={"scan": 2, "revocation": 1}),
            True,
            ["no worker takes jobs of the queue renew, notify"],
        ),
        # A worker of a zone scans from there, and does nothing else.
        (
            WorkerHealth(1, (), by_queue={"scan@fra1": 1}),
            True,
            ["no worker takes jobs of the queue scan, renew, revocation, notify"],
        ),
        # A zone that nothing is assigned to serves second opinions only.
        (WorkerHealth(1, (), (ZoneHealth("fra1", 0, assigned=False),)), True, []),
        (WorkerHealth(1, (), (ZoneHealth("fra1", 2, assigned=True),)), True, []),
        (
            WorkerHealth(1, (), (ZoneHealth("fra1", 0, assigned=True),), ("zone office: x",)),
            True,
            [
                "the zone fra1 has no worker, so its endpoints are not checked",
                "the last scan left out: zone office: x",
            ],
        ),
    ],
)
def test_problems_are_what_an_administrator_must_act_on(
    health: WorkerHealth | None, enabled: bool, expected: list[str]
) -> None:
    settings = Settings(workers=WorkersSettings(enabled=enabled))
    assert worker_problems(health, settings) == expected


def test_part_that_the_configuration_disables_needs_no_worker() -> None:
    off = ScanSettings(revocation=False, dane=False)
    settings = Settings(scan=off, workers=WorkersSettings(enabled=True))
    health = WorkerHealth(1, (), by_queue={"scan": 1, "renew": 1, "notify": 1})
    assert worker_problems(health, settings) == []
    dane = replace(settings, scan=replace(off, dane=True))
    assert worker_problems(health, dane) == ["no worker takes jobs of the queue revocation"]


def test_queues_are_those_of_the_parts_of_a_run() -> None:
    assert set(RUN_QUEUES) == {SCAN, *QUEUE_OF.values()}


def test_commands_show_a_missing_worker_and_a_stalled_job(
    certmgr: Callable[..., Ran], migrated_postgres: Callable[[], str], tmp_path: Path
) -> None:
    config = tmp_path / "workers.toml"
    config.write_text("[workers]\nenabled = true\n")
    url = migrated_postgres()
    options = ("--config", str(config), "--database", url)
    certmgr(*options, "database", "upgrade")
    certmgr(*options, "client", "add", "1", "One")
    certmgr(*options, "domain", "add", "a.example", "--client", "1")
    certmgr(*options, "zone", "add", "fra1")
    certmgr(*options, "zone", "assign", "fra1", "--client", "1")
    database = open_database(url, actor="tester")
    with work_queues_of(database) as queues:
        queues.defer_shard(1, None, "default")
        queues.defer_part("renew")
    with database.write() as tx:
        tx.conn.execute(
            text("UPDATE procrastinate_jobs SET status = 'doing' WHERE queue_name = 'renew'")
        )
    database.close()
    line = certmgr(*options, "check").out
    assert "no worker sends heartbeats; the zone fra1 has no worker" in line
    assert "1 job(s) of the queue renew have stalled" in line
    with closing(open_database(url, actor="tester")) as database, database.write() as tx:
        zone_workers.seen(tx, "m:1", "default", ("scan",))
        zone_workers.seen(tx, "m:2", "fra1", ("scan",))
        # The row that the queues have of each worker.
        tx.conn.execute(text("INSERT INTO procrastinate_workers DEFAULT VALUES"))
    assert "no worker takes jobs of the queue renew, revocation, notify" in (
        certmgr(*options, "check").out
    )
    metrics = certmgr(*options, "metrics").out
    for queue_name, count in (("scan", 1), ("scan@fra1", 1), ("renew", 0)):
        assert f'certmgr_queue_workers{{queue="{queue_name}"}} {count}.0' in metrics
    with closing(open_database(url, actor="tester")) as database, database.write() as tx:
        for table in ("procrastinate_workers", "zone_worker"):
            tx.conn.execute(text(f"DELETE FROM {table}"))
    metrics = certmgr(*options, "metrics").out
    assert "certmgr_workers 0.0" in metrics
    assert 'certmgr_zone_workers{zone="fra1"} 0.0' in metrics
    assert 'certmgr_worker_jobs{queue="scan",state="waiting"} 1.0' in metrics
    assert 'certmgr_worker_jobs{queue="renew",state="stalled"} 1.0' in metrics
    assert 'certmgr_worker_oldest_job_seconds{queue="scan"}' in metrics
    doctor = certmgr(*options, "doctor", "--format", "json").json
    found = [c for c in doctor["doctor"] if c["check"] == "workers"]
    assert [c["state"] for c in found] == ["fault"] * 3
    assert found[0]["what"] == "no worker sends heartbeats"
