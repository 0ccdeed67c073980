"""Workers and queues in doctor, in the monitoring plug-in and in the metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from certmgr.operations.worker_health import WorkerHealth, ZoneHealth, worker_problems
from certmgr.workers.engine import work_queues_of
from inventory.db.opening import open_database
from inventory.records import QueueState
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
        (WorkerHealth(0, ()), True, ["no worker gives a sign of life"]),
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
    assert worker_problems(health, enabled=enabled) == expected


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
    assert "no worker gives a sign of life; the zone fra1 has no worker" in line
    assert "1 job(s) of the queue renew have stalled" in line
    metrics = certmgr(*options, "metrics").out
    assert "certmgr_workers 0.0" in metrics
    assert 'certmgr_zone_workers{zone="fra1"} 0.0' in metrics
    assert 'certmgr_worker_jobs{queue="scan",state="waiting"} 1.0' in metrics
    assert 'certmgr_worker_jobs{queue="renew",state="stalled"} 1.0' in metrics
    assert 'certmgr_worker_oldest_job_seconds{queue="scan"}' in metrics
    doctor = certmgr(*options, "doctor", "--format", "json").json
    found = [c for c in doctor["doctor"] if c["check"] == "workers"]
    assert [c["state"] for c in found] == ["fault"] * 3
    assert found[0]["what"] == "no worker gives a sign of life"
