"""Purchases read from both kinds of database: their terms, certificates and clients."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certmgr.demo.authority import Authority
from certmgr.inspection.report import certificate_row
from certmgr.purchases.load import coverage_remarks, load
from inventory.certificates import parse
from inventory.db.database import Database
from inventory.errors import Conflict
from inventory.store import certificates, clients, issuances, purchase_changes, purchases
from tests.certmgr.cases.place import serve
from tests.certmgr.purchases.adding import NAME, add
from tests.clock import START as NOW

DAY = timedelta(days=1)


def test_purchase_is_read_with_all_stored_values(two_clients: Database) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    row_id = add(
        two_clients,
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
    with two_clients.read() as conn:
        row = purchases.find(conn, "D-1")
        ids = [purchases.find(conn, key).id for key in (f"#{row_id}", str(row_id))]
        (purchase,) = load(conn)
    assert ids == [row_id, row_id]
    assert purchase.kind == "wildcard"
    assert (purchase.validation, purchase.bought_by, purchase.auto_renew) == ("ov", "us", True)
    assert str(purchase.price) == "300.50"
    # Three years, to the last second.
    assert purchase.ends == datetime(2029, 2, 28, 23, 59, 59, tzinfo=UTC)
    assert row.documents == ("/srv/invoices/1.pdf",)


def test_renewal_copies_the_known_values_and_follows_without_a_gap(two_clients: Database) -> None:
    row_id = add(two_clients, number="D-1", years=2, price="100", fee="20")
    with two_clients.write(NOW) as tx:
        next_id = purchase_changes.renew(tx, "D-1", {"number": "D-2", "price": "110"})
    with two_clients.read() as conn:
        by_id = {o.id: o for o in load(conn)}
    old, new = by_id[row_id], by_id[next_id]
    assert new.starts == old.ends + timedelta(seconds=1)
    assert (str(new.price), str(new.fee), new.years, new.names) == ("110", "20", 2, old.names)
    assert old.renewed
    with two_clients.write(NOW) as tx, pytest.raises(Conflict, match="renewed already"):
        purchase_changes.renew(tx, "D-1", {})


def _store(tx: Any, der: bytes) -> str:
    row = asdict(certificate_row(parse(der)))
    certificates.add(tx, [row])
    return str(row["sha256"])


def test_certificates_of_a_purchase_are_linked_by_hand_or_recognised(
    two_clients: Database, root: Authority
) -> None:
    issuer = Authority("DigiCert TLS", root, organisation="DigiCert Inc")
    start = NOW - 30 * DAY
    row_id = add(two_clients, number="D-1", starts_at=start)
    recognised = issuer.issue(NAME, not_before=start, days=100)
    linked = issuer.issue(NAME, not_before=start, days=50)
    serve(two_clients, NAME, recognised, NOW)
    with two_clients.write(NOW) as tx:
        sha = _store(tx, linked.der)
        issuances.attach(tx, row_id, sha)
        with pytest.raises(Conflict):
            issuances.attach(tx, row_id, sha)
    with two_clients.read() as conn:
        (purchase,) = load(conn)
    assert [(i.recorded, i.live) for i in purchase.issued] == [(True, False), (False, True)]
    assert purchase.current is not None
    assert purchase.current.live


def test_two_clients_who_share_a_certificate_see_only_their_names(
    two_clients: Database, issuer: Authority
) -> None:
    shared = issuer.issue("shop1001.example", "shop1002.example", days=60)
    for host in ("shop1001.example", "shop1002.example"):
        serve(two_clients, host, shared, NOW)
    with two_clients.read() as conn:
        ids = {c.number: c.id for c in clients.listing(conn)}
        for mine, other in (("1001", "1002"), ("1002", "1001")):
            remarks = coverage_remarks(conn, NOW, ids[mine])
            text = "\n".join(f"{r.client} {r.label} {r.text}" for r in remarks)
            assert f"shop{mine}.example" in text
            assert f"shop{other}" not in text
