"""What is remembered of each job, and that one process at a time runs it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from inventory.db.database import Database
from inventory.errors import Busy
from inventory.store import jobs
from tests.inventory.store.builders import AT, NOW, audited

EMPTY: dict[str, Any] = {"started_at": None, "success_at": None, "error": None, "detail": {}}


def test_job_that_never_ran_has_empty_values(database: Database) -> None:
    with database.read() as conn:
        assert jobs.state(conn, "notify").as_dict() == {"name": "notify", **EMPTY}
        assert jobs.every(conn) == {}


def test_failure_keeps_the_last_success_and_a_success_clears_the_error(database: Database) -> None:
    with database.write(NOW) as tx:
        jobs.started(tx, "notify")
        jobs.succeeded(tx, "notify", {"run_id": 7, "a": [1]})
        jobs.succeeded(tx, "digest")
    with database.write(NOW + timedelta(minutes=5)) as tx:
        jobs.started(tx, "notify")
        jobs.failed(tx, "notify", "x" * 501)
        jobs.failed(tx, "cases", "it broke off")
    with database.read() as conn:
        failed = jobs.state(conn, "notify")
        assert failed.as_dict() == {
            "name": "notify",
            "started_at": AT + 300,
            "success_at": AT,
            "error": "x" * 500,
            "detail": {"run_id": 7, "a": [1]},
        }
        assert jobs.state(conn, "digest").success_at == AT
        assert jobs.state(conn, "scan").as_dict() == {"name": "scan", **EMPTY}
        assert {k: r.as_dict() for k, r in jobs.every(conn).items()} == {
            "notify": failed.as_dict(),
            "digest": {"name": "digest", **EMPTY, "success_at": AT},
            "cases": {"name": "cases", **EMPTY, "error": "it broke off"},
        }
    with database.write(NOW + timedelta(minutes=9)) as tx:
        jobs.succeeded(tx, "notify")
        kept = jobs.state(tx.conn, "notify")
        jobs.succeeded(tx, "notify", {})
        emptied = jobs.state(tx.conn, "notify")
    assert (kept.success_at, kept.error, kept.detail) == (
        AT + 540,
        None,
        {"run_id": 7, "a": [1]},
    )
    assert emptied.detail == {}
    assert audited(database) == [], "a job's own state is not a change by an administrator"


def test_exception_leaves_the_state_of_the_job_as_it_was(database: Database) -> None:
    with database.write(NOW) as tx:
        jobs.succeeded(tx, "notify", {"run_id": 7})
    with database.read() as conn:
        known = jobs.state(conn, "notify")
    with pytest.raises(ZeroDivisionError), database.write(NOW) as tx:
        jobs.started(tx, "notify")
        jobs.succeeded(tx, "notify", {"run_id": 8})
        raise ZeroDivisionError
    with database.read() as conn:
        assert jobs.state(conn, "notify") == known


def test_second_process_of_a_job_is_refused_and_another_job_is_not(database: Database) -> None:
    with jobs.alone(database, "notify"):
        with jobs.alone(database, "renew"), jobs.alone(database, "cases"):
            pass
        with (
            pytest.raises(Busy, match="notify is running on this database"),
            jobs.alone(database, "notify"),
        ):
            raise AssertionError("two hold the lock of one job")
    with pytest.raises(ZeroDivisionError), jobs.alone(database, "notify"):
        raise ZeroDivisionError
    with jobs.alone(database, "notify"):
        pass
