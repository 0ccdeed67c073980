"""What a scan run stores: observations, the state of endpoints, and proposals.

Order of durability: the facts of a batch (certificates, observations, states of endpoints) and its
proposals commit together. Findings change and cache keys move in one transaction at the end of a
complete run. A run that dies leaves facts, and no proposal takes effect; since the cache keys did
not move, the next run proposes the same again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, upsert
from inventory.models import ProbeState, Proposal, ServedChain, StoredFinding

# Findings that show, or may show, the certificate of another machine.
_NOT_THEIRS = frozenset(
    {"name-mismatch", "default-certificate", "self-signed", "untrusted-root", "not-tls"}
)

_SEEN = (
    update(ProbeState)
    .where(ProbeState.endpoint_id == bindparam("e"))
    .values(
        last_attempt=bindparam("at"),
        last_run_id=bindparam("run"),
        last_good=bindparam("at"),
        failing_since=None,
        failing_runs=0,
        error_layer=None,
        error_reason=None,
    )
)
_FAILED = (
    update(ProbeState)
    .where(ProbeState.endpoint_id == bindparam("e"))
    .values(
        last_attempt=bindparam("at"),
        last_run_id=bindparam("run"),
        failing_runs=ProbeState.failing_runs + bindparam("more"),
    )
)
_SPAN = (
    update(ServedChain)
    .where(
        ServedChain.endpoint_id == bindparam("e"),
        ServedChain.open == 1,
        ServedChain.live == 1,
    )
    .values(last_seen=bindparam("at"))
)


def seen_again(tx: Tx, run_id: int, rows: Sequence[tuple[int, int, bool, bool]]) -> None:
    """Record endpoints at which nothing changed, and extend their live spans.

    Args:
        tx: The transaction.
        run_id: The run.
        rows: (endpoint id, time, good, undetermined) of each.
    """
    good = [{"e": e, "at": at, "run": run_id} for e, at, is_good, _ in rows if is_good]
    failed = [
        {"e": e, "at": at, "run": run_id, "more": int(unknown)}
        for e, at, is_good, unknown in rows
        if not is_good
    ]
    if good:
        tx.conn.execute(_SEEN, good)
        # A failed probe extends no span: it did not see what is served.
        tx.conn.execute(_SPAN, [{"e": r["e"], "at": r["at"]} for r in good])
    if failed:
        tx.conn.execute(_FAILED, failed)


_STANDING_COLUMNS = (
    "last_run_id",
    "last_attempt",
    "error_layer",
    "error_reason",
    "failing_since",
    "failing_runs",
    "last_good",
    "leaf",
    "not_after",
    "issuer",
)


def write_endpoint_status(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the state of endpoints.

    Args:
        tx: The transaction.
        rows: endpoint_id, the columns of the state, and the cache keys. These are empty if changes
            wait for the end of the run, since what the next probe is compared with must not be
            stored without its findings.
    """
    # A failed probe has no last_good, leaf, not_after and issuer, so that it never replaces the
    # last good result.
    for good in (True, False):
        part = [r for r in rows if (r["last_good"] is not None) is good]
        if not part:
            continue
        statement = upsert(tx.conn, ProbeState)
        columns = [
            c
            for c in _STANDING_COLUMNS
            if good or c not in ("last_good", "leaf", "not_after", "issuer")
        ]
        changes: dict[str, Any] = {
            c: statement.excluded[c] for c in (*columns, "fingerprint", "memo", "recheck_at")
        }
        # A probe that could not be judged leaves the time of the last judgement.
        changes["judged_at"] = func.coalesce(statement.excluded.judged_at, ProbeState.judged_at)
        if not good:
            # A series of failures keeps the time of its first one.
            unknown = statement.excluded.failing_since.is_not(None)
            changes["failing_since"] = case(
                (
                    unknown,
                    func.coalesce(ProbeState.failing_since, statement.excluded.failing_since),
                ),
                else_=None,
            )
            # Counted in the statement, so that the row need not be read before.
            changes["failing_runs"] = case((unknown, ProbeState.failing_runs + 1), else_=0)
        tx.conn.execute(
            statement.on_conflict_do_update(index_elements=["endpoint_id"], set_=changes),
            list(part),
        )


CacheKeys = tuple[int, str, str, int | None]


