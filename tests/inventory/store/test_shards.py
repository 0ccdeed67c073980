"""Shards: one worker per shard, results under the newest lease only, and a run that ends once."""

from __future__ import annotations

import threading

import pytest

from inventory.db.database import Database
from inventory.errors import Busy
from inventory.models import Run, ScanShard
from inventory.records import PlannedShard, ShardLease
from inventory.store import resumed_runs, runs, shards
from tests.inventory.store.builders import LATER, NOW, rows


def spread(database: Database, *groups: tuple[str | None, list[int]]) -> int:
    """Start a run of these shards."""
    with database.write(NOW) as tx:
        run_id = runs.start(tx, "", sum(len(ids) for _, ids in groups))
        planned = [PlannedShard(endpoints=tuple(ids), turn=turn) for turn, ids in groups]
        shards.create(tx, run_id, {"deep": True}, planned)
    return run_id


def ids(database: Database, run_id: int) -> list[int]:
    with database.read() as conn:
        return [s.id for s in shards.waiting(conn, run_id)]


def lease(database: Database, shard_id: int, worker: str, seconds: int = 60) -> ShardLease | None:
    with database.write(NOW) as tx:
        return shards.lease(tx, shard_id, worker, seconds)


def held(database: Database, shard_id: int, worker: str, seconds: int = 60) -> ShardLease:
    found = lease(database, shard_id, worker, seconds)
    assert found is not None
    return found


def finish(database: Database, of: ShardLease, *fell: int) -> None:
    with database.write(NOW) as tx:
        shards.finish(tx, of, checked=len(of.endpoints), undetermined=1, fell=fell)


def test_shard_is_leased_to_one_worker_at_a_time(pair: Database) -> None:
    run_id = spread(pair, ("10.0.0.1", [3, 1]), (None, [2]))
    first, second = ids(pair, run_id)
    found = held(pair, first, "one")
    assert (found.run_id, found.token, found.endpoints) == (run_id, 1, (3, 1))
    assert found.options == {"deep": True}
    assert lease(pair, first, "two") is None
    assert ids(pair, run_id) == [second]
    with pair.read() as conn:
        assert shards.progress(conn, run_id).workers == 1


def test_of_many_workers_that_ask_together_one_gets_the_lease(database: Database) -> None:
    run_id = spread(database, (None, [1]))
    (shard,) = ids(database, run_id)
    start, won = threading.Barrier(6), []

    def ask(name: str) -> None:
        start.wait()
        if lease(database, shard, name) is not None:
            won.append(name)

    threads = [threading.Thread(target=ask, args=(f"worker {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_results_of_an_old_lease_are_refused_and_those_of_the_new_one_stored(
    pair: Database,
) -> None:
    run_id = spread(pair, (None, [1, 2]))
    (shard,) = ids(pair, run_id)
    paused = held(pair, shard, "paused", seconds=0)
    taken = held(pair, shard, "other")
    assert taken.token == paused.token + 1
    with pytest.raises(shards.LeaseLost, match="another worker has taken"):
        finish(pair, paused)
    with pair.write(NOW) as tx:
        assert not shards.extend(tx, paused, 60)
        shards.release(tx, paused)
    assert lease(pair, shard, "third") is None  # an old lease releases nothing
    finish(pair, taken, 2)
    with pytest.raises(shards.LeaseLost, match="another worker has taken"):
        finish(pair, taken)
    with pair.read() as conn:
        done = shards.progress(conn, run_id)
        assert (done.shards, done.finished, done.checked, done.undetermined) == (1, 1, 2, 1)
        assert shards.fell(conn, run_id) == {2}


def test_expired_lease_stores_its_results_while_no_other_worker_took_the_shard(
    pair: Database,
) -> None:
    run_id = spread(pair, (None, [1]))
    (shard,) = ids(pair, run_id)
    late = held(pair, shard, "slow", seconds=0)
    assert ids(pair, run_id) == [shard]
    finish(pair, late)
    assert ids(pair, run_id) == []
    assert lease(pair, shard, "other") is None


def test_extended_lease_holds_and_a_released_one_is_free(pair: Database) -> None:
    run_id = spread(pair, (None, [1]))
    (shard,) = ids(pair, run_id)
    kept = held(pair, shard, "one", seconds=0)
    with pair.write(NOW) as tx:
        assert shards.extend(tx, kept, 60)
    assert lease(pair, shard, "two") is None
    with pair.write(NOW) as tx:
        shards.release(tx, kept)
    assert held(pair, shard, "two").token == 2


def test_results_after_the_end_of_the_run_are_refused(pair: Database) -> None:
    run_id = spread(pair, (None, [1]))
    (shard,) = ids(pair, run_id)
    late = held(pair, shard, "one")
    with pair.write(NOW) as tx:
        runs.finish(tx, run_id, "incomplete", "it was interrupted", 0, 0)
    with pytest.raises(shards.LeaseLost, match="the run has ended"):
        finish(pair, late)
    with pair.read() as conn:
        assert shards.progress(conn, run_id).finished == 0
    assert lease(pair, shard, "two") is None


def test_run_is_ended_by_one_finisher(pair: Database) -> None:
    run_id = spread(pair, (None, [1]))
    with pair.write(NOW) as tx:
        assert shards.claim_end(tx, run_id) is not None
        runs.finish(tx, run_id, "complete", None, 1, 0)
        shards.remove(tx, run_id)
    with pair.write(NOW) as tx:
        assert shards.claim_end(tx, run_id) is None
        assert rows(tx.conn, ScanShard) == []


def test_shard_that_was_given_up_is_finished_with_its_reason(pair: Database) -> None:
    run_id = spread(pair, (None, [1]), (None, [2]))
    first, second = ids(pair, run_id)
    finish(pair, held(pair, second, "one"))
    with pair.write(NOW) as tx:
        shards.give_up(tx, first, "five workers died on it")
        shards.give_up(tx, second, "no effect: it is finished")
    with pair.read() as conn:
        done = shards.progress(conn, run_id)
    assert (done.finished, done.checked, done.errors) == (2, 1, ("five workers died on it",))


def test_new_run_waits_for_workers_and_replaces_a_run_without_any(
    pair: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = spread(pair, (None, [1]), (None, [2]))
    finish(pair, held(pair, ids(pair, run_id)[0], "one"))
    with pytest.raises(Busy, match=f"1 of 2 shards of run {run_id}"), pair.write(LATER) as tx:
        runs.start(tx, "", 1)
    with pair.write(LATER) as tx:
        # Its workers go on with it.
        refused = resumed_runs.resume(tx, "", "", 0)
    assert refused == resumed_runs.NotResumed(f"run {run_id} was a run of workers")
    monkeypatch.setattr(runs, "SPREAD_IDLE_SECONDS", 0)
    with pair.write(LATER) as tx:
        runs.start(tx, "", 1)
        assert rows(tx.conn, ScanShard) == []
        states = {r["id"]: r["state"] for r in rows(tx.conn, Run)}
    assert states[run_id] == "incomplete"
