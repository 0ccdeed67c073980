"""What a scan run observed: the certificates that addresses serve, and the state of endpoints.

These facts take effect at once. What they mean for findings waits for the end of the run
(:mod:`inventory.store.proposals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, func, insert, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import chunks, upsert_in
from inventory.models import ProbeState, ServedChain

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
        if part:
            tx.conn.execute(_status_statement(tx.conn.dialect.name, good), part)


# Built once: to build it takes longer than to write a batch of rows.
@cache
def _status_statement(dialect: str, good: bool) -> Any:
    """Return the statement that writes the state of endpoints, of good or of failed probes."""
    statement = upsert_in(dialect, ProbeState)
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
    return statement.on_conflict_do_update(index_elements=["endpoint_id"], set_=changes)


class CacheKeys(NamedTuple):
    """What the next probe of an endpoint is compared with.

    Attributes:
        endpoint_id: The endpoint.
        fingerprint: The digest of the last report.
        evidence_key: The digest of the last evidence; empty if the next probe must be judged.
        recheck_at: The time from which the same evidence may give other findings.
    """

    endpoint_id: int
    fingerprint: str
    evidence_key: str
    recheck_at: Timestamp | None


_CACHE_KEYS = (
    update(ProbeState)
    .where(ProbeState.endpoint_id == bindparam("e"))
    .values(
        fingerprint=bindparam("f"),
        memo=bindparam("m"),
        recheck_at=bindparam("r"),
        judged_at=bindparam("at"),
    )
)


def update_cache_keys(tx: Tx, rows: Sequence[CacheKeys]) -> None:
    """Write what the next probe of each endpoint is compared with."""
    if rows:
        tx.conn.execute(
            _CACHE_KEYS,
            [
                {
                    "e": r.endpoint_id,
                    "f": r.fingerprint,
                    "m": r.evidence_key,
                    "r": r.recheck_at,
                    "at": tx.at,
                }
                for r in rows
            ],
        )


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
