"""What a run proposes: it takes effect at the end of the run, in one transaction and once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from inventory.db.database import Database
from inventory.models import ProbeState, Proposal, StoredFinding
from inventory.store import findings, proposals, runs
from inventory.store.proposals import ProposedChanges
from inventory.store.scan_results import CacheKeys
from inventory.vocabulary import Finding, Severity
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_finding,
    audited,
    count,
    entry_count,
    rows,
    two_endpoints,
)
from tests.inventory.store.scan_rows import add_status


def change(
    opens: Sequence[str] = (),
    updates: Sequence[tuple[int, Finding]] = (),
    closes: Sequence[int] = (),
) -> ProposedChanges:
    """Return a proposal that opens findings of these codes, changes and closes others."""
    return ProposedChanges(
        at=AT + 7,
        opened=tuple(Finding(code, "high") for code in opens),
        updated=tuple(updates),
        closed=tuple(closes),
    )


def test_proposals_take_effect_in_one_transaction_and_once(pair: Database) -> None:
    one, two = two_endpoints(pair)
    with pair.write(NOW) as tx:
        run_id, other = runs.start(tx, "", 2), runs.start(tx, "", 2)
        for endpoint_id in (one, two):
            add_status(tx, endpoint_id, judged_at=None)
        old, kept = add_finding(tx, one, "old"), add_finding(tx, one, "kept")
        proposals.propose(tx, run_id, [])
        assert proposals.apply_proposals(tx, run_id) == (0, 0)
        changed = Finding("kept", "critical", ("::1",), {"n": 1}, "provider", "we-act")
        keys = [
            CacheKeys(one, "f1", "m1", 9),
            CacheKeys(two, "f2", "m2", None),
            CacheKeys(two, "f3", "", None),
        ]
        first = change(["new"], [(kept, changed)], [old])
        proposals.propose(tx, run_id, [(keys[0], first), (keys[1], change(["a", "b"]))])
        proposals.propose(tx, run_id, [(keys[2], change(["c"]))])
        proposals.propose(tx, other, [(keys[0], change(["other"]))])
    known = entry_count(pair)
    with pytest.raises(ZeroDivisionError), pair.write(LATER) as tx:
        assert proposals.apply_proposals(tx, run_id, chunk=2) == (4, 1)
        raise ZeroDivisionError
    with pair.read() as conn:
        assert {f["closed_at"] for f in rows(conn, StoredFinding)} == {None}
        assert (count(conn, StoredFinding), count(conn, Proposal)) == (2, 4)
    with pair.write(LATER) as tx:
        assert proposals.apply_proposals(tx, run_id, chunk=2) == (4, 1)
        assert proposals.apply_proposals(tx, run_id, chunk=2) == (0, 0)
        found = {f["code"]: f for f in rows(tx.conn, StoredFinding)}
        assert list(tx.conn.scalars(select(Proposal.run_id))) == [other]
        columns = ("fingerprint", "memo", "recheck_at", "judged_at")
        marked = [tuple(r[c] for c in columns) for r in rows(tx.conn, ProbeState)]
        assert (kept, changed) in findings.open_findings(tx.conn, [one])[one]
    assert (found["old"]["closed_at"], found["old"]["closed_run"]) == (AT + 7, run_id)
    assert found["kept"]["closed_at"] is None
    for code, place in (("new", one), ("a", two), ("b", two), ("c", two)):
        row = found[code]
        assert (row["endpoint_id"], row["opened_at"], row["opened_run"]) == (place, AT + 7, run_id)
    assert marked == [("f1", "m1", 9, AT + DAY), ("f3", "", None, AT + DAY)]
    entries = audited(pair, known)
    opened = [d for *entry, d in entries if entry == ["open", "finding", None]]
    assert [(d["endpoint"], d["code"], d["run"]) for d in opened] == [
        (one, "new", run_id),
        (two, "a", run_id),
        (two, "b", run_id),
        (two, "c", run_id),
    ]
    assert [e for e in entries if e[0] == "close"] == [("close", "finding", old, {"run": run_id})]


def test_finding_that_another_job_opened_is_not_opened_twice(pair: Database) -> None:
    one, two = two_endpoints(pair)
    with pair.write(NOW) as tx:
        run_id = runs.start(tx, "", 1)
        open_, _ = add_finding(tx, one, "revoked"), add_finding(tx, one, "old", closed_at=AT)
        proposed = change(["revoked", "old"])
        proposals.propose(
            tx,
            run_id,
            [(CacheKeys(one, "", "", None), proposed), (CacheKeys(two, "", "", None), proposed)],
        )
        proposals.apply_proposals(tx, run_id)
        still = findings.open_findings(tx.conn, [one, two])
    assert [(i == open_, f.code) for i, f in still[one]] == [(True, "revoked"), (False, "old")]
    assert [f.code for _, f in still[two]] == ["revoked", "old"]


def test_proposal_is_read_as_it_was_stored(pair: Database) -> None:
    one, two = two_endpoints(pair)
    found = Finding("expired", Severity.HIGH, ("::1",), {"b": [1], "a": "é"}, "client", "you-act")
    changes = ProposedChanges(at=AT, opened=(found,), updated=((7, found),), closed=(8, 9))
    with pair.write(NOW) as tx:
        run_id, other = runs.start(tx, "", 2), runs.start(tx, "", 2)
        proposals.propose(tx, run_id, [(CacheKeys(one, "f", "m", 9), changes)])
        proposals.propose(tx, other, [(CacheKeys(two, "f", "m", 9), changes)])
        assert proposals.proposals_of(tx.conn, run_id, [one, two]) == {one: changes}


def test_replaced_proposal_keeps_the_cache_keys_of_the_endpoint(pair: Database) -> None:
    one, two = two_endpoints(pair)
    with pair.write(NOW) as tx:
        run_id = runs.start(tx, "", 2)
        add_status(tx, one, fingerprint="old", memo="old")
        add_status(tx, two, fingerprint="f2", memo="m2", recheck_at=5)
        proposals.propose(tx, run_id, [(CacheKeys(one, "f1", "m1", 9), change(["first"]))])
        for endpoint_id in (one, two):
            proposals.replace_proposal(tx, run_id, endpoint_id, change(["second"]))
        assert proposals.apply_proposals(tx, run_id) == (2, 0)
        found = {r["endpoint_id"]: r for r in rows(tx.conn, ProbeState)}
        opened = findings.open_findings(tx.conn, [one, two])
    columns = ("fingerprint", "memo", "recheck_at")
    assert [found[one][c] for c in columns] == ["f1", "m1", 9]
    assert [found[two][c] for c in columns] == ["f2", "m2", 5], "those of the last probe"
    assert [[f.code for _, f in opened[key]] for key in (one, two)] == [["second"], ["second"]]
