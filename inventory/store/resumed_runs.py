"""Scan runs that were interrupted and go on.

The state of each endpoint is in its row, so that a run keeps no list of what it checked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx, from_epoch
from inventory.models import Client, Domain, Endpoint, ProbeState, Run
from inventory.store.runs import vantage

WHOLE = "the whole inventory"


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that continues after an interruption, with what it has counted so far.

    Attributes:
        checked: The endpoints that it attempted.
        undetermined: Those of which it is unknown what they serve.
        was_good: Those that were good in the last complete run.
        fell: Those of them that are not good any more.
    """

    run_id: int
    started_at: Timestamp
    checked: int
    undetermined: int
    was_good: int
    fell: int


@dataclass(frozen=True, slots=True)
class NotResumed:
    """No run is taken up.

    Attributes:
        reason: Why the newest run is not, although it was interrupted; empty if it was not.
    """

    reason: str


def resume(tx: Tx, scope: str, checks: str, since: Timestamp) -> Resumed | NotResumed:
    """Take up the newest run if it was interrupted.

    The run must have the same scope and checks, and must have attempted an endpoint, or begun, at
    ``since`` (epoch seconds) or later: older facts are not mixed with new ones. What it proposed is
    kept. The caller records how many endpoints it has now (:func:`set_planned`).

    Only under :func:`exclusive`: a run that is marked as running died.
    """
    row = (
        # Only the newest run: what an older one found has been replaced by later runs.
        tx.conn.execute(
            select(Run.id, Run.state, Run.scope, Run.checks, Run.started_at, Run.options)
            .order_by(Run.id.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    if row is None or row["state"] not in ("running", "incomplete"):
        return NotResumed("")
    run_id = int(row["id"])
    # The workers of a spread run go on with it themselves (inventory/store/shards.py).
    if row["options"] is not None:
        return NotResumed(f"run {run_id} was a run of workers")
    # A run over other endpoints would leave some of them unchecked and still count as complete.
    if row["scope"] != scope:
        return NotResumed(
            f"run {run_id} was about {row['scope'] or WHOLE}, and this one is about"
            f" {scope or WHOLE}"
        )
    # The same holds for checks: the document and the findings would mix both.
    if row["checks"] != checks:
        return NotResumed(
            f"run {run_id} was begun {_with(row['checks'])}, and this one {_with(checks)}"
        )
    progress, last = _progress(tx.conn, run_id, row["started_at"])
    # Its facts are too old to be one picture with those of today.
    newest_result = max(last, row["started_at"])
    if newest_result < since:
        at = from_epoch(newest_result)
        return NotResumed(f"run {run_id} is too old: its last result is of {at:%Y-%m-%d %H:%M} UTC")
    if row["state"] == "incomplete":
        # finish() took back what the run counted against these endpoints.
        tx.conn.execute(
            update(ProbeState)
            .where(ProbeState.last_run_id == run_id, ProbeState.failing_since.is_not(None))
            .values(failing_runs=ProbeState.failing_runs + 1)
        )
    tx.conn.execute(
        update(Run)
        .where(Run.id == run_id)
        .values(
            state="running",
            reason=None,
            finished_at=None,
            # The new process is the holder now, also on another machine.
            vantage=vantage(),
            pid=os.getpid(),
        )
    )
    tx.audit("resume", "run", run_id, {"checked": progress.checked})
    return progress


def _with(checks: str) -> str:
    return f"with {checks}" if checks else "without such options"


def set_planned(tx: Tx, run_id: int, planned: int) -> None:
    """Record how many endpoints a run has; the inventory may change while it is interrupted."""
    tx.conn.execute(update(Run).where(Run.id == run_id).values(planned=planned))


def _progress(conn: Connection, run_id: int, started_at: Timestamp) -> tuple[Resumed, Timestamp]:
    """Return what a run has counted so far, and the time of its last attempt (0 without one).

    The state of each endpoint is in its row, so a run keeps no list that could be lost. Endpoints
    that were retired meanwhile are left out, as in the status.
    """
    is_good = ProbeState.last_good == ProbeState.last_attempt
    count = conn.execute(
        select(
            func.count().label("checked"),
            func.coalesce(func.max(ProbeState.last_attempt), 0).label("last"),
            func.count(case((ProbeState.failing_since.is_not(None), 1))).label("undetermined"),
            func.count(case((ProbeState.good == 1, 1))).label("was_good"),
            func.count(case(((ProbeState.good == 1) & is_good, 1))).label("still_good"),
        )
        .select_from(ProbeState)
        .join(Endpoint, Endpoint.id == ProbeState.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .where(
            ProbeState.last_run_id == run_id,
            Endpoint.state == "active",
            Domain.state != "retired",
            Client.state != "retired",
        )
    ).one()
    progress = Resumed(
        run_id=run_id,
        started_at=started_at,
        checked=count.checked,
        undetermined=count.undetermined,
        was_good=count.was_good,
        fell=count.was_good - count.still_good,
    )
    return progress, count.last
