"""``certmgr worker`` and the commands that wait for workers: what they refuse, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from inventory.db.database import make_engine
from inventory.store import work_queues
from tests.program import Ran


@pytest.fixture
def postgres(tmp_path: Path, new_postgres: Callable[[], str]) -> tuple[str, ...]:
    """Options that name an empty PostgreSQL database, and a configuration with workers."""
    config = tmp_path / "certmgr.toml"
    config.write_text("[workers]\nenabled = true\n")
    return ("--config", str(config), "--database", new_postgres())


def test_worker_on_sqlite_states_what_it_needs(certmgr: Callable[..., Ran]) -> None:
    certmgr("client", "add", "1", "One")
    ran = certmgr("worker")
    assert ran.code == 2
    assert "Workers need an inventory in PostgreSQL" in ran.err
    assert "certmgr help scale" in ran.err


@pytest.mark.parametrize("command", ["scan", "run"])
def test_commands_with_workers_on_sqlite_state_the_same(
    certmgr: Callable[..., Ran], tmp_path: Path, command: str
) -> None:
    config = tmp_path / "workers.toml"
    config.write_text("[workers]\nenabled = true\n")
    certmgr("client", "add", "1", "One")
    ran = certmgr("--config", str(config), command)
    assert ran.code == 2
    assert "Workers need an inventory in PostgreSQL" in ran.err


def test_queues_are_created_by_the_upgrade_and_by_nothing_else(
    certmgr: Callable[..., Ran], postgres: tuple[str, ...]
) -> None:
    assert certmgr(*postgres, "database", "upgrade").code == 0
    again = certmgr(*postgres, "database", "upgrade")
    assert (again.code, "The queues for workers are installed." in again.out) == (0, True)
    engine = make_engine(postgres[-1])
    with engine.connect() as conn:
        assert work_queues.installed(conn)
        assert work_queues.queue_states(conn, 30) == []
        conn.execute(text("DROP TABLE procrastinate_jobs CASCADE"))
        conn.commit()
    engine.dispose()
    ran = certmgr(*postgres, "worker")
    assert (ran.code, "Run certmgr database upgrade." in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--queues", "scan,mail"],
            "'mail' is not a queue: scan, renew, revocation, notify, import, report.",
        ),
        (["--queues", " , "], "Name at least one queue"),
        (["--schedule", "every hour"], "it needs five fields, as in a crontab"),
        (["--concurrency", "0"], "0 is not in the range"),
    ],
)
def test_invalid_options_are_named(
    certmgr: Callable[..., Ran], postgres: tuple[str, ...], options: list[str], expected: str
) -> None:
    certmgr(*postgres, "database", "upgrade")
    ran = certmgr(*postgres, "worker", *options)
    assert ran.code == 2
    assert expected in " ".join(ran.err.split())


def test_options_of_this_machine_alone_are_refused_by_a_scan_of_workers(
    certmgr: Callable[..., Ran], postgres: tuple[str, ...]
) -> None:
    certmgr(*postgres, "database", "upgrade")
    certmgr(*postgres, "client", "add", "1", "One")
    certmgr(*postgres, "domain", "add", "a.example", "--client", "1")
    ran = certmgr(*postgres, "scan", "--resolve", "a.example:443:127.0.0.1")
    assert ran.code == 2
    assert "--ca-file and --resolve hold for this machine only" in ran.err
    assert "scan with --here" in ran.err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("shard_size = 0", "[workers] shard_size is 0: it must be 1 to 5,000"),
        ("silent_seconds = 1", "[workers] silent_seconds is 1: it must be 2 to 600"),
    ],
)
def test_invalid_settings_are_named(
    certmgr: Callable[..., Ran], tmp_path: Path, line: str, expected: str
) -> None:
    config = tmp_path / "workers.toml"
    config.write_text(f"[workers]\n{line}\n")
    ran = certmgr("--config", str(config), "config", "check")
    assert ran.code == 2
    assert expected in " ".join((ran.out + ran.err).split())
