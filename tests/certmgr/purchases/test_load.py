"""Orders as they are read from both kinds of database: their terms, certificates, and clients."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certmgr.demo.authority import Authority
from certmgr.inspection.report import certificate_row
from certmgr.purchases.load import load, look_through
from inventory.certificates import parse
from inventory.db.database import Database
from inventory.errors import Conflict
from inventory.store import clients, purchases, scan_results
from tests.certmgr.cases.place import serve
from tests.certmgr.purchases.adding import NAME, add
from tests.clock import START as NOW

DAY = timedelta(days=1)


def test_order_is_read_with_all_that_was_stored(shop: Database) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    row_id = add(
        shop,
        names=(f"*.{NAME}", NAME),
        number="D-1",
        validation="OV",
        years=3,
        starts_at=start,
        price="300.50",
        fee="25",
        warranty="10000",
        bought_by="us",
        contact="Owner 1001",
        documents=["/srv/invoices/1.pdf"],
        auto_renew=True,
        dcv_at=start,
        organisation_at=start,
        note="by phone",
    )
    with shop.read() as conn:
        row = purchases.find(conn, "D-1")
        found = [purchases.find(conn, key)["id"] for key in (f"#{row_id}", str(row_id))]
        (order,) = load(conn)
    assert found == [row_id, row_id]
    assert order.kind == "wildcard"
    assert (order.validation, order.bought_by, order.auto_renew) == ("ov", "us", True)
    assert str(order.price) == "300.50"
    # Three years, to the last second.
    assert order.ends == datetime(2029, 2, 28, 23, 59, 59, tzinfo=UTC)
    assert json.loads(row["documents"]) == ["/srv/invoices/1.pdf"]


def test_renewal_takes_over_what_is_known_and_follows_without_a_gap(shop: Database) -> None:
    row_id = add(shop, number="D-1", years=2, price="100", fee="20")
    with shop.write(NOW) as tx:
        next_id = purchases.renew(tx, "D-1", {"number": "D-2", "price": "110"})
    with shop.read() as conn:
        by_id = {o.id: o for o in load(conn)}
    old, new = by_id[row_id], by_id[next_id]
    assert new.starts == old.ends + timedelta(seconds=1)
    assert (str(new.price), str(new.fee), new.years, new.names) == ("110", "20", 2, old.names)
    assert old.renewed
    with shop.write(NOW) as tx, pytest.raises(Conflict, match="renewed already"):
        purchases.renew(tx, "D-1", {})


def _store(tx: Any, der: bytes) -> str:
    row = asdict(certificate_row(parse(der)))
    scan_results.add_certificates(tx, [row])
    return str(row["sha256"])


def test_certificates_of_an_order_are_linked_by_hand_or_recognised(
    shop: Database, root: Authority
) -> None:
    issuer = Authority("DigiCert TLS", root, organisation="DigiCert Inc")
    start = NOW - 30 * DAY
    row_id = add(shop, number="D-1", starts_at=start)
    seen = issuer.issue(NAME, not_before=start, days=100)
    by_hand = issuer.issue(NAME, not_before=start, days=50)
    serve(shop, NAME, seen, NOW)
    with shop.write(NOW) as tx:
        sha = _store(tx, by_hand.der)
        purchases.attach(tx, row_id, sha)
        with pytest.raises(Conflict):
            purchases.attach(tx, row_id, sha)
    with shop.read() as conn:
        (order,) = load(conn)
    assert [(i.recorded, i.live) for i in order.issued] == [(True, False), (False, True)]
    assert order.current is not None
    assert order.current.live


def test_two_clients_who_share_a_certificate_see_their_own_names_alone(
    shop: Database, issuer: Authority
) -> None:
    shared = issuer.issue("shop1001.example", "shop1002.example", days=60)
    for host in ("shop1001.example", "shop1002.example"):
        serve(shop, host, shared, NOW)
    with shop.read() as conn:
        ids = {c["number"]: c["id"] for c in clients.listing(conn)}
        for mine, other in (("1001", "1002"), ("1002", "1001")):
            remarks = look_through(conn, NOW, ids[mine])
            text = "\n".join(f"{r.client} {r.what} {r.text}" for r in remarks)
            assert f"shop{mine}.example" in text
            assert f"shop{other}" not in text
