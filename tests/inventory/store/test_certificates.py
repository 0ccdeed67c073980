"""Certificates: found by fingerprint or serial number, and served per client."""

from __future__ import annotations

import pytest

from inventory.db.database import Database
from inventory.errors import NotFound, UsageError
from inventory.models import (
    ServedChain,
)
from inventory.store import (
    certificates,
    clients,
    domains,
    endpoints,
)
from inventory.targets import Target
from tests.inventory.store.builders import (
    AT,
    NOW,
    add_certificate,
    add_site,
    endpoint_id,
    fingerprint,
    rows,
    serve,
    site,
)
from tests.inventory.store.casework import add_purchase, client_ids, ids_of_clients
from tests.inventory.store.scan_rows import add_leaf, observe


def test_chain_is_returned_in_the_order_asked_for(database: Database) -> None:
    with database.write(NOW) as tx:
        first, second = add_certificate(tx, "first"), add_certificate(tx, "second", is_ca=True)
        unknown = fingerprint("unknown")
        assert certificates.ders_in_order(tx.conn, [second, unknown, first]) == [
            b"second",
            b"first",
        ]
        assert certificates.ders_in_order(tx.conn, (first,)) == [b"first"]
        assert (
            certificates.ders_in_order(tx.conn, [unknown])
            == certificates.ders_in_order(tx.conn, [])
            == []
        )


