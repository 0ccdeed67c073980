"""Revocation lists and the status of served leaves."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select

from inventory.db.database import Database
from inventory.models import Endpoint, RevocationCheck, StoredCertificate, StoredCrl
from inventory.store import certificates, clients, domains, endpoints, revocation
from inventory.targets import Target
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_finding,
    add_site,
    audited,
    count,
    entry_count,
    many_clients,
    site,
)
from tests.inventory.store.chunked import across_chunks, unknown_hash, unknown_id
from tests.inventory.store.scan_rows import add_leaf, certificate_row, observe

URL = "http://crl.example/1.crl"


def status_row(sha256: str, status: str = "good", **columns: Any) -> dict[str, Any]:
    return {
        "sha256": sha256,
        "status": status,
        "reason": None,
        "revoked_at": None,
        "source": URL,
        "detail": None,
        "checked_at": AT,
        "next_at": AT + DAY,
    } | columns


def test_leaves_are_due_when_they_were_never_checked_or_not_lately(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        labels = ("new", "old", "fresh", "theirs", "untrusted", "hidden")
        leaves = {n: add_leaf(tx, n) for n in labels}
        mine = [add_site(tx, "1001", f"{n}.example") for n in ("a", "b", "c", "d")]
        observe(tx, one.endpoint_id, leaves["new"], "192.0.2.1", "192.0.2.2")
        for host, name in zip(mine, ("old", "fresh", "untrusted", "hidden"), strict=True):
            observe(tx, host.endpoint_id, leaves[name], trusted=0 if name == "untrusted" else 1)
        observe(tx, two.endpoint_id, leaves["theirs"])
        observe(tx, mine[3].endpoint_id, None, "192.0.2.9")  # that address answers no more
        known = [status_row(leaves["old"], next_at=AT), status_row(leaves["fresh"], next_at=AT + 1)]
        revocation.write_statuses(tx, known)
    with pair.read() as conn:
        due = revocation.due_leaves(conn, AT, None, every=False)
        assert due == sorted(leaves[n] for n in ("new", "old", "theirs"))
        due = revocation.due_leaves(conn, AT, one.client_id, every=False)
        assert due == sorted(leaves[n] for n in ("new", "old"))
        assert revocation.due_leaves(conn, AT, two.client_id, every=False) == [leaves["theirs"]]
        all_leaves = revocation.due_leaves(conn, AT, None, every=True)
        assert all_leaves == sorted(leaves[n] for n in ("new", "old", "fresh", "theirs"))
        assert revocation.due_leaves(conn, AT - 1, two.client_id, every=True) == [leaves["theirs"]]
        assert revocation.due_leaves(conn, AT, unknown_id(0), every=True) == []
    with pair.write(NOW) as tx:
        domains.retire(tx, "a.example")
        endpoints.retire(tx, Target("shop1001.example"))
        clients.retire(tx, "1002")
        assert revocation.due_leaves(tx.conn, AT, None, every=True) == [leaves["fresh"]]


def test_certificates_are_found_as_they_were_sent_and_by_their_subject(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one = site(tx, "shop1001.example").endpoint_id
        leaf, other = add_leaf(tx, "leaf"), add_leaf(tx, "other")
        ca = {"is_ca": 1, "subject": "CN=CA"}
        chain = [add_leaf(tx, f"ca{i}", **ca, not_after=AT + i) for i in range(4)]
        add_leaf(tx, "no ca", subject="CN=CA")
        observe(tx, one, leaf, "192.0.2.1", chain=(leaf, *chain))
        observe(
            tx,
            site(tx, "shop1002.example").endpoint_id,
            leaf,
            chain=(leaf, unknown_hash(0)),
        )
        conn = tx.conn
        assert sorted(revocation.sent_with(conn, leaf)) == [b"ca0", b"ca1", b"ca2"]
        assert len(revocation.sent_with(conn, leaf, limit=1)) <= 3
        assert revocation.sent_with(conn, other) == []
        observe(tx, one, other, "192.0.2.1")
        assert revocation.sent_with(conn, leaf) == [], "that chain is no longer sent"
        assert certificates.issuers_named(conn, "CN=CA") == [b"ca3", b"ca2", b"ca1", b"ca0"]
        assert certificates.issuers_named(conn, "CN=CA", limit=2) == [b"ca3", b"ca2"]
        assert certificates.issuers_named(conn, "CN=ca") == []
        assert certificates.ders(conn, [leaf, unknown_hash(0)]) == {leaf: b"leaf"}
        assert certificates.ders(conn, []) == {}
        many = across_chunks([leaf, unknown_hash(1), *chain[:3]], unknown_hash)
        assert set(certificates.ders(conn, many)) == {leaf, *chain[:3]}


def test_status_is_replaced_but_our_own_revocation_is_not(database: Database) -> None:
    with database.write(NOW) as tx:
        a, b, c = (add_leaf(tx, n) for n in "abc")
        revocation.write_statuses(tx, [])
        ours = status_row(b, "revoked", source="us", reason="keyCompromise", revoked_at=AT)
        theirs = status_row(c, "revoked", reason="superseded", revoked_at=AT)
        revocation.write_statuses(tx, [status_row(a, "unknown", detail="no list"), ours, theirs])
    with database.write(LATER) as tx:
        again = [status_row(h, checked_at=tx.at) for h in (a, b, c)]
        revocation.write_statuses(tx, again)
        found = revocation.statuses(tx.conn, [a, b, c, unknown_hash(0)])
        assert {k: r.as_dict() for k, r in found.items()} == {a: again[0], b: ours, c: again[2]}
        confirmed = status_row(b, "revoked", reason="keyCompromise", revoked_at=AT + 5)
        revocation.write_statuses(tx, [confirmed])
        found = revocation.statuses(tx.conn, across_chunks([b, a], unknown_hash))
        assert {k: r.as_dict() for k, r in found.items()} == {
            a: again[0],
            b: confirmed,
        }
        assert revocation.statuses(tx.conn, []) == {}
    assert audited(database) == []


def test_failed_fetch_keeps_the_list_that_is_held(database: Database) -> None:
    held = {
        "digest": "d",
        "body": b"list",
        "this_update": AT,
        "next_update": AT + DAY,
        "next_at": AT + 60,
    }
    with database.write(NOW) as tx:
        revocation.keep_list(tx, URL, held)
        revocation.list_failed(tx, "http://crl.example/2.crl", "x" * 501, 1, AT + 5)
    with database.write(LATER) as tx:
        revocation.list_failed(tx, URL, "timeout", 2, AT + 90)
        found = revocation.lists(
            tx.conn,
            [URL, "http://crl.example/2.crl", "http://crl.example/3.crl"],
        )
        assert found[URL].as_dict() == {
            "url": URL,
            "digest": "d",
            "this_update": AT,
            "next_update": AT + DAY,
            "fetched_at": AT,
            "next_at": AT + 90,
            "failures": 2,
            "error": "timeout",
        }
        never = found["http://crl.example/2.crl"]
        assert (never.digest, never.fetched_at, never.error) == (None, None, "x" * 500)
        assert len(found) == 2
        assert revocation.body_of(tx.conn, URL) == b"list"
        assert revocation.body_of(tx.conn, "http://crl.example/2.crl") is None
        assert revocation.body_of(tx.conn, "http://crl.example/3.crl") is None
        revocation.keep_list(tx, URL, held | {"body": b"new", "digest": "e"})
        row = revocation.lists(tx.conn, across_chunks(["x", "y", URL], str))[URL]
        assert (row.digest, row.failures, row.error, row.fetched_at) == (
            "e",
            0,
            None,
            AT + DAY,
        )
        assert revocation.body_of(tx.conn, URL) == b"new"
        assert revocation.lists(tx.conn, []) == {}


def test_body_of_an_unused_list_is_forgotten_and_its_row_stays(database: Database) -> None:
    with database.write(NOW) as tx:
        for number, next_at in ((1, AT - 1), (2, AT), (3, AT - 9)):
            values = {
                "digest": "d",
                "body": b"list",
                "this_update": AT,
                "next_update": AT,
                "next_at": next_at,
            }
            revocation.keep_list(tx, f"http://crl.example/{number}.crl", values)
        revocation.list_failed(tx, "http://crl.example/4.crl", "timeout", 1, AT - 5)
    with pytest.raises(ZeroDivisionError), database.write(LATER) as tx:
        assert revocation.forget_unused(tx, AT) == 2
        raise ZeroDivisionError
    with database.write(LATER) as tx:
        assert revocation.forget_unused(tx, AT) == 2
        assert revocation.forget_unused(tx, AT) == 0
        held = {r.url[-5]: (r.digest, r.body) for r in tx.conn.execute(select(StoredCrl))}
    assert held == {"1": (None, None), "2": ("d", b"list"), "3": (None, None), "4": (None, None)}


def test_served_leaves_carry_their_chain_and_whether_browsers_trust_them(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (site(tx, f"shop{n}.example").endpoint_id for n in (1001, 1002))
        leaf = add_leaf(tx, "leaf")
        trusts = ((1, 1, True), (1, 0, False), (0, 1, False), (None, 1, None), (1, None, False))
        for i, (trusted, public, _) in enumerate(trusts):
            where = add_site(tx, "1001", f"h{i}.example").endpoint_id
            observe(tx, where, leaf, trusted=trusted, public=public, chain=(leaf, "ca"))
            (found,) = revocation.served(tx.conn, [where])[where]
            assert found.trusted is trusts[i][2]
        observe(tx, one, leaf, "192.0.2.2", "192.0.2.1")
        observe(tx, one, leaf, "192.0.2.2")
        observe(tx, two, None, "192.0.2.9")
        served = revocation.served(tx.conn, across_chunks([one, unknown_id(1), two], unknown_id))
        assert revocation.served(tx.conn, []) == {}
    assert served == {
        one: [
            revocation.ServedAddress("192.0.2.1", leaf, (leaf,), False, True),
            revocation.ServedAddress("192.0.2.2", leaf, (leaf,), True, True),
        ],
    }
    assert found.chain == (leaf, "ca")


def test_endpoints_are_concerned_by_a_status_or_by_an_open_finding(pair: Database) -> None:
    codes = ("revoked", "crl-unavailable")
    with pair.write(NOW) as tx:
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        leaves = {status: add_leaf(tx, status) for status in ("good", "revoked", "unknown")}
        revocation.write_statuses(tx, [status_row(h, s) for s, h in leaves.items()])
        labels = ("good", "found", "closed", "gone")
        more = {n: add_site(tx, "1001", f"{n}.example") for n in labels}
        observe(tx, one.endpoint_id, leaves["unknown"])
        observe(tx, two.endpoint_id, leaves["revoked"])
        observe(tx, more["good"].endpoint_id, leaves["good"])
        observe(tx, more["gone"].endpoint_id, leaves["revoked"])
        observe(tx, more["gone"].endpoint_id, leaves["good"])
        add_finding(tx, more["found"].endpoint_id, "crl-unavailable")
        add_finding(tx, more["good"].endpoint_id, "mixed-content")
        add_finding(tx, more["closed"].endpoint_id, "revoked", closed_at=AT)
        mine = [one.endpoint_id, more["found"].endpoint_id]
        assert revocation.concerned(tx.conn, one.client_id, codes) == mine
        assert revocation.concerned(tx.conn, two.client_id, codes) == [two.endpoint_id]
        everywhere = [one.endpoint_id, two.endpoint_id, more["found"].endpoint_id]
        assert revocation.concerned(tx.conn, None, codes) == everywhere
        assert revocation.concerned(tx.conn, one.client_id, ()) == [one.endpoint_id]
        domains.retire(tx, "found.example")
        endpoints.retire(tx, Target("shop1001.example"))
        clients.retire(tx, "1002")
        assert revocation.concerned(tx.conn, None, codes) == []


def test_several_hundred_leaves_are_asked_for_in_one_call(pair: Database) -> None:
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        many_clients(tx, 1001)
        ids = list(tx.conn.scalars(select(Endpoint.id)))
        made = [certificate_row(f"leaf {i}") | {"first_seen": AT} for i in range(1001)]
        hashes = [str(r["sha256"]) for r in made]
        tx.conn.execute(insert(StoredCertificate), made)
        revocation.write_statuses(tx, [status_row(h) for h in hashes])
        assert count(tx.conn, RevocationCheck) == 1001
        assert set(revocation.statuses(tx.conn, hashes)) == set(hashes)
        assert len(certificates.ders(tx.conn, hashes)) == 1001
        assert revocation.served(tx.conn, ids) == {}
    assert audited(pair, known) == []
