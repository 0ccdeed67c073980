"""Deliveries of certificates: what waits for its use, what is superseded, what is due."""

from __future__ import annotations

from typing import Any

import pytest

from inventory.db.database import Database
from inventory.models import Deployment
from inventory.store import deployments, lineages
from tests.inventory.store.builders import AT, DAY, LATER, NOW, insert_row, rows
from tests.inventory.store.lineage_rows import add, found_names
from tests.inventory.store.scan_rows import add_leaf


def test_lineage_waits_until_its_certificate_is_in_use_and_verified(acme: Database) -> None:
    with acme.write(NOW) as tx:
        new, old = add_leaf(tx, "new"), add_leaf(tx, "old")
        done: dict[str, Any] = {"sha256": new, "deployed": new, "proven_at": AT}
        add(tx, "done", **done)
        add(tx, "none")
        add(tx, "retired", sha256=new, state="retired")
        add(tx, "rolled back", sha256=new, deployed=old, rolled_back=new)
        add(tx, "no verification", sha256=new, deployed=new)
        expected = ["fresh", "other", "unproved", "due"]
        add(tx, "fresh", sha256=new)
        add(tx, "other", sha256=new, deployed=old, rolled_back=old)
        add(tx, "unproved", sha256=new, deployed=new, proof="still the old one")
        for name, next_at, sha256, state in (
            ("due", AT, new, "pending"),
            ("later", AT + 1, new, "pending"),
            ("superseded", AT, old, "pending"),
            ("brought", AT, new, "done"),
        ):
            row_id = add(tx, name, **done)
            common = {"lineage_id": row_id, "target": "web1", "created_at": AT}
            insert_row(tx, Deployment, sha256=sha256, state=state, next_at=next_at, **common)
        assert found_names(lineages.undeployed(tx.conn, AT)) == expected
        assert found_names(lineages.undeployed(tx.conn, AT + 1)) == [*expected, "later"]


def states(database: Database) -> dict[tuple[int, str, str], str]:
    with database.read() as conn:
        found = rows(conn, Deployment)
    return {(r["lineage_id"], r["sha256"], r["target"]): r["state"] for r in found}


def test_new_certificate_supersedes_the_deliveries_of_the_one_before(acme: Database) -> None:
    with acme.write(NOW) as tx:
        one, two = add(tx, "a"), add(tx, "b", client="1002")
        deployments.schedule(tx, one, "old", [])
        deployments.schedule(tx, one, "old", iter(["web1", "web2", "web1"]))
        deployments.schedule(tx, one, "old", ["web1", "web2"])
        deployments.schedule(tx, two, "old", ["web2"])
        deployments.schedule(tx, two, "new", ["web1"])
        first, second = deployments.listing(tx.conn, lineage_id=one)
        deployments.succeeded(tx, first.id)
        deployments.failed(tx, second.id, "refused", AT + 3600)
        deployments.schedule(tx, one, "old", ["web1", "web2"])
        (waits,) = deployments.listing(tx.conn, lineage_id=one)
        assert waits.next_at == AT + 3600, "the same certificate again is not tried earlier"
    with acme.write(LATER) as tx:
        deployments.schedule(tx, one, "new", ["web1"])
    assert states(acme) == {
        (one, "old", "web1"): "done",
        (one, "old", "web2"): "superseded",
        (one, "new", "web1"): "pending",
        (two, "old", "web2"): "superseded",
        (two, "new", "web1"): "pending",
    }
    with acme.write(LATER) as tx:
        deployments.schedule(tx, one, "old", iter(["web1", "web2", "web3"]))
        again = {r.target: r.next_at for r in deployments.listing(tx.conn, lineage_id=one)}
    assert again == {"web2": AT + DAY, "web3": AT + DAY}, "what is done stays done"
    assert states(acme)[one, "new", "web1"] == "superseded"
    assert states(acme)[two, "old", "web2"] == "superseded", "that is another lineage's"
    with acme.write(LATER) as tx:
        deployments.succeeded(tx, second.id)
        deployments.schedule_again(tx, one, "old", [])
        done = {r.target: r.state for r in deployments.listing(tx.conn, states=("done",))}
        assert done == {"web1": "done", "web2": "done"}
        deployments.schedule_again(tx, one, "old", iter(["web1", "web9"]))
    assert states(acme)[one, "old", "web1"] == "pending"
    assert states(acme)[one, "old", "web2"] == "done"
    assert len(states(acme)) == 6
    with pytest.raises(ZeroDivisionError), acme.write(LATER) as tx:
        deployments.schedule(tx, one, "newest", ["web1"])
        raise ZeroDivisionError
    assert len(states(acme)) == 6
    assert states(acme)[one, "old", "web1"] == "pending"


def test_deliveries_are_due_by_their_time_and_failures_are_kept(acme: Database) -> None:
    with acme.write(NOW) as tx:
        one, two = add(tx, "a"), add(tx, "b", client="1002")
        deployments.schedule(tx, one, "x", ["web1", "web2"])
        deployments.schedule(tx, two, "x", ["web1"])
        first, second, third = (r.id for r in deployments.listing(tx.conn))
        assert deployments.failing(tx.conn) == []
        for _ in range(2):
            deployments.failed(tx, first, "e" * 1001, AT + DAY)
        deployments.failed(tx, third, "refused", AT + 60)
        conn = tx.conn
        assert [r.id for r in deployments.listing(conn, due=AT)] == [second]
        assert [r.id for r in deployments.listing(conn, due=AT + 60)] == [second, third]
        assert [r.id for r in deployments.listing(conn, lineage_id=two, due=AT + DAY)] == [third]
        assert deployments.listing(conn, states=("done", "superseded")) == []
        failing = deployments.failing(conn)
        assert [(r.name, r.client, r.target, r.attempts) for r in failing] == [
            ("a", "1001", "web1", 2),
            ("b", "1002", "web1", 1),
        ]
        assert failing[0].error == "e" * 1000
    with acme.write(LATER) as tx:
        deployments.succeeded(tx, first)
        lineages.edit(tx, two, state="retired")
        assert deployments.failing(tx.conn) == []
        (row,) = deployments.listing(tx.conn, states=("done",))
    ended = (row.state, row.done_at, row.error, row.attempts)
    assert ended == ("done", AT + DAY, None, 3)