def test_live_leaves_are_what_the_hosts_of_the_client_serve_now(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        endpoints.add(tx, Target("www.shop1001.example"))
        hosts = ["shop1001.example", "www.shop1001.example"]
        shop, www = (endpoint_id(tx.conn, h) for h in hosts)
        old, late = add_certificate(tx, "old"), add_certificate(tx, "late", not_after=AT + 9)
        early, dateless = (
            add_certificate(tx, "early", not_after=AT + 1),
            add_certificate(tx, "dateless", not_after=None),
        )
        serve(tx, shop, old, "192.0.2.1", "192.0.2.2")
        serve(tx, shop, late, "192.0.2.1", "192.0.2.2")
        serve(tx, www, early)
        serve(tx, endpoint_id(tx.conn, "shop1002.example"), old)
        assert [r.as_dict() for r in certificates.live_leaves(tx.conn, one, hosts)] == [
            {"sha256": early, "not_after": AT + 1},
            {"sha256": late, "not_after": AT + 9},
        ]
        assert [r.sha256 for r in certificates.live_leaves(tx.conn, one, hosts[:1])] == [late]
        assert certificates.live_leaves(tx.conn, two, hosts) == [], "hosts of another client"
        assert certificates.live_leaves(tx.conn, one, []) == []
        serve(tx, www, dateless)
        assert certificates.live_leaves(tx.conn, one, hosts[1:]) == []
        serve(tx, www, None)
        assert certificates.live_leaves(tx.conn, one, hosts[1:]) == []


def test_first_end_of_what_a_host_serves_is_returned_per_client(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        endpoints.add(tx, Target("shop1001.example", 8443))
        for name in ("gone", "dateless"):
            endpoints.add(tx, Target(f"{name}.shop1001.example"))
        early, late = (add_certificate(tx, f"c{n}", not_after=AT + n) for n in (1, 9))
        serve(tx, endpoint_id(tx.conn, "shop1001.example"), late, "192.0.2.1")
        serve(tx, endpoint_id(tx.conn, "shop1001.example", 8443), early)
        serve(tx, endpoint_id(tx.conn, "gone.shop1001.example"), early)
        endpoints.retire(tx, Target("gone.shop1001.example"))
        dateless = add_certificate(tx, "dateless", not_after=None)
        serve(tx, endpoint_id(tx.conn, "dateless.shop1001.example"), dateless)
        serve(tx, endpoint_id(tx.conn, "shop1002.example"), late)
        found = certificates.served_until(tx.conn, [two, one, one])
        assert certificates.served_until(tx.conn, [two]) == {two: found[two]}
        assert (
            certificates.served_until(tx.conn, [])
            == certificates.served_until(tx.conn, [two + 99])
            == {}
        )
        # The address is no longer seen: what it served is not served now.
        serve(tx, endpoint_id(tx.conn, "shop1002.example"), early, "192.0.2.2")
        assert certificates.served_until(tx.conn, [two]) == {two: {"shop1002.example": AT + 1}}
        assert [r["live"] for r in rows(tx.conn, ServedChain)].count(0) == 1
    assert found == {one: {"shop1001.example": AT + 1}, two: {"shop1002.example": AT + 9}}


def test_only_names_of_the_client_are_kept_of_a_shared_certificate() -> None:
    names = ["a.example", "b.example", "*.c.example", "www.d.example"]
    assert certificates.own_names(names, ["a.example", "www.c.example"]) == (
        "a.example",
        "*.c.example",
    )
    assert certificates.own_names(names, ["d.example", "c.example", "x.y.c.example"]) == ()
    assert certificates.own_names([], ["a.example"]) == certificates.own_names(names, []) == ()


def test_certificate_is_found_by_the_beginning_of_its_fingerprint_or_serial_number(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        for sha256, serial, is_ca in (
            ("aaaaaaaa11" + "0" * 54, "12345678ab", 0),
            ("aaaaaaaa22" + "0" * 54, "1", 0),
            ("bbbbbbbb11" + "0" * 54, "1fffffffff", 0),
            ("cccccccc11" + "0" * 54, "cc", 1),
        ):
            add_leaf(tx, sha256, sha256=sha256, serial=serial, is_ca=is_ca)
        conn = tx.conn
        expected = {
            "AAAAAAAA11": "a1",
            " aa:aa:aa:aa:22 ": "a2",
            "12345678": "a1",
            "00:12:34:56:78:AB": "a1",
            "bbbbbbbb": "b1",
            "00000001": "a2",  # the whole number 1, and not each that begins with 1
        }
        for key, short in expected.items():
            found = certificates.find(conn, key).sha256
            assert (found[0], found[9]) == (short[0], short[1]), key
        with pytest.raises(UsageError, match="Several certificates begin with 'aaaaaaaa'"):
            certificates.find(conn, "aaaaaaaa")
        for key in ("cccccccc", "00000000", "0000001f", "123456789"):
            with pytest.raises(NotFound, match="There is no certificate"):
                certificates.find(conn, key)
        for key in ("aaaaaaa", "", "aaaaaaag", "aaaaaaaa%"):
            with pytest.raises(UsageError, match="is not a fingerprint or serial number"):
                certificates.find(conn, key)


def test_served_certificates_are_of_one_client_or_of_all_that_buy(pair: Database) -> None:
    one, two = client_ids(pair)
    with pair.write(NOW) as tx:
        shared = add_leaf(tx, "shared", "shop1001.example", "shop1002.example")
        undated, hidden = add_leaf(tx, "undated", not_before=None), add_leaf(tx, "hidden")
        mine, theirs = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        more = add_site(tx, "1001", "more.example")
        observe(tx, mine.endpoint_id, hidden, "192.0.2.1")
        observe(tx, mine.endpoint_id, shared, "192.0.2.2", "192.0.2.3")
        observe(tx, theirs.endpoint_id, shared)
        observe(tx, more.endpoint_id, shared, "192.0.2.1")
        observe(tx, more.endpoint_id, undated, "192.0.2.2")
        conn = tx.conn
        assert [(r.client_id, r.sha256) for r in certificates.live(conn, two)] == [(two, shared)]
        found = certificates.live(conn)
        assert {(r.client, r.sha256) for r in found} == {("1001", shared), ("1002", shared)}
        assert certificates.live(conn, buyers=True) == []
    add_purchase(pair, client="1002")
    with pair.write(NOW) as tx:
        conn = tx.conn
        assert [r.client_id for r in certificates.live(conn, buyers=True)] == [two]
        named = certificates.live(conn, one, buyers=True)
        assert [r.client_id for r in named] == [one], "a named client need not buy"
        observe(tx, more.endpoint_id, shared, "192.0.2.1")
        endpoints.retire(tx, Target("shop1001.example"))
        assert len(certificates.live(conn, one)) == 1
        domains.retire(tx, "more.example")
        assert certificates.live(conn, one) == []
        clients.retire(tx, "1002")
        assert certificates.live(conn) == []
