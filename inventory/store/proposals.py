"""What a scan run proposes to change: findings that open, change and close, with the cache keys.

Order of durability: the proposals of a batch commit with its facts
(:mod:`inventory.store.scan_results`). Findings change and cache keys move in one transaction at the
end of a complete run. A run that dies leaves facts, and no proposal takes effect; since the cache
keys did not move, the next run proposes the same again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import chunks, upsert
from inventory.models import ProbeState, Proposal, StoredFinding
from inventory.store import acceptance_ends
from inventory.store.finding_columns import columns_of, from_columns
from inventory.store.scan_results import CacheKeys, update_cache_keys
from inventory.vocabulary import Finding

# Findings that show, or may show, the certificate of another machine.
_NOT_THEIRS = frozenset(
    {"name-mismatch", "default-certificate", "self-signed", "untrusted-root", "not-tls"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedChanges:
    """What a run would change at one endpoint.

    Attributes:
        at: The time of the probe, and not of the end of the run: a run may last hours.
        opened: Findings to open.
        updated: (finding id, what it becomes).
        closed: Ids of findings.
    """

    at: Timestamp
    opened: tuple[Finding, ...] = ()
    updated: tuple[tuple[int, Finding], ...] = ()
    closed: tuple[int, ...] = ()


def propose(tx: Tx, run_id: int, rows: Sequence[tuple[CacheKeys, ProposedChanges]]) -> None:
    """Store what a run proposes to change at its end.

    Args:
        tx: The transaction of the batch.
        run_id: The run.
        rows: The changes of each endpoint, with the cache keys that take effect with them.
    """
    if rows:
        values = [
            {
                "run_id": run_id,
                "endpoint_id": keys.endpoint_id,
                "changes": _stored(changes, keys),
            }
            for keys, changes in rows
        ]
        tx.conn.execute(insert(Proposal), values)


def _stored(changes: ProposedChanges, keys: CacheKeys) -> dict[str, Any]:
    """Return changes and cache keys in the form of the column."""
    return {
        "at": changes.at,
        "open": [columns_of(f) for f in changes.opened],
        "update": [[row_id, columns_of(f)] for row_id, f in changes.updated],
        "close": list(changes.closed),
        "marks": [keys.fingerprint, keys.evidence_key, keys.recheck_at],
    }


def _changes_of(stored: Mapping[str, Any]) -> ProposedChanges:
    return ProposedChanges(
        at=stored["at"],
        opened=tuple(from_columns(c) for c in stored["open"]),
        updated=tuple((row_id, from_columns(c)) for row_id, c in stored["update"]),
        closed=tuple(stored["close"]),
    )


def _cache_keys_of(endpoint_id: int, stored: Mapping[str, Any]) -> CacheKeys:
    return CacheKeys(endpoint_id, *stored["marks"])


def proposals_of(conn: Connection, run_id: int, ids: Sequence[int]) -> dict[int, ProposedChanges]:
    """Return endpoint id -> what a run proposes for it, of these endpoints."""
    query = select(Proposal.endpoint_id, Proposal.changes)
    return {
        key: _changes_of(stored)
        for part in chunks(ids)
        for key, stored in conn.execute(
            query.where(Proposal.run_id == run_id, Proposal.endpoint_id.in_(part))
        )
    }


def replace_proposal(tx: Tx, run_id: int, endpoint_id: int, changes: ProposedChanges) -> None:
    """Replace what a run proposes for an endpoint, or propose it. Its cache keys stay as they are.

    Args:
        tx: The transaction.
        run_id: The run.
        endpoint_id: The endpoint.
        changes: The new proposal.
    """
    mine = (Proposal.run_id == run_id, Proposal.endpoint_id == endpoint_id)
    proposed = tx.conn.scalar(select(Proposal.changes).where(*mine))
    if proposed is not None:
        keys = _cache_keys_of(endpoint_id, proposed)
    else:
        # Without a proposal, the keys of the probe are those of the endpoint already.
        columns = select(ProbeState.fingerprint, ProbeState.memo, ProbeState.recheck_at)
        row = tx.conn.execute(columns.where(ProbeState.endpoint_id == endpoint_id)).one()
        keys = CacheKeys(endpoint_id, *row)
    tx.conn.execute(delete(Proposal).where(*mine))
    propose(tx, run_id, [(keys, changes)])


@dataclass(frozen=True, slots=True)
class _OpenedFinding:
    """A finding that takes effect."""

    endpoint_id: int
    at: Timestamp
    finding: Finding


def apply_proposals(tx: Tx, run_id: int, chunk: int = 2000) -> tuple[int, int]:
    """Open, change and close what a run proposed, and move its cache keys.

    All of it happens in the transaction that ends the run, so a killed process changes nothing.

    Args:
        tx: The transaction.
        run_id: The run.
        chunk: The number of proposals in memory at a time.

    Returns:
        The number of findings that were opened and closed.
    """
    opened = closed = after = 0
    while True:
        query = (
            select(Proposal.id, Proposal.endpoint_id, Proposal.changes)
            .where(Proposal.run_id == run_id, Proposal.id > after)
            .order_by(Proposal.id)
            .limit(chunk)
        )
        rows = tx.conn.execute(query).all()
        if not rows:
            break
        after = rows[-1].id
        proposed = [(row.endpoint_id, _changes_of(row.changes)) for row in rows]
        # Closed before opened: the unique index allows one open finding per endpoint and code, and
        # a finding that changed its nature is closed and opened again.
        closed += _close(tx, run_id, [(i, c.at) for _, c in proposed for i in c.closed])
        _update(tx, [change for _, c in proposed for change in c.updated])
        opened += _open(
            tx, run_id, [_OpenedFinding(key, c.at, f) for key, c in proposed for f in c.opened]
        )
        update_cache_keys(tx, [_cache_keys_of(row.endpoint_id, row.changes) for row in rows])
    tx.conn.execute(delete(Proposal).where(Proposal.run_id == run_id))
    return opened, closed


def _close(tx: Tx, run_id: int, closed: Sequence[tuple[int, Timestamp]]) -> int:
    """Close findings, given as (finding id, time of the probe), and return their number."""
    if closed:
        statement = (
            update(StoredFinding)
            .where(StoredFinding.id == bindparam("i"))
            .values(closed_at=bindparam("at"), closed_run=run_id)
        )
        tx.conn.execute(statement, [{"i": row_id, "at": at} for row_id, at in closed])
        acceptance_ends.end_with_faults(tx, [row_id for row_id, _ in closed])
        tx.audit_many("close", "finding", [(row_id, {"run": run_id}) for row_id, _ in closed])
    return len(closed)


def _update(tx: Tx, updated: Sequence[tuple[int, Finding]]) -> None:
    if updated:
        columns = ("severity", "actor", "outcome", "addresses", "evidence")
        statement = (
            update(StoredFinding)
            .where(StoredFinding.id == bindparam("i"))
            .values({c: bindparam(f"c_{c}") for c in columns})
        )
        rows = [
            {f"c_{k}": v for k, v in columns_of(f).items()} | {"i": row_id} for row_id, f in updated
        ]
        tx.conn.execute(statement, rows)


def _open(tx: Tx, run_id: int, opened: Sequence[_OpenedFinding]) -> int:
    """Open findings, and return their number."""
    rows = [
        columns_of(o.finding)
        | {"endpoint_id": o.endpoint_id, "opened_at": o.at, "opened_run": run_id}
        for o in opened
    ]
    for part in chunks(rows):
        # What was opened meanwhile by another job (certmgr/revocation/job.py) is open.
        tx.conn.execute(upsert(tx.conn, StoredFinding).on_conflict_do_nothing(), list(part))
    tx.audit_many(
        "open",
        "finding",
        [
            (None, {"endpoint": o.endpoint_id, "code": o.finding.code, "run": run_id})
            for o in opened
        ],
    )
    return len(opened)


def open_positive(tx: Tx, run_id: int, codes: frozenset[str]) -> int:
    """Open those proposed findings of a suspect run that were positively seen; return how many.

    Only endpoints with a completed handshake count, and only if nothing else was found that
    doubts whose certificate it is.

    Args:
        tx: The transaction that ends the run.
        run_id: The run. Its other proposals are left to :func:`runs.finish`.
        codes: The findings that a handshake proves.
    """
    rows = tx.conn.execute(
        select(Proposal.endpoint_id, Proposal.changes)
        .join(ProbeState, ProbeState.endpoint_id == Proposal.endpoint_id)
        .where(Proposal.run_id == run_id, ProbeState.last_good == ProbeState.last_attempt)
        .order_by(Proposal.id)
    )
    opened: list[_OpenedFinding] = []
    for endpoint_id, stored in rows:
        changes = _changes_of(stored)
        # In a suspect run, a login page of a network may answer for every name.
        if any(f.code in _NOT_THEIRS for f in changes.opened):
            continue
        opened += [
            _OpenedFinding(endpoint_id, changes.at, f) for f in changes.opened if f.code in codes
        ]
    return _open(tx, run_id, opened)


def changed_by(conn: Connection, run_id: int) -> tuple[int, int]:
    """Return how many findings a run opened and closed."""
    opened = select(func.count()).where(StoredFinding.opened_run == run_id)
    closed = select(func.count()).where(StoredFinding.closed_run == run_id)
    return conn.scalar(opened) or 0, conn.scalar(closed) or 0
