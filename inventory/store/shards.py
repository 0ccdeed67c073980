"""Shards of a scan that is spread over workers: who may scan which endpoints, and until when.

A worker scans a shard under a lease. Each lease of a shard has a higher number (fencing token) than
the one before. Results are stored only under the newest one, so a worker that was paused past its
lease cannot write after another worker has taken the shard. All times are read from the clock of
the database, because the clocks of workers may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, delete, func, insert, or_, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, database_now, fetch, fetch_one
from inventory.errors import CertmgrError
from inventory.models import Run, ScanShard, ServedChain
from inventory.records import (
    PlannedShard,
    ShardLease,
    ShardProgress,
    SpreadRun,
    WaitingShard,
    ZoneShards,
)
from inventory.vocabulary import ShardRole


class LeaseLost(CertmgrError):
    """Another worker has the shard, or its run has ended: the results are not accepted."""


def database_time(conn: Connection) -> int:
    """Return the time of the database, in epoch seconds."""
    return int(conn.execute(select(database_now(conn))).scalar_one())


def addresses(conn: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Return one address per endpoint: the first that its last observations name.

    Endpoints that no scan has reached are left out.
    """
    found: dict[int, str] = {}
    for part in chunks(ids):
        rows = conn.execute(
            select(ServedChain.endpoint_id, func.min(ServedChain.address))
            # One address is enough: it only keeps the endpoints of one machine together.
            .where(ServedChain.endpoint_id.in_(part), ServedChain.open == 1)
            .group_by(ServedChain.endpoint_id)
        )
        found.update((key, address) for key, address in rows)
    return found


def create(
    tx: Tx, run_id: int, options: Mapping[str, Any], planned: Sequence[PlannedShard]
) -> None:
    """Store the shards of a run, in the transaction that starts the run.

    Args:
        tx: The transaction.
        run_id: The run.
        options: The options that all workers follow.
        planned: The shards, in the order in which they are begun.
    """
    now = database_now(tx.conn)
    tx.conn.execute(update(Run).where(Run.id == run_id).values(options=dict(options)))
    for shard in planned:
        row = {
            "run_id": run_id,
            "turn": shard.turn,
            "share": shard.share,
            "zone": shard.zone,
            "role": shard.role,
            "endpoints": list(shard.endpoints),
        }
        tx.conn.execute(insert(ScanShard).values(**row, touched_at=now))


def running(conn: Connection) -> list[SpreadRun]:
    """Return the runs that are spread over workers and have not ended."""
    columns = (Run.id, Run.scope, Run.planned, Run.started_at, Run.options)
    query = select(*columns).where(Run.state == "running", Run.options.is_not(None))
    return fetch(conn, SpreadRun, query.order_by(Run.id))


def waiting(conn: Connection, run_id: int) -> list[WaitingShard]:
    """Return the shards that no worker scans.

    These are the shards without a result whose lease has ended, or that never had one.
    """
    now = database_now(conn)
    query = (
        select(
            ScanShard.id,
            ScanShard.turn,
            ScanShard.zone,
            ScanShard.token.label("leases"),
            (now - ScanShard.touched_at).label("idle"),
        )
        .where(
            ScanShard.run_id == run_id,
            ScanShard.finished_at.is_(None),
            # A shard without a lease has the end 0, so it is found by the same condition.
            ScanShard.leased_until <= now,
        )
        .order_by(ScanShard.id)
    )
    return fetch(conn, WaitingShard, query)


def without_result(conn: Connection, run_id: int) -> list[ZoneShards]:
    """Return zones whose shards wait for a worker, or were left out of the run, by zone."""
    query = select(ScanShard.zone, ScanShard.endpoints, ScanShard.doubt).where(
        ScanShard.run_id == run_id,
        or_(ScanShard.finished_at.is_(None), ScanShard.doubt.is_not(None)),
    )
    found: dict[tuple[str, str | None], int] = {}
    for zone, ids, doubt in conn.execute(query.order_by(ScanShard.zone, ScanShard.id)):
        found[zone, doubt] = found.get((zone, doubt), 0) + len(ids)
    return [ZoneShards(zone=z, endpoints=n, doubt=doubt) for (z, doubt), n in found.items()]


