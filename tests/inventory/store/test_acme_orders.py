"""ACME orders: one open order per lineage, leases, the ledger of limits, back-offs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError, NoResultFound

from inventory.db.database import Database, Tx
from inventory.errors import Busy
from inventory.models import AcmeBackoff, AcmeEvent, AcmeOrder
from inventory.records import OrderRecord
from inventory.store import acme_orders, runs
from inventory.vocabulary import OrderState, RateEventKind
from tests.inventory.store.builders import (
    AT,
    DAY,
    DIRECTORY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_account,
    add_certificate,
    add_lineage,
    audited,
    count,
    entry_count,
    intend,
    rows,
)

OTHER_DIRECTORY = "https://other.example/directory"


class Setup:
    """Two clients, one account, and a lineage of each client."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.write(NOW) as tx:
            self.account = add_account(tx)
            self.first = add_lineage(tx, "first", ONE, self.account, "shop1001.example")
            self.second = add_lineage(tx, "second", TWO, self.account, "shop1002.example")

    def intend(self, tx: Tx, lineage_id: int | None = None, **given: Any) -> OrderRecord:
        return intend(tx, lineage_id or self.first, self.account, **given)


@pytest.fixture
def setup(pair: Database) -> Setup:
    return Setup(pair)


def held_elsewhere(tx: Tx, row: OrderRecord, lease_until: int | None) -> None:
    """The order as it stands after a process of another machine took it."""
    change = update(AcmeOrder).where(AcmeOrder.id == row.id)
    tx.conn.execute(change.values(holder="machine.elsewhere 0123", lease_until=lease_until))


def test_intended_order_is_held_by_its_process_and_audited(setup: Setup) -> None:
    before = entry_count(setup.database)
    with setup.database.write(NOW) as tx:
        row = setup.intend(tx, exempt=1)
    with setup.database.read() as conn:
        assert acme_orders.by_id(conn, row.id) == row
        assert acme_orders.open_of(conn, setup.first) == row
        assert acme_orders.open_of(conn, setup.second) is None
        with pytest.raises(NoResultFound):
            acme_orders.by_id(conn, row.id + 1)
    assert row.state == "intended"
    assert row.exempt == 1
    assert row.created_at == AT
    assert row.lease_until == AT + acme_orders.LEASE
    assert (row.holder or "").startswith(f"{runs.vantage()} ")
    assert row.ended_at is None
    assert audited(setup.database, before) == [("order", "lineage", setup.first, {})]


def test_second_open_order_of_a_lineage_is_refused_until_the_first_ended(setup: Setup) -> None:
    before = entry_count(setup.database)
    with setup.database.write(NOW) as tx:
        first = setup.intend(tx)
        with pytest.raises(Busy, match="orders this certificate already"):
            setup.intend(tx)
        assert setup.intend(tx, setup.second).key_name != first.key_name
        acme_orders.end(tx, first, OrderState.FAILED)
        assert acme_orders.open_of(tx.conn, setup.first) is None
        again = setup.intend(tx)
        assert acme_orders.open_of(tx.conn, setup.first) == again
    assert again.key_name != first.key_name, "a key is never used by two orders"
    assert [e[:3] for e in audited(setup.database, before)] == [
        ("order", "lineage", setup.first),
        ("order", "lineage", setup.second),
        ("failed", "acme_order", first.id),
        ("order", "lineage", setup.first),
    ]


def test_order_of_an_unknown_lineage_is_not_an_order_of_another_process(setup: Setup) -> None:
    with setup.database.write(NOW) as tx, pytest.raises(IntegrityError):
        setup.intend(tx, setup.second + 1000)


def test_exception_in_the_transaction_leaves_no_order(setup: Setup) -> None:
    before = entry_count(setup.database)
    with pytest.raises(RuntimeError), setup.database.write(NOW) as tx:
        setup.intend(tx)
        raise RuntimeError
    with setup.database.read() as conn:
        assert acme_orders.unfinished(conn) == []
    assert audited(setup.database, before) == []


