"""The audit log is a chain without personal data, with concurrent writers and after a migration."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from inventory.db import audit_chain, maintenance
from inventory.db.database import Database, make_engine
from inventory.db.opening import open_database
from inventory.store import audit_log, clients, contacts


def check_chain(database: Database) -> tuple[int | None, int]:
    """Return the first invalid entry, if any, and the number of entries."""
    with database.read() as conn:
        invalid, _, count = audit_chain.verify_chain(audit_log.entries(conn))
    return invalid, count


def test_each_change_is_linked_without_personal_data(database: Database) -> None:
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "Rosen GmbH", "note": "calls himself Otto"})
        contacts.add(tx, "1", {"name": "Otto"}, ("email:otto@rosen.example",))
    invalid, count = check_chain(database)
    assert invalid is None
    assert count >= 3
    with database.read() as conn:
        entries = json.dumps([r.as_dict() for r in audit_log.last(conn, 100)])
    for personal in ("Rosen", "Otto", "otto@rosen"):
        assert personal not in entries


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET at = at + 1 WHERE id = 2",
        "UPDATE audit SET action = 'x' WHERE id = 2",
        "UPDATE audit SET detail = '{}' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "UPDATE audit SET row_id = 99 WHERE id = 2",
    ],
)
def test_changed_or_deleted_entry_breaks_the_chain(database: Database, change: str) -> None:
    with database.write() as tx:
        for n in range(4):
            clients.add(tx, {"number": str(n), "name": f"Client {n}"})
    with database.write() as tx:
        tx.conn.execute(text(change))
    invalid, _ = check_chain(database)
    assert invalid in (2, 3)


def test_concurrent_writers_write_one_chain(database: Database, url: str) -> None:
    def write(worker: int) -> None:
        opened = open_database(url, actor=f"worker {worker}")
        for n in range(25):
            with opened.write() as tx:
                clients.add(tx, {"number": f"{worker}-{n}", "name": f"Client {worker}-{n}"})
        opened.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert check_chain(database) == (None, 100)


def test_failed_transaction_leaves_no_entry(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as tx:
        clients.add(tx, {"number": "1", "name": "Client"})
        raise RuntimeError
    assert check_chain(database) == (None, 0)


def test_entries_of_an_older_version_lose_personal_data_and_start_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = make_engine(str(path))
    maintenance.migrate(engine, "0003")
    rows = [
        ("add", "client", {"name": [None, "Rosen GmbH"], "renews": [None, "client"]}),
        ("finish", "run", {"state": "complete", "reason": None}),
    ]
    with engine.connect().execution_options(certmgr_write=True) as conn, conn.begin():
        for action, kind, detail in rows:
            conn.execute(
                text(
                    "INSERT INTO audit (at, actor, action, kind, row_id, detail) VALUES (1, 'ada',"
                    " :a, :k, 1, :d)"
                ),
                {"a": action, "k": kind, "d": json.dumps(detail)},
            )
    engine.dispose()
    database = open_database(str(path), actor="tester")
    assert check_chain(database) == (None, 2)
    with database.read() as conn:
        first = next(iter(audit_log.entries(conn)))
    assert json.loads(first.detail) == {"name": [None, "-"], "renews": [None, "client"]}
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "Tulpen"})
    assert check_chain(database) == (None, 3)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**40), st.text(max_size=20), st.text(max_size=20)), max_size=8
    )
)
def test_logs_that_differ_have_different_heads(entries: list[tuple[int, str, str]]) -> None:
    """The text of one field cannot pass as the text of another."""
    head = audit_chain.START
    for at, actor, action in entries:
        head = audit_chain.link(head, at, actor, action, "client", None, "{}")
        assert head != audit_chain.link(
            audit_chain.START, at, actor + action, "", "client", None, "{}"
        ) or (
            not action
            and head == audit_chain.link(audit_chain.START, at, actor, "", "client", None, "{}")
        )
    assert len(head) == 64