def zones_of(conn: Connection, run_id: int) -> list[str]:
    """Return the zones that a run visits from."""
    query = select(ScanShard.zone).where(ScanShard.run_id == run_id).distinct()
    return list(conn.scalars(query.order_by(ScanShard.zone)))


def lease(tx: Tx, shard_id: int, worker: str, seconds: int) -> ShardLease | None:
    """Lease a shard; None if it is finished, leased to another worker, or its run has ended.

    The lease is committed before the first endpoint is visited.

    Args:
        tx: The transaction.
        shard_id: The shard.
        worker: The name of the worker, for people.
        seconds: How long the lease holds without an extension.
    """
    now = database_now(tx.conn)
    # One statement: of two workers that ask at the same time, one changes no row.
    taken = tx.conn.execute(
        update(ScanShard)
        .where(
            ScanShard.id == shard_id,
            ScanShard.finished_at.is_(None),
            ScanShard.leased_until <= now,
            ScanShard.run_id.in_(select(Run.id).where(Run.state == "running")),
        )
        .values(
            # The token rises with each lease, so that results of an earlier one are recognised.
            token=ScanShard.token + 1,
            worker=worker,
            leased_until=now + seconds,
            touched_at=now,
        )
    )
    if taken.rowcount != 1:
        return None
    columns = (
        ScanShard.id,
        ScanShard.run_id,
        ScanShard.token,
        ScanShard.endpoints,
        ScanShard.share,
        ScanShard.zone,
        ScanShard.role,
        Run.options,
    )
    query = select(*columns).join(Run, Run.id == ScanShard.run_id).where(ScanShard.id == shard_id)
    row = tx.conn.execute(query).one()
    return ShardLease(
        id=row.id,
        run_id=row.run_id,
        token=row.token,
        endpoints=tuple(row.endpoints),
        share=row.share,
        zone=row.zone,
        role=row.role,
        options=row.options or {},
    )


def extend(tx: Tx, held: ShardLease, seconds: int) -> bool:
    """Extend a lease from now on. Return False if it was released, or another worker has the shard.

    A lease that ended while its worker was slow can be extended, but not one that was given back:
    another worker could not take the shard then, although no worker scans it.
    """
    now = database_now(tx.conn)
    extended = tx.conn.execute(
        update(ScanShard)
        .where(_held(held), ScanShard.leased_until > 0)
        .values(leased_until=now + seconds, touched_at=now)
    )
    return extended.rowcount == 1


def release(tx: Tx, held: ShardLease) -> None:
    """End a lease without a result, so that another worker can take the shard at once."""
    # Only by the holder: a worker that lost its lease must not end that of its successor.
    tx.conn.execute(update(ScanShard).where(_held(held)).values(leased_until=0, worker=None))


def finish(
    tx: Tx,
    held: ShardLease,
    *,
    checked: int,
    undetermined: int,
    fell: Sequence[int],
    doubt: str | None = None,
) -> None:
    """Mark a shard as finished, in the transaction that stores its results.

    An expired lease is accepted while no other worker has taken the shard: its results are not
    stored twice.

    Args:
        tx: The transaction.
        held: The lease.
        checked: The number of endpoints with a result.
        undetermined: Those of which it is unknown what they serve.
        fell: Ids of endpoints that were good before the run and are not any more.
        doubt: Why what the zone saw is not used. Then nothing else was stored.

    Raises:
        LeaseLost: Another worker has the shard, it is finished, or its run has ended. The
            transaction must be rolled back.
    """
    # The lock on the run keeps its end from happening between this check and the commit.
    run = select(Run.state).where(Run.id == held.run_id).with_for_update(read=True)
    now = database_now(tx.conn)
    ended = tx.conn.scalar(run) != "running"
    marked = tx.conn.execute(
        update(ScanShard)
        .where(_held(held))
        .values(
            finished_at=now,
            touched_at=now,
            leased_until=0,
            checked=checked,
            undetermined=undetermined,
            fell=list(fell),
            doubt=None if doubt is None else doubt[:300],
        )
    )
    if ended or marked.rowcount != 1:
        raise LeaseLost(
            f"The results of shard {held.id} were not stored",
            "the run has ended" if ended else "another worker has taken the shard",
            "There is nothing to do: no result is stored twice.",
        )