def test_last_orders_of_a_lineage_are_newest_first(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        assert acme_orders.last_of(tx.conn, setup.first) == []
        made = []
        for _ in range(22):
            row = setup.intend(tx)
            acme_orders.end(tx, row, OrderState.FAILED)
            made.append(row.id)
        setup.intend(tx, setup.second)
    with setup.database.read() as conn:
        found = [r.id for r in acme_orders.last_of(conn, setup.first)]
        assert found == made[:1:-1], "the newest 20"
        assert [r.id for r in acme_orders.last_of(conn, setup.first, 2)] == made[:-3:-1]
        assert len(acme_orders.last_of(conn, setup.second)) == 1


def test_issued_certificate_leads_to_the_newest_order_of_its_lineage(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        sha = add_certificate(tx, "leaf")
        for _ in range(2):
            row = setup.intend(tx)
            acme_orders.end(tx, row, OrderState.DONE, sha256=sha)
        newest = row.id
    with setup.database.read() as conn:
        found = acme_orders.issued_for(conn, setup.first, sha)
        assert found is not None
        assert found.id == newest
        assert found.state == "done"
        assert acme_orders.issued_for(conn, setup.second, sha) is None, "of the other client"
        assert acme_orders.issued_for(conn, setup.first, "0" * 64) is None


def test_unfinished_orders_name_their_lineage_oldest_first(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        assert acme_orders.unfinished(tx.conn) == []
        later = setup.intend(tx, setup.second)
        done = setup.intend(tx)
        acme_orders.end(tx, done, OrderState.ABANDONED)
        last = setup.intend(tx)
    with setup.database.read() as conn:
        found = [(r.id, r.lineage) for r in acme_orders.unfinished(conn)]
    assert found == [(later.id, "second"), (last.id, "first")]


def test_urls_are_those_of_one_account_with_ended_orders(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        other = add_account(tx, "other")
        row = acme_orders.record(tx, setup.intend(tx), url="https://ca.example/order/1")
        acme_orders.end(tx, row, OrderState.FAILED)
        setup.intend(tx)  # without a URL: the CA did not answer
        elsewhere = intend(tx, setup.second, other)
        acme_orders.record(tx, elsewhere, url="https://other.example/order/1")
    with setup.database.read() as conn:
        assert acme_orders.urls(conn, setup.account) == {"https://ca.example/order/1"}
        assert acme_orders.urls(conn, other) == {"https://other.example/order/1"}
        assert acme_orders.urls(conn, other + 1) == set()


def test_step_is_recorded_with_a_longer_lease(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        row = setup.intend(tx)
    with setup.database.write(LATER) as tx:
        stepped = acme_orders.record(tx, row, state=OrderState.ASKED, csr="PEM")
    assert stepped.state == "asked"
    assert stepped.csr == "PEM"
    assert stepped.holder == row.holder
    assert stepped.lease_until == AT + DAY + acme_orders.LEASE


def test_order_that_another_process_took_over_is_not_written(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        row = setup.intend(tx)
        taken = acme_orders.take(tx, row.id)
        assert taken.holder != row.holder, "each holder has a token"
        with pytest.raises(Busy, match="took this order over"):
            acme_orders.record(tx, row, state=OrderState.ASKED)
        before = entry_count(setup.database)
        with pytest.raises(Busy):
            acme_orders.end(tx, row, OrderState.FAILED)
        acme_orders.release(tx, row)  # by its former holder: nothing happens
        assert acme_orders.by_id(tx.conn, row.id) == taken
        acme_orders.release(tx, taken)
        free = acme_orders.by_id(tx.conn, row.id)
    assert (free.holder, free.lease_until, free.state) == (None, None, "intended")
    assert [e[0] for e in audited(setup.database, before)] == ["order"]


def test_ended_order_is_neither_taken_nor_written_nor_ended_again(setup: Setup) -> None:
    before = entry_count(setup.database)
    with setup.database.write(NOW) as tx:
        row = setup.intend(tx)
        acme_orders.end(tx, row, OrderState.FAILED, error="refused")
        for attempt in (
            lambda: acme_orders.take(tx, row.id),
            lambda: acme_orders.record(tx, row, state=OrderState.ASKED),
            lambda: acme_orders.end(tx, row, OrderState.DONE),
        ):
            with pytest.raises(Busy):
                attempt()
        ended = acme_orders.by_id(tx.conn, row.id)
    assert (ended.state, ended.error, ended.ended_at) == ("failed", "refused", AT)
    entry = ("failed", "acme_order", row.id, {"state": "failed"})
    assert audited(setup.database, before)[1:] == [entry]


def test_order_of_another_machine_is_taken_when_its_lease_has_run_out(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        row = setup.intend(tx)
        held_elsewhere(tx, row, AT + DAY + 1)
        with pytest.raises(Busy, match="Another machine"):
            acme_orders.take(tx, row.id)
    with setup.database.write(LATER) as tx:
        with pytest.raises(Busy):
            acme_orders.take(tx, row.id)
        held_elsewhere(tx, row, AT + DAY)
        taken = acme_orders.take(tx, row.id)
        assert (taken.holder or "").startswith(f"{runs.vantage()} ")
        assert taken.lease_until == AT + DAY + acme_orders.LEASE
        held_elsewhere(tx, row, None)
        assert acme_orders.take(tx, row.id).lease_until is not None
        with pytest.raises(Busy):
            acme_orders.take(tx, row.id + 1)


def test_holders_are_never_the_same() -> None:
    assert len({acme_orders.holder() for _ in range(100)}) == 100


def test_ledger_returns_what_counted_after_an_instant_for_some_accounts(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        other = add_account(tx, "other")
        acme_orders.count(tx, setup.account, RateEventKind.ORDER, [])
        assert count(tx.conn, AcmeEvent) == 0
        acme_orders.count(tx, other, RateEventKind.FAILURE, [("shop.example", None)])
    with setup.database.write(LATER) as tx:
        pairs = [("shop.example", None), (None, "digest")]
        acme_orders.count(tx, setup.account, RateEventKind.CERTIFICATE, pairs, exempt=True)
    keys = ("account_id", "at", "kind", "domain", "names", "exempt")
    first = (other, AT, "failure", "shop.example", None, 0)
    second = (setup.account, AT + DAY, "certificate", "shop.example", None, 1)
    third = (setup.account, AT + DAY, "certificate", None, "digest", 1)

    with setup.database.read() as conn:

        def found(accounts: list[int], since: int) -> list[tuple[Any, ...]]:
            return [
                tuple(getattr(r, k) for k in keys)
                for r in acme_orders.events(conn, accounts, since)
            ]

        everything = found([setup.account, other], 0)
        assert everything[0] == first
        assert set(everything[1:]) == {second, third}
        assert found([other], 0) == [first]
        assert set(found([other, setup.account], AT)) == {second, third}, "later than, not at"
        assert found([other], AT) == []
        assert found([], 0) == []
        assert len(found([setup.account, *range(1000, 1600)], 0)) == 2


def test_ledger_forgets_what_is_older_than_an_instant(setup: Setup) -> None:
    with setup.database.write(NOW) as tx:
        acme_orders.count(tx, setup.account, RateEventKind.ORDER, [("old.example", None)])
    with setup.database.write(LATER) as tx:
        acme_orders.count(tx, setup.account, RateEventKind.ORDER, [("new.example", None)])
        acme_orders.forget_events(tx, AT)
        assert count(tx.conn, AcmeEvent) == 2
        acme_orders.forget_events(tx, AT + 1)
        acme_orders.forget_events(tx, AT + 1)
    with setup.database.read() as conn:
        left = acme_orders.events(conn, [setup.account], 0)
    assert [r.domain for r in left] == ["new.example"]


def test_back_off_is_one_row_per_ca_and_scope_with_the_newest_values(database: Database) -> None:
    with database.write(NOW) as tx:
        acme_orders.back_off(tx, DIRECTORY, "", 1, AT + 60, "too many requests")
    with database.write(LATER) as tx:
        acme_orders.back_off(tx, DIRECTORY, "", 2, AT + DAY, "x" * 700)
        acme_orders.back_off(tx, DIRECTORY, "shop.example", 1, AT + 30, "paused")
        acme_orders.back_off(tx, OTHER_DIRECTORY, "", 1, AT + 45, "down")
    with database.read() as conn:
        found = [(r.directory, r.scope, r.until) for r in acme_orders.backoffs(conn)]
        (row,) = [r for r in acme_orders.backoffs(conn, DIRECTORY) if r.scope == ""]
        assert acme_orders.backoffs(conn, "https://unknown.example") == []
        assert [r.scope for r in acme_orders.backoffs(conn, OTHER_DIRECTORY)] == [""]
    assert found == [
        (DIRECTORY, "shop.example", AT + 30),
        (OTHER_DIRECTORY, "", AT + 45),
        (DIRECTORY, "", AT + DAY),
    ]
    assert (row.failures, row.at, row.reason) == (2, AT + DAY, "x" * 600)


def test_success_forgives_the_named_scopes_of_one_ca(database: Database) -> None:
    with database.write(NOW) as tx:
        for directory in (DIRECTORY, OTHER_DIRECTORY):
            for scope in ("", "account:main", "shop.example"):
                acme_orders.back_off(tx, directory, scope, 1, AT + 60, "refused")
        acme_orders.forgive(tx, DIRECTORY, [])
        assert count(tx.conn, AcmeBackoff) == 6
        acme_orders.forgive(tx, DIRECTORY, ["", "shop.example", "never.example"])
        acme_orders.forgive(tx, DIRECTORY, ["", "shop.example"])
    with database.read() as conn:
        left = {(r["directory"], r["scope"]) for r in rows(conn, AcmeBackoff)}
    assert left == {
        (DIRECTORY, "account:main"),
        (OTHER_DIRECTORY, ""),
        (OTHER_DIRECTORY, "account:main"),
        (OTHER_DIRECTORY, "shop.example"),
    }
