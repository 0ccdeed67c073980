"""Calls: one result counts, and nothing is kept that no command waits for."""

from __future__ import annotations

from sqlalchemy import update

from inventory.db.database import Database
from inventory.models import WorkerCall, WorkerCallFile
from inventory.records import CallResult
from inventory.store import erase, worker_calls
from inventory.vocabulary import CallKind
from tests.inventory.store.builders import NOW, count

RESULT = CallResult(values={"links": [["1", "ok"]]}, files={"b": b"\x00\xff", "a": b""})


def add(database: Database) -> int:
    with database.write(NOW) as tx:
        return worker_calls.add(tx, CallKind.REPORTS, {"clients": ["1"]})


def test_first_result_of_two_workers_counts_and_is_read_once(database: Database) -> None:
    key = add(database)
    with database.write(NOW) as tx:
        first, second = (worker_calls.begin(tx, key) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.kind, first.arguments) == (CallKind.REPORTS, {"clients": ["1"]})
    assert (first.attempts, second.attempts) == (1, 2)
    with database.write(NOW) as tx:
        state = worker_calls.state(tx.conn, key)
        assert state is not None
        assert not state.finished
        assert worker_calls.finish(tx, key, RESULT)
        assert not worker_calls.finish(tx, key, CallResult(values={}, files={"c": b"late"}))
        assert not worker_calls.fail(tx, key, {"type": "CertmgrError"})
        assert worker_calls.begin(tx, key) is None
    with database.write(NOW) as tx:
        state = worker_calls.state(tx.conn, key)
        assert state is not None
        assert (state.finished, state.error) == (True, None)
        taken = worker_calls.take(tx, key)
        assert (taken.values, list(taken.files.items())) == (
            RESULT.values,
            [("b", b"\x00\xff"), ("a", b"")],
        )
        assert worker_calls.state(tx.conn, key) is None
        assert count(tx.conn, WorkerCallFile) == 0


def test_worker_that_is_late_stores_nothing_for_a_deleted_call(database: Database) -> None:
    key = add(database)
    with database.write(NOW) as tx:
        worker_calls.remove(tx, [key])
        assert worker_calls.begin(tx, key) is None
        assert not worker_calls.finish(tx, key, RESULT)
        assert count(tx.conn, WorkerCallFile) == 0


def test_calls_of_dead_commands_are_deleted_after_a_day(database: Database) -> None:
    old, new = add(database), add(database)
    with database.write(NOW) as tx:
        worker_calls.finish(tx, old, RESULT)
        age = WorkerCall.created_at - worker_calls.KEEP_SECONDS - 60
        tx.conn.execute(update(WorkerCall).where(WorkerCall.id == old).values(created_at=age))
        worker_calls.remove_old(tx)
        assert worker_calls.state(tx.conn, old) is None
        assert worker_calls.state(tx.conn, new) is not None
        assert count(tx.conn, WorkerCallFile) == 0


def test_erased_client_is_in_no_result_on_its_way(pair: Database) -> None:
    key = add(pair)
    with pair.write(NOW) as tx:
        worker_calls.finish(tx, key, RESULT)
    with pair.write(NOW) as tx:
        erase.erase(tx, "1001")
        assert (count(tx.conn, WorkerCall), count(tx.conn, WorkerCallFile)) == (0, 0)