def give_up(tx: Tx, shard_id: int, error: str) -> None:
    """Mark a shard as finished without a result; its run will be incomplete."""
    now = database_now(tx.conn)
    tx.conn.execute(
        update(ScanShard)
        .where(ScanShard.id == shard_id, ScanShard.finished_at.is_(None))
        .values(finished_at=now, touched_at=now, leased_until=0, error=error[:300])
    )


def leave_out(tx: Tx, shard_id: int, doubt: str) -> None:
    """Mark a shard as finished without a result; its run can be complete without it."""
    now = database_now(tx.conn)
    tx.conn.execute(
        update(ScanShard)
        .where(ScanShard.id == shard_id, ScanShard.finished_at.is_(None))
        # A worker that takes it at this moment keeps it.
        .where(ScanShard.leased_until <= now)
        .values(finished_at=now, touched_at=now, leased_until=0, doubt=doubt[:300])
    )


def progress(conn: Connection, run_id: int) -> ShardProgress:
    """Return how far a run has come."""
    now = database_now(conn)
    # A second opinion is no further endpoint.
    main = ScanShard.role != ShardRole.FURTHER
    leased = (ScanShard.finished_at.is_(None)) & (ScanShard.leased_until > now)
    row = conn.execute(
        select(
            func.count().label("shards"),
            func.count(ScanShard.finished_at).label("finished"),
            func.coalesce(func.sum(case((main, ScanShard.checked))), 0).label("checked"),
            func.coalesce(func.sum(case((main, ScanShard.undetermined))), 0).label("undetermined"),
            func.count(func.distinct(case((leased, ScanShard.worker)))).label("workers"),
            (now - func.coalesce(func.max(ScanShard.touched_at), now)).label("idle"),
        ).where(ScanShard.run_id == run_id)
    ).one()
    errors = conn.scalars(
        select(ScanShard.error).where(ScanShard.run_id == run_id, ScanShard.error.is_not(None))
    )
    return ShardProgress(
        shards=row.shards,
        finished=row.finished,
        checked=int(row.checked),
        undetermined=int(row.undetermined),
        workers=row.workers,
        errors=tuple(e for e in errors if e),
        idle=int(row.idle),
    )


def fell(conn: Connection, run_id: int) -> set[int]:
    """Return the ids of endpoints that were good before the run and are not any more."""
    lists = conn.scalars(select(ScanShard.fell).where(ScanShard.run_id == run_id))
    return {key for ids in lists for key in ids}


def claim_end(tx: Tx, run_id: int) -> SpreadRun | None:
    """Lock a run in order to end it; None if it has ended.

    Of two finishers, the second waits for the first, and then finds that the run has ended.
    """
    columns = (Run.id, Run.scope, Run.planned, Run.started_at, Run.options)
    query = select(*columns).where(
        Run.id == run_id, Run.state == "running", Run.options.is_not(None)
    )
    return fetch_one(tx.conn, SpreadRun, query.with_for_update())


def remove(tx: Tx, run_id: int) -> None:
    """Delete the shards of a run that has ended."""
    tx.conn.execute(delete(ScanShard).where(ScanShard.run_id == run_id))


def _held(held: ShardLease) -> ColumnElement[bool]:
    return (
        (ScanShard.id == held.id)
        & (ScanShard.token == held.token)
        & ScanShard.finished_at.is_(None)
    )
