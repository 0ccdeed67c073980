"""The audit log: its head, its entries in both directions, and its search by hash."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inventory.db import audit_chain
from inventory.db.database import Database
from inventory.store import audit_log, clients
from tests.inventory.store.builders import AT, LATER, NOW


@pytest.fixture
def log(database: Database) -> Database:
    """Five entries of two kinds and two times."""
    with database.write(NOW) as tx:
        clients.add(tx, {"number": "1001", "name": "Rose"})
        tx.audit("start", "run", 1, {"scope": "tag gold"})
    with database.write(LATER) as tx:
        clients.edit(tx, "1001", {"name": "Rose and Sons"})
        tx.audit_many("open", "finding", [(None, {"code": "a"}), (None, {"code": "b"})])
    return database


def test_head_of_an_empty_log_is_the_start_of_the_chain(database: Database) -> None:
    with database.read() as conn:
        assert audit_log.head(conn) == (audit_chain.START, 0)
        assert list(audit_log.entries(conn)) == []
        assert audit_log.last(conn, 10) == []
        assert audit_log.has(conn, audit_chain.START) is None


def test_head_is_the_hash_of_the_last_entry(log: Database) -> None:
    with log.read() as conn:
        rows = list(audit_log.entries(conn))
        assert audit_log.head(conn) == (rows[-1].hash, 5)
    assert audit_chain.verify_chain(rows) == (None, rows[-1].hash, 5)
    assert [(r.action, r.kind, r.actor) for r in rows] == [
        ("add", "client", "tester"),
        ("start", "run", "tester"),
        ("edit", "client", "tester"),
        ("open", "finding", "tester"),
        ("open", "finding", "tester"),
    ]
    assert [r.at for r in rows] == [AT, AT, AT + 86_400, AT + 86_400, AT + 86_400]
    assert "Rose" not in "".join(r.detail for r in rows), "personal data stays out"


def test_entries_are_read_in_parts_after_an_id(log: Database) -> None:
    with log.read() as conn:
        everything = list(audit_log.entries(conn))
        reading = audit_log.entries(conn, limit=2)
        assert isinstance(reading, Iterator)
        part = list(reading)
        assert part == everything[:2]
        assert list(audit_log.entries(conn, after=part[-1].id, limit=2)) == everything[2:4]
        assert list(audit_log.entries(conn, after=everything[3].id)) == everything[4:]
        assert list(audit_log.entries(conn, after=everything[-1].id)) == []
        assert list(audit_log.entries(conn, limit=0)) == []


def test_last_is_newest_first_and_filtered_by_kind(log: Database) -> None:
    with log.read() as conn:
        everything = list(audit_log.entries(conn))
        assert audit_log.last(conn, 100) == everything[::-1]
        assert audit_log.last(conn, 2) == everything[:2:-1]
        assert [r.action for r in audit_log.last(conn, 100, "client")] == ["edit", "add"]
        assert [r.action for r in audit_log.last(conn, 1, "client")] == ["edit"]
        assert audit_log.last(conn, 100, "domain") == []


def test_has_finds_an_entry_by_its_whole_hash(log: Database) -> None:
    with log.read() as conn:
        for row in audit_log.entries(conn):
            assert audit_log.has(conn, row.hash) == row.id
        digest, _ = audit_log.head(conn)
        assert audit_log.has(conn, digest[:-1]) is None
        assert audit_log.has(conn, "") is None


def test_exception_in_the_transaction_leaves_the_head_where_it_was(log: Database) -> None:
    with log.read() as conn:
        before = audit_log.head(conn)
    with pytest.raises(RuntimeError), log.write(LATER) as tx:
        tx.audit("start", "run", 2)
        tx.write_audit()
        assert audit_log.head(tx.conn)[1] == 6
        raise RuntimeError
    with log.read() as conn:
        assert audit_log.head(conn) == before
