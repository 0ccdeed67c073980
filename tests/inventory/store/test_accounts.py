"""ACME accounts: names are unique, and a fallback stands in only while it is active."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import NoResultFound

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound
from inventory.store import accounts, acme_orders
from inventory.vocabulary import OrderState
from tests.inventory.store.builders import (
    AT,
    DIRECTORY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_account,
    add_lineage,
    audited,
    entry_count,
    intend,
)

VALUES = {"name": "main", "ca": "ca", "directory": DIRECTORY, "key_reference": "machine:/keys/main"}


def test_added_account_is_pending_and_found_by_name_and_id(database: Database) -> None:
    with database.write(NOW) as tx:
        row_id = accounts.add(tx, VALUES | {"contacts": "acme@provider.example"})
    with database.read() as conn:
        row = accounts.find(conn, " main ")
        assert row == accounts.by_id(conn, row_id)
        with pytest.raises(NotFound, match="no ACME account 'other'"):
            accounts.find(conn, "other")
        with pytest.raises(NotFound):
            accounts.find(conn, "")
        with pytest.raises(NoResultFound):
            accounts.by_id(conn, row_id + 1)
    assert row.id == row_id
    assert row.state == "pending"
    assert row.created_at == AT
    assert row.contacts == ("acme@provider.example",)
    assert audited(database) == [("add", "acme_account", row_id, {})]


def test_second_account_of_the_same_name_is_refused_also_when_retired(database: Database) -> None:
    with database.write(NOW) as tx:
        row_id = accounts.add(tx, VALUES)
        with pytest.raises(Conflict, match="'main' already"):
            accounts.add(tx, VALUES)
        accounts.edit(tx, row_id, state="retired")
        with pytest.raises(Conflict):
            accounts.add(tx, VALUES)
        accounts.add(tx, VALUES | {"name": "second"})
    with database.read() as conn:
        assert [r.name for r in accounts.listing(conn, retired=True)] == ["main", "second"]


def test_edit_writes_and_audits_only_what_differs(database: Database) -> None:
    with database.write(NOW) as tx:
        first, second = add_account(tx, "first"), add_account(tx, "second")
    before = entry_count(database)
    with database.write(LATER) as tx:
        accounts.edit(tx, first, url="https://ca.example/acct/1", fallback_id=second)
        accounts.edit(tx, first, url="https://ca.example/acct/1", fallback_id=second)
        accounts.edit(tx, first)
    with database.read() as conn:
        row = accounts.by_id(conn, first)
        assert row.url == "https://ca.example/acct/1"
        assert row.fallback_id == second
        assert accounts.by_id(conn, second).url is None, "the other account is untouched"
    changes = {"fallback_id": [None, second], "url": [None, "-"]}  # ids as they are, texts hidden
    assert audited(database, before) == [("edit", "acme_account", first, changes)]


def test_rename_to_a_name_in_use_is_refused_and_leaves_the_transaction_usable(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        first, second = add_account(tx, "first"), add_account(tx, "second")
        with pytest.raises(Conflict):
            accounts.edit(tx, second, name="first")
        accounts.edit(tx, second, name="third")
    with database.read() as conn:
        assert accounts.find(conn, "first").id == first
        assert accounts.find(conn, "third").id == second
        with pytest.raises(NotFound):
            accounts.find(conn, "second")


def test_exception_in_the_transaction_leaves_neither_account_nor_audit_entry(
    database: Database,
) -> None:
    with pytest.raises(RuntimeError), database.write(NOW) as tx:
        accounts.add(tx, VALUES)
        raise RuntimeError
    with database.read() as conn:
        assert accounts.listing(conn, retired=True) == []
    assert audited(database) == []


def test_fallback_stands_in_only_while_it_is_active(database: Database) -> None:
    with database.write(NOW) as tx:
        first = add_account(tx, "first")
        second = accounts.add(tx, VALUES | {"name": "second"})
        assert accounts.fallback(tx.conn, accounts.by_id(tx.conn, first)) is None
        accounts.edit(tx, first, fallback_id=second)
        row = accounts.by_id(tx.conn, first)
        assert accounts.fallback(tx.conn, row) is None, "it is pending"
        accounts.edit(tx, second, state="active")
        found = accounts.fallback(tx.conn, row)
        assert found is not None
        assert found.name == "second"
        for state in ("lost", "retired"):
            accounts.edit(tx, second, state=state)
            assert accounts.fallback(tx.conn, row) is None, state


def test_listing_is_sorted_and_counts_the_lineages_that_are_not_retired(pair: Database) -> None:
    with pair.write(NOW) as tx:
        assert accounts.listing(tx.conn) == []
        busy, idle, gone = (add_account(tx, name) for name in ("b-busy", "a-idle", "c-gone"))
        add_lineage(tx, "one", ONE, busy, "shop1001.example")
        add_lineage(tx, "two", TWO, busy, "shop1002.example", state="paused")
        add_lineage(tx, "old", TWO, busy, "shop1002.example", state="retired")
        add_lineage(tx, "older", ONE, gone, "shop1001.example")
        accounts.edit(tx, gone, state="retired")
    with pair.read() as conn:
        listed = [(r.id, r.lineages) for r in accounts.listing(conn)]
        everything = [(r.name, r.lineages) for r in accounts.listing(conn, retired=True)]
    assert listed == [(idle, 0), (busy, 2)]
    assert everything == [("a-idle", 0), ("b-busy", 2), ("c-gone", 1)]


def test_open_orders_are_counted_per_account(pair: Database) -> None:
    with pair.write(NOW) as tx:
        first, second = add_account(tx, "first"), add_account(tx, "second")
        one = add_lineage(tx, "one", ONE, first, "shop1001.example")
        two = add_lineage(tx, "two", TWO, first, "shop1002.example")
        assert accounts.open_orders(tx.conn, first) == 0
        ended = intend(tx, one, first)
        intend(tx, two, first)
        assert accounts.open_orders(tx.conn, first) == 2
        acme_orders.end(tx, ended, OrderState.FAILED)
        assert accounts.open_orders(tx.conn, first) == 1
        assert accounts.open_orders(tx.conn, second) == 0
