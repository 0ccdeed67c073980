"""Runs: one scan at a time, what a run that died leaves, and what an incomplete one takes back."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import select

from inventory.db.database import Database
from inventory.db.locks import exclusive_lock
from inventory.errors import Busy
from inventory.models import ProbeState, Proposal, Run
from inventory.store import proposals, runs, scan_results
from inventory.store.proposals import ProposedChanges
from inventory.store.scan_results import CacheKeys
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_site,
    audited,
    entry_count,
    rows,
    site,
)
from tests.inventory.store.scan_rows import add_status, failure_row


def test_new_run_marks_those_that_died_and_drops_their_proposals(pair: Database) -> None:
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        one = site(tx, "shop1001.example").endpoint_id
        whole = runs.start(tx, "", 2)
        proposals.propose(tx, whole, [(CacheKeys(one, "f", "", None), ProposedChanges(at=AT))])
        runs.finish(tx, whole, "complete", None, 2, 1)
        dead = runs.start(tx, "client 1001", 1)
        proposals.propose(tx, dead, [(CacheKeys(one, "f", "", None), ProposedChanges(at=AT))])
    with pair.write(LATER) as tx:
        new = runs.start(tx, "", 2)
        assert list(tx.conn.scalars(select(Proposal.run_id))) == [whole]
        found = {r["id"]: r for r in rows(tx.conn, Run)}
    ended = (found[dead]["state"], found[dead]["reason"], found[dead]["finished_at"])
    assert ended == ("incomplete", "its process died", AT + DAY)
    kept = found[whole]
    assert (kept["state"], kept["reason"], kept["finished_at"]) == ("complete", None, AT)
    assert (kept["looked"], kept["undetermined"]) == (2, 1)
    begun = found[new]
    assert (begun["state"], begun["started_at"], begun["finished_at"]) == (
        "running",
        AT + DAY,
        None,
    )
    assert (begun["scope"], begun["planned"], begun["looked"]) == ("", 2, 0)
    assert (begun["vantage"], begun["pid"]) == (runs.vantage(), os.getpid())
    assert audited(pair, known) == [
        ("start", "run", whole, {"scope": "", "planned": 2}),
        (
            "finish",
            "run",
            whole,
            {"state": "complete", "reason": None, "looked": 2, "undetermined": 1},
        ),
        ("start", "run", dead, {"scope": "client 1001", "planned": 1}),
        ("died", "run", dead, {}),
        ("start", "run", new, {"scope": "", "planned": 2}),
    ]


def test_complete_run_marks_which_of_its_endpoints_were_good(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (site(tx, f"shop{n}.example").endpoint_id for n in (1001, 1002))
        first = runs.start(tx, "", 2)
        add_status(tx, one, last_run_id=first)
        add_status(tx, two, last_run_id=first)
        runs.finish(tx, first, "complete", None, 2, 0)
        assert [r["good"] for r in rows(tx.conn, ProbeState)] == [1, 1]
        cut = runs.start(tx, "", 1)
        new = add_site(tx, "1001", "new.example").endpoint_id
        add_status(tx, new, last_run_id=cut)
        runs.finish(tx, cut, "incomplete", "interrupted", 1, 0)
    with pair.write(LATER) as tx:
        second = runs.start(tx, "", 1)
        scan_results.write_endpoint_status(tx, [failure_row(one, tx.at, last_run_id=second)])
        runs.finish(tx, second, "complete", None, 1, 1)
        found = {r["endpoint_id"]: r for r in rows(tx.conn, ProbeState)}
    assert (found[one]["good"], found[one]["failing_runs"]) == (0, 1)
    assert found[two]["good"] == 1, "it was not in this run"
    assert found[new]["good"] == 0, "it was in no complete run"


@pytest.mark.parametrize("state", ["incomplete", "suspect"])
def test_run_that_is_not_complete_counts_no_failure_and_keeps_proposals_only_to_be_resumed(
    pair: Database,
    state: str,
) -> None:
    with pair.write(NOW) as tx:
        one, two = (site(tx, f"shop{n}.example").endpoint_id for n in (1001, 1002))
        first = runs.start(tx, "", 2)
        failed = failure_row(one, tx.at, last_run_id=first, failing_runs=2)
        scan_results.write_endpoint_status(tx, [failed, failure_row(two, tx.at, last_run_id=first)])
        runs.finish(tx, first, "complete", None, 2, 2)
        second = runs.start(tx, "", 2)
        scan_results.seen_again(tx, second, [(one, tx.at, False, True)])
        new = add_site(tx, "1001", "new.example").endpoint_id
        scan_results.write_endpoint_status(tx, [failure_row(new, tx.at, last_run_id=second)])
        proposals.propose(tx, second, [(CacheKeys(one, "f", "", None), ProposedChanges(at=AT))])
        other = rows(tx.conn, Run)[0]
        proposals.propose(tx, first, [(CacheKeys(two, "f", "", None), ProposedChanges(at=AT))])
        assert {r["endpoint_id"]: r["failing_runs"] for r in rows(tx.conn, ProbeState)} == {
            one: 3,
            two: 1,
            new: 1,
        }
        runs.finish(tx, second, state, "too many are undetermined", 1, 1)
        assert {r["endpoint_id"]: r["failing_runs"] for r in rows(tx.conn, ProbeState)} == {
            one: 2,
            two: 1,
            new: 0,
        }
        proposed = set(tx.conn.scalars(select(Proposal.run_id)))
        assert proposed == ({first} if state == "suspect" else {first, second})
        kept, ended = rows(tx.conn, Run)
    assert kept == other
    assert (ended["state"], ended["reason"]) == (state, "too many are undetermined")
    assert (ended["looked"], ended["undetermined"], ended["finished_at"]) == (1, 1, AT)


def test_run_that_is_not_complete_takes_back_no_failure_that_it_did_not_count(
    pair: Database,
) -> None:
    with pair.write(NOW) as tx:
        one = site(tx, "shop1001.example").endpoint_id
        first = runs.start(tx, "", 1)
        add_status(tx, one, last_run_id=first)
        runs.finish(tx, first, "suspect", "too few answered", 1, 0)
        (row,) = rows(tx.conn, ProbeState)
    assert (row["failing_runs"], row["good"]) == (0, 0)


def test_exception_in_a_transaction_leaves_no_run(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write(NOW) as tx:
        runs.start(tx, "", 1)
        raise ZeroDivisionError
    with database.read() as conn:
        assert rows(conn, Run) == []
    assert audited(database) == []


def test_second_scan_is_refused_and_names_the_holder(database: Database) -> None:
    with runs.exclusive(database):
        with database.write(NOW) as tx:
            runs.start(tx, "", 1)
            row_id = runs.start(tx, "", 1)
        with pytest.raises(Busy) as refused, runs.exclusive(database):
            raise AssertionError("two scans hold one database")
        with exclusive_lock(database, "notify"):
            pass
    named = f"run {row_id} on {runs.vantage()}, process {os.getpid()}"
    named += ", since 2026-03-02 09:00:00 UTC"
    assert str(refused.value).startswith(f"Another scan is running: {named}.")
    with pytest.raises(ZeroDivisionError), runs.exclusive(database):
        raise ZeroDivisionError
    with runs.exclusive(database):
        pass


HOLDER = """
import subprocess, sys
from inventory.db.opening import open_database
from inventory.db.locks import exclusive_lock
with exclusive_lock(open_database(sys.argv[1]), "scan"):
    child = "import sys; print('held', flush=True); sys.stdin.read()"
    subprocess.run([sys.executable, "-c", child])
"""


def test_lock_of_a_killed_process_is_free_while_its_child_still_runs(
    database: Database,
    url: str,
) -> None:
    with database.write(NOW) as tx:
        runs.finish(tx, runs.start(tx, "", 1), "complete", None, 1, 0)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="another process"), runs.exclusive(database):
            raise AssertionError("two scans hold one database")
        holder.kill()
        holder.wait()
        with runs.exclusive(database), database.write(NOW + timedelta(hours=1)) as tx:
            runs.start(tx, "", 1)
        holder.stdin.close()  # the child ends
        assert holder.stdout.read() == ""
