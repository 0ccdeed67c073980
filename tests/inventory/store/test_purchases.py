"""Orders in the store: values, names, owners, and what is listed for whom.

What a whole order goes through is in tests/certmgr/purchases/test_purchases_store.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from inventory.db.database import Database, to_epoch
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import Case, Issuance, PurchaseName, StoredPurchase
from inventory.store import (
    clients,
    contacts,
    issuances,
    purchase_changes,
    purchase_values,
    purchases,
)
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    audited,
    count,
    entry_count,
    insert_row,
    open_case,
    rows,
)
from tests.inventory.store.casework import add_purchase, client_ids
from tests.inventory.store.chunked import across_chunks, unknown_id
from tests.inventory.store.scan_rows import add_leaf


def test_order_without_details_has_those_of_a_plain_product(pair: Database) -> None:
    known = entry_count(pair)
    kinds = [
        (("shop1001.example", "www.shop1001.example"), "single"),
        (("shop1001.example", "a.shop1001.example"), "multi"),
        (("*.shop1001.example",), "wildcard"),
    ]
    for names, kind in kinds:
        row_id = add_purchase(pair, *names)
        with pair.read() as conn:
            row = purchases.find(conn, f"#{row_id}")
        assert row.kind == kind
        assert (row.validation, row.years, row.bought_by, row.auto_renew) == (
            "dv",
            1,
            "client",
            0,
        )
        assert (row.starts_at, row.ends_at) == (AT, AT + 365 * DAY - 1)
        assert (row.state, row.number, row.documents, row.client) == (
            "active",
            None,
            (),
            "1001",
        )
    entries = audited(pair, known)
    assert [e[:2] for e in entries] == [("add", "order")] * 3
    assert entries[0][3]["vendor"] == [None, "-"]
    with pair.write(NOW) as tx:
        _, strange = purchase_changes.add(
            tx,
            "1001",
            {"vendor": "X"},
            ["shop1001.example", "strange.example"],
        )
        assert strange == ["strange.example"]


def test_dates_and_terms_are_accepted_up_to_their_limits(pair: Database) -> None:
    first = datetime(2000, 1, 1, tzinfo=UTC)
    last = datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)
    for given in (
        {"starts_at": first},
        {"starts_at": last - timedelta(days=1), "ends_at": last},
        {"ends_at": NOW + timedelta(days=6 * 366)},
        {"ends_at": NOW + timedelta(seconds=1)},
        {"dcv_at": NOW + timedelta(days=2)},
        {"years": 5, "documents": ["/a"] * 50},
    ):
        row_id = add_purchase(pair, **given)
        with pair.read() as conn:
            row = purchases.find(conn, f"#{row_id}")
        for key, value in given.items():
            stored = tuple(value) if isinstance(value, list) else value
            assert getattr(row, key) == (to_epoch(value) if isinstance(value, datetime) else stored)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"vendor": None}, "vendor is empty"),
    ({"validation": "xv"}, "'xv' is not a kind of validation"),
    ({"kind": "double"}, "not a kind of certificate"),
    ({"bought_by": "nobody"}, "not a buyer"),
    ({"years": 0}, "A term of 0 years"),
    ({"starts_at": datetime(1999, 12, 31, tzinfo=UTC)}, "The date 1999-12-31 is out of range"),
    ({"ends_at": datetime(2100, 1, 1, tzinfo=UTC)}, "The date 2100-01-01 is out of range"),
    ({"ends_at": NOW + timedelta(days=6 * 366, seconds=1)}, "more than six years"),
    ({"ends_at": NOW}, "ends before it starts"),
    ({"dcv_at": NOW + timedelta(days=2, seconds=1)}, "A validation lies in the future"),
    ({"organisation_at": NOW + timedelta(days=3)}, "A validation lies in the future"),
    ({"fee": "5", "currency": None}, "needs a currency"),
    ({"documents": [" "]}, "document is empty"),
    ({"documents": ["/a"] * 51}, "There are 51 documents"),
    ({"note": "a\x07b"}, "control characters"),
    ({"contact": "Owner 1002"}, "no contact"),
    ({"names": ("*.shop1001.example",), "kind": "single"}, "covers 1 names"),
]


def test_order_with_a_wrong_value_leaves_nothing(pair: Database) -> None:
    known = entry_count(pair)
    for given, message in WRONG:
        values = dict(given)
        names = values.pop("names", ())
        with pytest.raises(UsageError, match=message):
            add_purchase(pair, *names, **values)
    with pytest.raises(UsageError, match="A purchase needs a vendor"), pair.write(NOW) as tx:
        purchase_changes.add(tx, "1001", {}, ["shop1001.example"])
    with pytest.raises(NotFound, match="no client '9'"), pair.write(NOW) as tx:
        purchase_changes.add(tx, "9", {"vendor": "X"}, ["shop1001.example"])
    with pair.read() as conn:
        assert (count(conn, StoredPurchase), count(conn, PurchaseName)) == (0, 0)
    assert audited(pair, known) == []


def test_retired_client_buys_nothing(pair: Database) -> None:
    with pair.write(NOW) as tx:
        clients.retire(tx, "1002")
    with pytest.raises(UsageError, match="The client 1002 is retired"):
        add_purchase(pair, client="1002")


def test_order_is_found_by_number_before_id_and_only_for_its_client(pair: Database) -> None:
    one, two = client_ids(pair)
    first = add_purchase(pair, number="D-1")
    second = add_purchase(pair, client="1002", number="#D-2")
    third = add_purchase(pair, number=str(first))
    same = add_purchase(pair, number="D-9"), add_purchase(pair, client="1002", number="D-9")
    with pair.read() as conn:
        assert [purchases.find(conn, "D-9", i).id for i in (one, two)] == list(same)
        with pytest.raises(UsageError, match="2 purchases have the number 'D-9'"):
            purchases.find(conn, "D-9")
        assert purchases.find(conn, " D-1 ").id == first
        assert purchases.find(conn, "#D-2").id == second
        assert purchases.find(conn, str(first)).id == third, "a number comes before an id"
        assert purchases.find(conn, f"#{first}").id == first
        assert purchases.find(conn, purchases.reference(first)).id == first, "never the number"
        assert purchases.find(conn, str(second), two).id == second
        assert purchases.find(conn, "D-1", one).client == "1001"
        wrong = [
            ("D-1", two),
            (f"#{second}", one),
            ("9" * 19, None),
            ("\u0661", None),
            ("#", None),
            ("id:", None),
            ("id:\u0661", None),
            ("", None),
        ]
        for key, client_id in wrong:
            with pytest.raises(NotFound, match="There is no purchase"):
                purchases.find(conn, key, client_id)


def test_edit_replaces_names_and_audits_how_many_there_were(pair: Database) -> None:
    row_id = add_purchase(pair, number="D-1", price="10", documents=["/a"])
    other = add_purchase(pair, number="D-2")
    with pair.write(NOW) as tx:
        contacts.add(tx, "1001", {"name": "Eve"})
    known = entry_count(pair)
    with pair.write(LATER) as tx:
        changes = purchase_changes.edit(
            tx,
            "D-1",
            {"price": "11", "kind": "multi", "contact": "Eve", "documents": []},
        )
        assert set(changes) == {"price", "kind", "contact_id", "documents"}
        names = ("a.shop1001.example", "shop1001.example")
        assert purchase_changes.edit(tx, "D-1", {}, names) == {
            "names": [["shop1001.example"], list(names)]
        }
        assert purchase_changes.edit(tx, "D-1", {"number": "D-1"}, names[::-1]) == {}
        for given, more, error, message in (
            ({"number": "D-2"}, None, Conflict, f"it is id:{other}"),
            ({}, (), UsageError, "at least one name"),
            ({}, ("shop1002.example",), Conflict, "belongs to the client 1002"),
            ({"kind": "single"}, None, UsageError, "covers 2 names"),
            ({"currency": None}, None, UsageError, "needs a currency"),
        ):
            with pytest.raises(error, match=message):
                purchase_changes.edit(tx, "D-1", given, more)
        with pytest.raises(NotFound):
            purchase_changes.edit(tx, "D-9", {})
        row = purchases.find(tx.conn, "D-1")
    assert (row.price, row.kind, row.documents) == ("11", "multi", ())
    entries = audited(pair, known)
    assert [e[:3] for e in entries] == [("edit", "order", row_id)] * 2
    assert entries[0][3]["price"] == ["-", "-"]
    assert entries[1][3] == {"names": [1, 2]}


def test_renewal_takes_its_open_case_along_and_leaves_other_cases(pair: Database) -> None:
    one, _ = client_ids(pair)
    row_id = add_purchase(pair, number="D-1", documents=["/a"], dcv_at=NOW, note="x")
    with pair.write(NOW) as tx:
        leaf = add_leaf(tx, "leaf")
        opened = {
            kind: open_case(
                tx,
                one,
                "shop1001.example",
                order_id=row_id,
                kind=kind,
                closed_at=closed,
            ).id
            for kind, closed in (("renewal", None), ("reissue", None), ("incident", AT))
        }
        before = open_case(
            tx,
            one,
            "shop1001.example",
            order_id=row_id,
            kind="renewal",
            closed_at=AT,
        ).id
        for case_id in (*opened.values(), before):
            insert_row(tx, Issuance, order_id=row_id, case_id=case_id, sha256=leaf, created_at=AT)
    known = entry_count(pair)
    with pytest.raises(Conflict, match="D-1 is a purchase already"), pair.write(LATER) as tx:
        purchase_changes.renew(tx, "D-1", {"number": "D-1"})
    with pair.write(LATER) as tx:
        start = datetime(2027, 4, 1, tzinfo=UTC)
        new = purchase_changes.renew(tx, "D-1", {"starts_at": start, "years": 2})
        row = purchases.find(tx.conn, f"#{new}")
        moved = {r["id"]: r["order_id"] for r in rows(tx.conn, Case)}
        issued = {r["case_id"]: r["order_id"] for r in rows(tx.conn, Issuance)}
    assert (row.number, row.documents, row.note, row.dcv_at) == (None, (), "x", AT)
    assert row.starts_at == to_epoch(start)
    assert row.ends_at == to_epoch(purchase_values.years_later(start, 2))
    assert moved == issued
    assert {i for i, o in moved.items() if o == new} == {opened["renewal"]}
    assert [e[:3] for e in audited(pair, known)] == [
        ("add", "order", new),
        ("renew", "order", row_id),
    ]
    assert audited(pair, known)[1][3] == {"successor": new}
    with pair.write(LATER) as tx:
        purchase_changes.renew(tx, f"#{new}", {"ends_at": datetime(2031, 1, 1, tzinfo=UTC)})


def test_cancelled_renewal_lets_the_order_before_it_be_renewed_again(pair: Database) -> None:
    row_id = add_purchase(pair, number="D-1")
    with pair.write(NOW) as tx:
        purchase_changes.renew(tx, "D-1", {"number": "D-2"})
    known = entry_count(pair)
    with pair.write(LATER) as tx:
        with pytest.raises(UsageError, match="reason is empty"):
            purchase_changes.cancel(tx, "D-2", "  ")
        gone = purchase_changes.cancel(tx, "D-2", "too dear")
        assert gone.state == "active", "as it was before"
        row = purchases.find(tx.conn, "D-2")
        assert (row.state, row.reason, row.retired_at) == (
            "cancelled",
            "too dear",
            AT + DAY,
        )
        with pytest.raises(Conflict, match="The purchase D-2 was cancelled"):
            purchase_changes.renew(tx, "D-2", {})
        assert purchases.find(tx.conn, "D-1").successor_id is None
        again = purchase_changes.renew(tx, "D-1", {"number": "D-3"})
        assert purchases.find(tx.conn, "D-1").successor_id == again
    first, *_, last = audited(pair, known)
    assert first[:3] == ("edit", "order", gone.id)
    assert first[3]["state"] == ["active", "cancelled"]
    assert last[:3] == ("renew", "order", row_id)


def test_listing_is_of_one_client_and_leaves_out_what_ended(pair: Database) -> None:
    one, two = client_ids(pair)
    late = add_purchase(pair, "b.shop1001.example", "a.shop1001.example", years=2)
    soon = add_purchase(pair, number="D-2")
    theirs = add_purchase(pair, client="1002")
    with pair.write(NOW) as tx:
        purchase_changes.cancel(tx, "D-2", "moved")
        conn = tx.conn
        assert [r.id for r in purchases.listing(conn)] == [soon, theirs, late]
        mine = purchases.listing(conn, client_id=one)
        assert [(r.id, r.client, r.client_name) for r in mine] == [
            (soon, "1001", "Client 1001"),
            (late, "1001", "Client 1001"),
        ]
        assert mine[1].names == ("a.shop1001.example", "b.shop1001.example")
        assert [r.id for r in purchases.listing(conn, ended=False)] == [theirs, late]
        assert [r.id for r in purchases.listing(conn, ids=[theirs, late], client_id=one)] == [late]
        assert purchases.listing(conn, ids=[]) == []
        clients.retire(tx, "1002")
        assert [r.id for r in purchases.listing(conn, ended=False)] == [late]
        assert [r.id for r in purchases.listing(conn, client_id=two)] == [theirs]
        assert purchases.listing(conn, client_id=two, ended=False) == []


def test_certificate_of_a_case_counts_while_it_may_still_be_installed(pair: Database) -> None:
    one, _ = client_ids(pair)
    row_id = add_purchase(pair)
    other = add_purchase(pair, client="1002")
    with pair.write(NOW) as tx:
        names = ("by hand", "open", "closed", "closed and live", "undated", "theirs")
        leaves = {n: add_leaf(tx, n, not_after=None if n == "undated" else AT + DAY) for n in names}
        for name in ("by hand", "undated"):
            issuances.attach(tx, row_id, leaves[name])
        issuances.attach(tx, other, leaves["theirs"])
        for name, closed, live in (
            ("open", None, None),
            ("closed", AT, None),
            ("closed and live", AT, AT + 1),
        ):
            case_id = open_case(tx, one, "shop1001.example", closed_at=closed).id
            common = {"sha256": leaves[name], "created_at": AT, "live_at": live}
            insert_row(tx, Issuance, order_id=row_id, case_id=case_id, **common)
        found = {r.id: r.issued for r in purchases.listing(tx.conn)}
        (mine,) = purchases.listing(tx.conn, client_id=one)
    assert {i.sha256: i.live_at for i in mine.issued} == {
        leaves["by hand"]: None,
        leaves["open"]: None,
        leaves["closed and live"]: AT + 1,
    }
    assert found[row_id] == mine.issued
    assert [i.sha256 for i in found[other]] == [leaves["theirs"]]


def test_several_hundred_orders_are_listed_with_their_names(pair: Database) -> None:
    one, _ = client_ids(pair)
    first, theirs = add_purchase(pair), add_purchase(pair, client="1002")
    with pair.write(NOW) as tx:
        row = {k: v for k, v in rows(tx.conn, StoredPurchase)[0].items() if k != "id"}
        tx.conn.execute(insert(StoredPurchase), [row | {"number": f"N{i}"} for i in range(1000)])
        ids = list(
            tx.conn.scalars(select(StoredPurchase.id).where(StoredPurchase.client_id == one))
        )
        made = [{"order_id": i, "name": f"{i}.example"} for i in ids if i != first]
        tx.conn.execute(insert(PurchaseName), made)
        expected = {i: [f"{i}.example"] for i in ids} | {first: ["shop1001.example"]}
        for found in (
            purchases.listing(tx.conn, client_id=one),
            purchases.listing(tx.conn, ids=ids),
        ):
            assert {r.id: list(r.names) for r in found} == expected
            assert len(found) == 1001
        few = purchases.listing(tx.conn, ids=across_chunks([first, *ids[1:4], theirs], unknown_id))
        assert [r.id for r in few] == sorted([first, *ids[1:4], theirs])


def test_exception_leaves_no_order_and_no_link(pair: Database) -> None:
    row_id = add_purchase(pair, number="D-1")
    known = entry_count(pair)
    with pytest.raises(ZeroDivisionError), pair.write(LATER) as tx:
        issuances.attach(tx, row_id, add_leaf(tx, "leaf"))
        purchase_changes.renew(tx, "D-1", {})
        purchase_changes.edit(tx, "D-1", {"note": "x"}, ["a.shop1001.example"])
        tx.conn.execute(update(StoredPurchase).values(vendor="x"))
        raise ZeroDivisionError
    with pair.read() as conn:
        (row,) = purchases.listing(conn)
        assert (row.successor_id, row.note, row.vendor) == (None, None, "DigiCert")
        assert row.names == ("shop1001.example",)
        assert count(conn, Issuance) == 0
    assert audited(pair, known) == []