def update_cache_keys(tx: Tx, rows: Sequence[CacheKeys]) -> None:
    """Write what the next probe is compared with: (endpoint id, fingerprint, memo, recheck at)."""
    if rows:
        values: dict[str, Any] = {
            "fingerprint": bindparam("f"),
            "memo": bindparam("m"),
            "recheck_at": bindparam("r"),
            "judged_at": tx.at,
        }
        statement = (
            update(ProbeState).where(ProbeState.endpoint_id == bindparam("e")).values(values)
        )
        tx.conn.execute(statement, [{"e": e, "f": f, "m": m, "r": r} for e, f, m, r in rows])


_FACTS = ("chain", "tls_version", "cipher", "group_name", "alpn", "ocsp", "trusted", "public")


def write_observations(tx: Tx, seen: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> None:
    """Record what addresses serve.

    A span continues while its facts are the same, and ends when others are seen at its address. It
    is not live any more if its address was not seen this time.

    Args:
        tx: The transaction.
        seen: Endpoint id -> address -> facts (and ``at``) of a successful probe.
    """
    known: dict[tuple[int, str], Mapping[str, Any]] = {}
    for part in chunks(list(seen)):
        for row in tx.conn.execute(
            select(ServedChain).where(ServedChain.endpoint_id.in_(part), ServedChain.open == 1)
        ).mappings():
            known[(row["endpoint_id"], row["address"])] = dict(row)
    new, longer, ended, hidden = [], [], [], []
    # Sorted, so that two writers do not deadlock on PostgreSQL.
    for endpoint_id, addresses in sorted(seen.items()):
        for address, facts in addresses.items():
            before = known.pop((endpoint_id, address), None)
            if before is not None and all(before[f] == facts[f] for f in _FACTS):
                longer.append({"i": before["id"], "at": facts["at"]})
                continue
            if before is not None:
                ended.append({"i": before["id"]})
            values: dict[str, Any] = {f: facts[f] for f in _FACTS}
            new.append(
                values
                | {
                    "endpoint_id": endpoint_id,
                    "address": address,
                    "first_seen": facts["at"],
                    "last_seen": facts["at"],
                    "open": 1,
                    "live": 1,
                    "leaf": facts["leaf"],
                }
            )
    # What is left in ``known`` was not seen this time. It stays open: silence is not a replacement.
    hidden = [{"i": row["id"]} for row in known.values() if row["live"]]
    by_id = ServedChain.id == bindparam("i")
    if ended:
        tx.conn.execute(update(ServedChain).where(by_id).values(open=0, live=0), ended)
    if hidden:
        tx.conn.execute(update(ServedChain).where(by_id).values(live=0), hidden)
    if longer:
        tx.conn.execute(
            update(ServedChain).where(by_id).values(last_seen=bindparam("at"), live=1), longer
        )
    if new:
        tx.conn.execute(insert(ServedChain), new)


def propose(tx: Tx, run_id: int, rows: Sequence[tuple[CacheKeys, Mapping[str, Any]]]) -> None:
    """Store what a run proposes to change at its end.

    Args:
        tx: The transaction of the batch.
        run_id: The run.
        rows: Cache keys, and ``{"open": [columns], "update": [[id, columns]], "close": [id], "at":
            time}``.
    """
    if rows:
        values = [
            {
                "run_id": run_id,
                "endpoint_id": marks[0],
                "changes": {**changes, "marks": marks[1:]},
            }
            for marks, changes in rows
        ]
        tx.conn.execute(insert(Proposal), values)


def proposals_of(conn: Connection, run_id: int, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return endpoint id -> what a run proposes for it, of these endpoints."""
    query = select(Proposal.endpoint_id, Proposal.changes)
    return {
        key: changes
        for part in chunks(ids)
        for key, changes in conn.execute(
            query.where(Proposal.run_id == run_id, Proposal.endpoint_id.in_(part))
        )
    }


def replace_proposal(tx: Tx, run_id: int, endpoint_id: int, changes: Mapping[str, Any]) -> None:
    """Replace what a run proposes for an endpoint, or propose it.

    Args:
        tx: The transaction.
        run_id: The run.
        endpoint_id: The endpoint.
        changes: As for :func:`propose`. Without ``marks``, those of the endpoint stay.
    """
    if "marks" not in changes:
        marks = select(ProbeState.fingerprint, ProbeState.memo, ProbeState.recheck_at)
        row = tx.conn.execute(marks.where(ProbeState.endpoint_id == endpoint_id)).one()
        changes = {**changes, "marks": list(row)}
    mine = (Proposal.run_id == run_id, Proposal.endpoint_id == endpoint_id)
    tx.conn.execute(delete(Proposal).where(*mine))
    values = {"run_id": run_id, "endpoint_id": endpoint_id, "changes": changes}
    tx.conn.execute(insert(Proposal).values(values))


@dataclass(slots=True)
class _Changes:
    """What some proposals of a run change, as parameters of the statements below."""

    opens: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    closes: list[dict[str, Any]] = field(default_factory=list)
    cache_keys: list[CacheKeys] = field(default_factory=list)


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
            select(Proposal)
            .where(Proposal.run_id == run_id, Proposal.id > after)
            .order_by(Proposal.id)
            .limit(chunk)
        )
        rows = tx.conn.execute(query).mappings().all()
        if not rows:
            break
        after = rows[-1]["id"]
        changes = _changes_of(rows, run_id)
        _write_changes(tx, run_id, changes)
        opened, closed = opened + len(changes.opens), closed + len(changes.closes)
    tx.conn.execute(delete(Proposal).where(Proposal.run_id == run_id))
    return opened, closed


def _changes_of(rows: Sequence[Mapping[Any, Any]], run_id: int) -> _Changes:
    """Collect the changes of proposals, so that each kind is one statement for many rows."""
    found = _Changes()
    for row in rows:
        changes = row["changes"]
        found.cache_keys.append((row["endpoint_id"], *changes["marks"]))
        # The time of the probe, and not of the end of the run: a run may last hours.
        stamp = {
            "endpoint_id": row["endpoint_id"],
            "opened_at": changes["at"],
            "opened_run": run_id,
        }
        found.opens += [columns | stamp for columns in changes["open"]]
        found.updates += [
            {f"c_{k}": v for k, v in columns.items()} | {"i": i} for i, columns in changes["update"]
        ]
        found.closes += [{"i": i, "at": changes["at"], "run": run_id} for i in changes["close"]]
    return found


def _write_changes(tx: Tx, run_id: int, changes: _Changes) -> None:
    by_id = StoredFinding.id == bindparam("i")
    # Closed before opened: the unique index allows one open finding per endpoint and code, and a
    # finding that changed its nature is closed and opened again.
    if changes.closes:
        tx.conn.execute(
            update(StoredFinding)
            .where(by_id)
            .values(closed_at=bindparam("at"), closed_run=bindparam("run")),
            changes.closes,
        )
    if changes.updates:
        columns = ("severity", "actor", "outcome", "addresses", "evidence")
        tx.conn.execute(
            update(StoredFinding).where(by_id).values({c: bindparam(f"c_{c}") for c in columns}),
            changes.updates,
        )
    if changes.opens:
        # What was opened meanwhile by another job (certmgr/revocation/job.py) is open.
        tx.conn.execute(upsert(tx.conn, StoredFinding).on_conflict_do_nothing(), changes.opens)
    update_cache_keys(tx, changes.cache_keys)
    tx.audit_many(
        "open",
        "finding",
        [
            (None, {"endpoint": o["endpoint_id"], "code": o["code"], "run": run_id})
            for o in changes.opens
        ],
    )
    tx.audit_many("close", "finding", [(c["i"], {"run": run_id}) for c in changes.closes])


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
        select(Proposal)
        .join(ProbeState, ProbeState.endpoint_id == Proposal.endpoint_id)
        .where(Proposal.run_id == run_id, ProbeState.last_good == ProbeState.last_attempt)
        .order_by(Proposal.id)
    ).mappings()
    opens = []
    for row in rows:
        found = row["changes"]["open"]
        # In a suspect run, a login page of a network may answer for every name.
        if any(columns["code"] in _NOT_THEIRS for columns in found):
            continue
        stamp = {
            "endpoint_id": row["endpoint_id"],
            "opened_at": row["changes"]["at"],
            "opened_run": run_id,
        }
        opens += [columns | stamp for columns in found if columns["code"] in codes]
    for part in chunks(opens):
        tx.conn.execute(upsert(tx.conn, StoredFinding).on_conflict_do_nothing(), list(part))
    tx.audit_many(
        "open",
        "finding",
        [(None, {"endpoint": o["endpoint_id"], "code": o["code"], "run": run_id}) for o in opens],
    )
    return len(opens)


def changed_by(conn: Connection, run_id: int) -> tuple[int, int]:
    """Return how many findings a run opened and closed."""
    opened = select(func.count()).where(StoredFinding.opened_run == run_id)
    closed = select(func.count()).where(StoredFinding.closed_run == run_id)
    return conn.scalar(opened) or 0, conn.scalar(closed) or 0
