"""Orders in both kinds of database: adding, changing, renewing, in and out; clients apart."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.demo.authority import Authority
from certmgr.orders.load import load, look_through
from inventory.database import Database, from_epoch
from inventory.errors import CertmgrError, Conflict, NotFound, UsageError
from inventory.exchange import orders_format
from inventory.store import clients, contacts, domains, orders, results
from tests.certmgr.cases.place import serve

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)


@pytest.fixture
def shop(database: Database) -> Database:
    with database.write(NOW) as tx:
        for number in ("1001", "1002"):
            clients.add(tx, {"number": number, "name": f"Client {number}", "buys": "client"})
            domains.add(tx, f"shop{number}.example", {"client": number})
            contacts.add(tx, number, {"name": f"Owner {number}"}, (f"email:owner@shop{number}.example",))
    return database


def add(database: Database, client: str = "1001", names: tuple[str, ...] = ("shop1001.example",), **given: Any) -> int:
    with database.write(NOW) as tx:
        return orders.add(tx, client, {"vendor": "DigiCert", "currency": "EUR", **given}, names)[0]


def test_everything_of_an_order_is_kept(shop: Database) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    row_id = add(
        shop, names=("*.shop1001.example", "shop1001.example"), number="D-1", validation="OV", years=3, starts_at=start, price="300.50", fee="25", warranty="10000",
        bought_by="us", contact="Owner 1001", documents=["/srv/invoices/1.pdf"], auto_renew=True, dcv_at=start, organisation_at=start, note="by phone",
    )  # fmt: skip
    with shop.read() as conn:
        row = orders.find(conn, "D-1")
        assert orders.find(conn, f"#{row_id}")["id"] == orders.find(conn, str(row_id))["id"] == row_id
        (order,) = load(conn)
    assert order.kind == "wildcard"
    assert (order.validation, order.bought_by, order.auto_renew) == ("ov", "us", True)
    assert str(order.price) == "300.50"
    assert order.ends == datetime(2029, 2, 28, 23, 59, 59, tzinfo=UTC), "three years, to the last second"
    assert json.loads(row["documents"]) == ["/srv/invoices/1.pdf"]


def test_a_leap_day_ends_on_the_28th() -> None:
    assert orders.years_later(datetime(2028, 2, 29, tzinfo=UTC), 1) == datetime(2029, 2, 27, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("names", "given", "said"),
    [
        (("shop1002.example",), {}, "belongs to the client 1002"),
        (("www.shop1002.example",), {}, "belongs to the client 1002"),
        (("*.shop1002.example",), {}, "belongs to the client 1002"),
        ((), {}, "at least one name"),
        (("shop1001.example",), {"price": "cheap"}, "not an amount"),
        (("shop1001.example",), {"price": "-1"}, "cannot be so"),
        (("shop1001.example",), {"price": "1e99"}, "cannot be so"),
        (("shop1001.example",), {"price": "NaN"}, "cannot be so"),
        (("shop1001.example",), {"currency": "XYZW"}, "currency"),
        (("shop1001.example",), {"price": "1", "currency": None}, "needs a currency"),
        (("shop1001.example",), {"years": 9}, "9 years"),
        (("shop1001.example",), {"ends_at": NOW - timedelta(days=1)}, "ends before it starts"),
        (("shop1001.example",), {"vendor": " "}, "vendor is empty"),
        (("shop1001.example", "b.shop1001.example"), {"kind": "single"}, "covers 2 names"),
        (("*.shop1001.example",), {"validation": "ev"}, "no EV wildcards"),
        (("../../etc",), {}, "not a domain name"),
        (("shop1001.example",), {"contact": "Owner 1002"}, "no contact"),
    ],
)  # fmt: skip
def test_what_cannot_be_so_is_refused_and_leaves_nothing(
    shop: Database, names: tuple[str, ...], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(CertmgrError) as error:
        add(shop, names=names, **given)
    assert said in str(error.value)
    with shop.read() as conn:
        assert orders.listing(conn) == []


def test_one_number_of_a_vendor_is_one_order(shop: Database) -> None:
    add(shop, number="D-1")
    with pytest.raises(Conflict):
        add(shop, number="D-1")
    add(shop, number="D-1", vendor="Sectigo")
    with shop.read() as conn, pytest.raises(UsageError, match="2 orders"):
        orders.find(conn, "D-1")
    with shop.read() as conn, pytest.raises(NotFound):
        orders.find(conn, "D-2")


def test_a_renewal_takes_over_what_is_known_and_follows_without_a_gap(shop: Database) -> None:
    row_id = add(shop, number="D-1", years=2, price="100", fee="20")
    with shop.write(NOW) as tx:
        next_id = orders.renew(tx, "D-1", {"number": "D-2", "price": "110"})
    with shop.read() as conn:
        old, new = (next(o for o in load(conn) if o.id == i) for i in (row_id, next_id))
    assert new.starts == old.ends + timedelta(seconds=1)
    assert (str(new.price), str(new.fee), new.years, new.names) == ("110", "20", 2, old.names)
    assert old.renewed
    with shop.write(NOW) as tx, pytest.raises(Conflict, match="renewed already"):
        orders.renew(tx, "D-1", {})


def test_a_cancelled_order_keeps_its_reason(shop: Database) -> None:
    add(shop, number="D-1")
    with shop.write(NOW) as tx:
        orders.cancel(tx, "D-1", "moved to ACME")
    with shop.read() as conn:
        assert orders.find(conn, "D-1")["reason"] == "moved to ACME"
    with shop.write(NOW) as tx, pytest.raises(Conflict):
        orders.cancel(tx, "D-1", "again")


def test_certificates_are_linked_by_hand_or_recognised(shop: Database, root: Authority) -> None:
    issuer = Authority("DigiCert TLS", root, organisation="DigiCert Inc")
    start = NOW - timedelta(days=30)
    row_id = add(shop, number="D-1", starts_at=start)
    seen = issuer.issue("shop1001.example", not_before=start, days=100)
    by_hand = issuer.issue("shop1001.example", not_before=start, days=50)
    serve(shop, "shop1001.example", seen, NOW)
    with shop.write(NOW) as tx:
        sha = store(tx, by_hand.der)
        orders.attach(tx, row_id, sha)
        with pytest.raises(Conflict):
            orders.attach(tx, row_id, sha)
    with shop.read() as conn:
        (order,) = load(conn)
    assert [(i.recorded, i.live) for i in order.issued] == [(True, False), (False, True)]
    assert order.current is not None
    assert order.current.live


def store(tx: Any, der: bytes) -> str:
    from dataclasses import asdict

    from certmgr.scan.report import certificate_row
    from inventory.certificates import parse

    row = asdict(certificate_row(parse(der)))
    results.add_certificates(tx, [row])
    return str(row["sha256"])


def test_two_clients_who_share_a_certificate_see_each_their_own(shop: Database, issuer: Authority) -> None:
    shared = issuer.issue("shop1001.example", "shop1002.example", days=60)
    serve(shop, "shop1001.example", shared, NOW)
    serve(shop, "shop1002.example", shared, NOW)
    with shop.read() as conn:
        ids = {c["number"]: c["id"] for c in clients.listing(conn)}
        for mine, other in (("1001", "1002"), ("1002", "1001")):
            text = "\n".join(f"{r.client} {r.what} {r.text}" for r in look_through(conn, NOW, ids[mine]))
            assert f"shop{mine}.example" in text
            assert f"shop{other}" not in text


def test_orders_go_out_and_come_in_again_unchanged(shop: Database, tmp_path: Path) -> None:
    add(shop, number="D-1", note="=cmd()|' /C calc'!A0", years=2, price="10", dcv_at=NOW)
    add(shop, client="1002", names=("shop1002.example", "*.shop1002.example"), vendor="Sectigo", documents=["/a", "/b"])
    for form, read in (("csv", orders_format.read_csv), ("json", orders_format.read_json)):
        with shop.read() as conn:
            before = orders.listing(conn)
            text = orders_format.write(before, form)
        path = tmp_path / f"orders.{form}"
        path.write_text(text)
        if form == "csv":
            assert "'=cmd()" in text, "a spreadsheet must not run it"
        done = orders_format.take(shop, read(path), "UTC", NOW, dry_run=False)
        assert (done.rows, done.added, done.changed, done.problems) == (2, 0, 0, []), form
        with shop.read() as conn:
            assert orders.listing(conn) == before


def test_a_bad_row_is_named_and_the_rest_goes_in(shop: Database, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "client;vendor;number;names;start;end;auto_renew\n"
        "1001;DigiCert;D-1;shop1001.example;2026-01-01;2026-12-31;yes\n"
        "1002;DigiCert;D-2;shop1001.example;2026-01-01;;no\n"
        "1009;DigiCert;D-3;x.example;;;\n"
        "1001;DigiCert;D-4;shop1001.example;31.12.2026;;\n"
        "1001;DigiCert;D-5;shop1001.example;;;perhaps\n"
        "1001;DigiCert;D-6;;;;\n"
    )
    dry = orders_format.take(shop, orders_format.read_csv(path), "Europe/Berlin", NOW, dry_run=True)
    with shop.read() as conn:
        assert orders.listing(conn) == []
    done = orders_format.take(shop, orders_format.read_csv(path), "Europe/Berlin", NOW, dry_run=False)
    assert dry.lines == done.lines == ["order DigiCert D-1 of client 1001: added"]
    assert [p.where.rpartition(":")[2] for p in done.problems] == ["3", "4", "5", "6", "7"]
    with shop.read() as conn:
        (row,) = orders.listing(conn)
    assert from_epoch(row["starts_at"]) == datetime(2025, 12, 31, 23, tzinfo=UTC), "in the provider's time zone"
    assert from_epoch(row["ends_at"]) == datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)
    assert row["auto_renew"] == 1
    changed = path.with_name("again.csv")
    changed.write_text("client,vendor,number,names,auto_renew\n1001,DigiCert,D-1,shop1001.example www.shop1001.example,no\n")
    again = orders_format.take(shop, orders_format.read_csv(changed), "UTC", NOW, dry_run=False)
    assert (again.added, again.changed) == (0, 1)


@pytest.mark.parametrize("text", ["", "[]", '{"orders": 1}', "{" * 100_000, '{"schema": "certmgr.order-export/1", "orders": {}}'])
def test_what_is_no_export_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        list(orders_format.read_json(path))
