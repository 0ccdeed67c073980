"""Interrupted runs: which one goes on, with which counts, and why another does not."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from inventory.db.database import Database
from inventory.models import Endpoint, ProbeState, Run
from inventory.store import resumed_runs, runs, scan_results
from inventory.store.resumed_runs import NotResumed, Resumed
from tests.inventory.store.builders import AT, DAY, LATER, NOW, rows, site
from tests.inventory.store.scan_rows import add_status, failure_row


def _interrupted(pair: Database) -> tuple[int, int, int]:
    """Return a run that stopped after two endpoints, and these: one answered, and one did not."""
    with pair.write(NOW) as tx:
        one, two = (site(tx, f"shop{n}.example").endpoint_id for n in (1001, 1002))
        run_id = runs.start(tx, "client 1001", 3, "--deep")
        add_status(tx, one, last_run_id=run_id)
        scan_results.write_endpoint_status(tx, [failure_row(two, tx.at, last_run_id=run_id)])
        runs.finish(tx, run_id, "incomplete", "it was interrupted", 2, 1)
    return run_id, one, two


def test_interrupted_run_goes_on_with_what_it_counted(pair: Database) -> None:
    run_id, _, two = _interrupted(pair)
    with pair.write(LATER) as tx:
        resumed = resumed_runs.resume(tx, "client 1001", "--deep", AT)
        resumed_runs.set_planned(tx, run_id, 5)
        (run,) = rows(tx.conn, Run)
        failures = tx.conn.scalar(
            select(ProbeState.failing_runs).where(ProbeState.endpoint_id == two)
        )
    assert resumed == Resumed(
        run_id=run_id, started_at=AT, checked=2, undetermined=1, was_good=0, fell=0
    )
    assert (run["state"], run["finished_at"], run["planned"]) == ("running", None, 5)
    assert failures == 1, "the end of the run had taken it back"


def test_endpoint_that_was_retired_meanwhile_is_not_counted(pair: Database) -> None:
    run_id, one, _ = _interrupted(pair)
    with pair.write(LATER) as tx:
        tx.conn.execute(update(Endpoint).where(Endpoint.id == one).values(state="retired"))
        resumed = resumed_runs.resume(tx, "client 1001", "--deep", AT)
    assert isinstance(resumed, Resumed)
    assert (resumed.run_id, resumed.checked, resumed.undetermined) == (run_id, 1, 1)


@pytest.mark.parametrize(
    ("scope", "checks", "since", "reason"),
    [
        ("", "--deep", AT, "was about client 1001, and this one is about the whole inventory"),
        ("client 1001", "", AT, "was begun with --deep, and this one without such options"),
        ("client 1001", "--deep", AT + DAY, "is too old: its last result is of"),
    ],
)
def test_run_that_differs_or_is_too_old_is_not_resumed(
    pair: Database, scope: str, checks: str, since: int, reason: str
) -> None:
    run_id, _, _ = _interrupted(pair)
    with pair.write(LATER) as tx:
        refused = resumed_runs.resume(tx, scope, checks, since)
        (run,) = rows(tx.conn, Run)
    assert isinstance(refused, NotResumed)
    assert refused.reason.startswith(f"run {run_id} {reason}")
    assert run["state"] == "incomplete"


@pytest.mark.parametrize("state", ["complete", "suspect"])
def test_run_that_ended_otherwise_is_not_resumed_and_needs_no_reason(
    pair: Database, state: str
) -> None:
    with pair.write(NOW) as tx:
        assert resumed_runs.resume(tx, "", "", 0) == NotResumed("")
        runs.finish(tx, runs.start(tx, "", 1), state, None, 1, 0)
        assert resumed_runs.resume(tx, "", "", 0) == NotResumed("")
