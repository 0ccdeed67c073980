"""Scan runs: one at a time per database, and how complete each was.

The holder has a lock that ends with its process (inventory/db/locks.py). A run that is marked as
running while no process holds the lock has died, and becomes incomplete.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime

from sqlalchemy import Connection, case, delete, func, select, update

from inventory.db.database import Database, Tx, from_epoch, to_epoch
from inventory.db.locks import LockHeld, exclusive_lock
from inventory.db.sql import fetch, fetch_existing, fetch_one, insert_id
from inventory.errors import Busy
from inventory.models import Domain, Endpoint, ProbeState, Proposal, Run
from inventory.records import CompleteRun, EndedRun, GoodEndpoint, NewestRun, RunRecord
from inventory.store import shards

# A spread run without any sign of a worker for this long is taken for dead.
SPREAD_IDLE_SECONDS = 600


def vantage() -> str:
    """Return the vantage point of a scan: the name of this machine."""
    return socket.gethostname()


@contextmanager
def exclusive(database: Database) -> Iterator[None]:
    """Hold the lock for one scan.

    Raises:
        Busy: Another scan is running. The error names it.
    """
    try:
        with exclusive_lock(database, "scan"):
            yield
    except LockHeld:
        raise _busy(database) from None


def _busy(database: Database) -> Busy:
    with database.read() as conn:
        row = (
            conn.execute(select(Run).where(Run.state == "running").order_by(Run.id.desc()))
            .mappings()
            .first()
        )
    holder = "another process"
    if row is not None:
        since = from_epoch(row["started_at"])
        holder = (
            f"run {row['id']} on {row['vantage']}, process {row['pid']}, since"
            f" {since:%Y-%m-%d %H:%M:%S} UTC"
        )
    return Busy(
        "Another scan is running", holder, "Wait for it to end; one scan at a time for a database."
    )


def scope_of(client: str | None, tag: str | None, server: str | None, zone: str = "") -> str:
    """Return the selection of a run, as it is stored; empty: the whole inventory.

    Args:
        client: The number of the client.
        tag: The tag.
        server: The server.
        zone: The only zone that is visited from, although others have endpoints.
    """
    parts = (
        f"client {client}" if client else "",
        f"tag {tag}" if tag else "",
        f"server {server}" if server else "",
        f"zone {zone}" if zone else "",
    )
    return ", ".join(p for p in parts if p)


def get(conn: Connection, run_id: int) -> RunRecord:
    """Return a run that exists."""
    columns = [getattr(Run, f.name) for f in fields(RunRecord)]
    return fetch_existing(conn, RunRecord, select(*columns).where(Run.id == run_id))


def start(tx: Tx, scope: str, planned: int, checks: str = "") -> int:
    """Begin a run, and return its id. Only under :func:`exclusive`.

    Args:
        tx: The transaction.
        scope: The selection of endpoints (:func:`scope_of`).
        planned: The number of endpoints.
        checks: The options that decide what is checked; a run is resumed only with the same.

    Runs that died are marked as incomplete, and what unfinished runs proposed is deleted.
    """
    _require_no_spread_run(tx.conn)
    unfinished = select(Run.id).where(Run.state != "complete")
    # They were computed from facts that this run replaces.
    tx.conn.execute(delete(Proposal).where(Proposal.run_id.in_(unfinished)))
    dead = list(tx.conn.scalars(select(Run.id).where(Run.state == "running")))
    for run_id in dead:
        tx.conn.execute(
            update(Run)
            .where(Run.id == run_id)
            .values(state="incomplete", reason="its process died", finished_at=tx.at)
        )
        shards.remove(tx, run_id)
        tx.audit("died", "run", run_id)
    values = {
        "state": "running",
        "vantage": vantage(),
        "pid": os.getpid(),
        "started_at": tx.at,
        "scope": scope,
        "planned": planned,
        "checks": checks,
    }
    key = insert_id(tx.conn, Run, values)
    tx.audit("start", "run", key, {"scope": scope, "planned": planned})
    return key


def _require_no_spread_run(conn: Connection) -> None:
    """Raise :class:`Busy` if workers scan for a run that has not ended."""
    for run in shards.running(conn):
        done = shards.progress(conn, run.id)
        # Without a sign of a worker for this long, no worker is there, and the run is dead.
        if done.shards and done.idle < SPREAD_IDLE_SECONDS:
            raise Busy(
                "Another scan is running",
                f"workers have finished {done.finished} of {done.shards} shards of run {run.id}",
                "Wait for its end: certmgr run waits for it, and certmgr worker speeds it up.",
            )


def finish(
    tx: Tx, run_id: int, state: str, reason: str | None, looked: int, undetermined: int
) -> None:
    """Record how a run ended.

    Args:
        tx: The transaction.
        run_id: The run.
        state: complete, incomplete or suspect.
        reason: Why it is not complete.
        looked: The number of endpoints that it checked.
        undetermined: The number of those whose state is unknown.
    """
    # An incomplete run keeps its proposals until the next run begins, because it may be resumed.
    # Those of a suspect run may all be wrong.
    if state == "suspect":
        tx.conn.execute(delete(Proposal).where(Proposal.run_id == run_id))
    # What is good is compared by the next run, so only a trusted run changes it.
    if state == "complete":
        is_good = case((ProbeState.last_good == ProbeState.last_attempt, 1), else_=0)
        tx.conn.execute(
            update(ProbeState)
            .where(ProbeState.last_run_id == run_id, ProbeState.good != is_good)
            .values(good=is_good)
        )
    else:
        tx.conn.execute(
            update(ProbeState)
            # A failure counts only if the network of the scanner was fine, so the count is taken
            # back.
            .where(ProbeState.last_run_id == run_id, ProbeState.failing_runs > 0)
            .values(failing_runs=ProbeState.failing_runs - 1)
        )
    tx.conn.execute(
        update(Run)
        .where(Run.id == run_id)
        .values(
            state=state, reason=reason, finished_at=tx.at, looked=looked, undetermined=undetermined
        )
    )
    tx.audit(
        "finish",
        "run",
        run_id,
        {"state": state, "reason": reason, "looked": looked, "undetermined": undetermined},
    )


def add_notes(tx: Tx, run_id: int, notes: Sequence[str]) -> None:
    """Record what a run left out although it is complete, one text each."""
    if notes:
        before = tx.conn.scalar(select(Run.notes).where(Run.id == run_id)) or ()
        tx.conn.execute(update(Run).where(Run.id == run_id).values(notes=(*before, *notes)))


def last_notes(conn: Connection) -> tuple[str, ...]:
    """Return what the last run that ended left out although it was complete."""
    query = select(Run.notes).where(Run.finished_at.is_not(None)).order_by(Run.id.desc())
    return conn.scalar(query.limit(1)) or ()


def good_endpoints(
    conn: Connection, run_id: int, failed: Collection[int] = ()
) -> list[GoodEndpoint]:
    """Return the endpoints that the run attempted, and that were good before it.

    To be read before :func:`finish`, which replaces what was known before.

    Args:
        conn: An open connection.
        run_id: The run.
        failed: Ids of endpoints that failed. Those of a resumed run are known from their times.
    """
    still_good = case((ProbeState.last_good == ProbeState.last_attempt, 1), else_=0)
    rows = conn.execute(
        select(Endpoint.id, Domain.client_id, Domain.server_id, Endpoint.host, still_good)
        .select_from(ProbeState)
        .join(Endpoint, Endpoint.id == ProbeState.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(ProbeState.last_run_id == run_id, ProbeState.good == 1)
    )
    return [
        GoodEndpoint(client, server, host, bool(good) and key not in failed)
        for key, client, server, host, good in rows
    ]


def last_run(conn: Connection) -> EndedRun | None:
    """Return the last run that ended."""
    columns = (Run.id, Run.state, Run.reason, Run.finished_at)
    return fetch_one(
        conn,
        EndedRun,
        select(*columns).where(Run.finished_at.is_not(None)).order_by(Run.id.desc()).limit(1),
    )


def last_complete(conn: Connection) -> int | None:
    """Return when a complete run of the whole inventory last ended, in epoch seconds."""
    return conn.execute(
        # A run over a selection shows nothing about the rest, so it does not count.
        select(func.max(Run.finished_at)).where(Run.state == "complete", Run.scope == "")
    ).scalar()


def recent_complete(conn: Connection, until: datetime, limit: int) -> list[CompleteRun]:
    """Return the last complete runs of the whole inventory until a time, the newest first."""
    columns = (Run.id, Run.finished_at, Run.looked.label("checked"), Run.undetermined)
    query = (
        select(*columns)
        .where(Run.state == "complete", Run.scope == "", Run.finished_at <= to_epoch(until))
        .order_by(Run.finished_at.desc(), Run.id.desc())
    )
    return fetch(conn, CompleteRun, query.limit(limit))


def newest(conn: Connection) -> NewestRun | None:
    """Return the run that was begun last, whether it ended or not."""
    columns = (Run.id, Run.state, Run.reason)
    return fetch_one(conn, NewestRun, select(*columns).order_by(Run.id.desc()).limit(1))
