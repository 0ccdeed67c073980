"""Issuances: from the request to the verified certificate, and what is expected to be served."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import exc

from inventory.db.database import Database
from inventory.errors import Conflict
from inventory.models import (
    Issuance,
)
from inventory.store import (
    issuances,
)
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_certificate,
    audited,
    entry_count,
    fingerprint,
    open_case,
    rows,
)
from tests.inventory.store.casework import add_issued, add_order, add_purchase, ids_of_clients, move
from tests.inventory.store.chunked import unknown_id
from tests.inventory.store.scan_rows import add_leaf

Given = dict[str, Any]


def test_issuance_goes_from_request_to_proof(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        row, foreign = open_case(tx, one, "shop1001.example"), open_case(tx, two, "b.example")
        first = issuances.add(
            tx, issuances.NewIssuance(case_id=row.id, key_type="ec-p256", csr="PEM")
        )
        other = issuances.add(tx, issuances.NewIssuance(case_id=foreign.id))
        issuances.set_key_reference(tx, first, "machine:/keys/1")
        (asked,) = issuances.of_case(tx.conn, row.id)
        sha256 = add_certificate(tx, "leaf", serial="2a", not_after=AT + 9)
    assert (asked.id, asked.key_reference, asked.csr) == (first, "machine:/keys/1", "PEM")
    assert (asked.created_at, asked.sha256, asked.der) == (AT, None, None)
    with pair.write(LATER) as tx:
        issuances.record_live(tx, row.id)
        issuances.record_received(tx, first, sha256, ("c" * 64, "d" * 64))
        (came,) = issuances.of_case(tx.conn, row.id)
        issuances.record_live(tx, row.id)
        issuances.record_live(tx, foreign.id)
        found = issuances.of_cases(tx.conn, [foreign.id, row.id])
    assert came.live_at is None, "what has not come cannot be seen"
    assert (came.sha256, came.received_at) == (sha256, AT + DAY)
    assert came.chain == ("c" * 64, "d" * 64)
    assert (came.der, came.serial, came.not_after) == (b"leaf", "2a", AT + 9)
    assert [r.live_at for r in found[row.id]] == [AT + DAY]
    assert [(r.id, r.live_at) for r in found[foreign.id]] == [(other, None)]
    with pair.write(NOW) as tx:
        issuances.record_live(tx, row.id)
        (kept,) = issuances.of_case(tx.conn, row.id)
        assert kept.live_at == AT + DAY, "the first proof stays"
        assert (
            issuances.of_cases(tx.conn, []) == issuances.of_cases(tx.conn, [foreign.id + 99]) == {}
        )


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({}, {"received rsa", "live rsa"}),
        ({"key_type": "rsa"}, {"received rsa", "live rsa", "asked ec"}),
        ({"key_type": "ec"}, {"received rsa", "live rsa", "asked rsa"}),
        ({"also_received": True}, {"live rsa"}),
        ({"also_received": True, "key_type": "ec"}, {"received rsa", "live rsa", "asked rsa"}),
    ],
)
def test_new_request_drops_what_was_not_live(pair: Database, given: Given, left: set[str]) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        row, foreign = open_case(tx, one, "shop1001.example"), open_case(tx, two, "b.example")
        made = {}
        for label, key_type in (("live rsa", "rsa"), ("received rsa", "rsa"), ("asked rsa", "rsa")):
            made[label] = issuances.add(
                tx, issuances.NewIssuance(case_id=row.id, key_type=key_type)
            )
            if not label.startswith("asked"):
                issuances.record_received(tx, made[label], add_certificate(tx, label), ())
            if label.startswith("live"):
                issuances.record_live(tx, row.id)
        made["asked ec"] = issuances.add(tx, issuances.NewIssuance(case_id=row.id, key_type="ec"))
        issuances.add(tx, issuances.NewIssuance(case_id=foreign.id, key_type="rsa"))
        for _ in range(2):
            issuances.drop(tx, row.id, **given)
        found = issuances.of_cases(tx.conn, [row.id, foreign.id])
    labels = {row_id: label for label, row_id in made.items()}
    assert {labels[r.id] for r in found[row.id]} == left
    assert len(found[foreign.id]) == 1, "of another client"


def test_last_issued_of_an_order_was_seen_live_and_ends_last(pair: Database) -> None:
    with pair.write(NOW) as tx:
        order, other = (
            add_order(tx, ONE, "shop1001.example"),
            add_order(tx, ONE, "shop1001.example"),
        )
        assert issuances.last_of_purchase(tx.conn, order) == []
        ends = {"early": AT + 1, "late": AT + 9, "not live": AT + 99, "dateless": None}
        for label, end in ends.items():
            sha256 = add_certificate(tx, label, not_after=end)
            live_at = None if label == "not live" else AT
            issuances.add(tx, issuances.NewIssuance(order_id=order, sha256=sha256, live_at=live_at))
        late = {"sha256": fingerprint("late"), "not_after": AT + 9}
        assert [r.as_dict() for r in issuances.last_of_purchase(tx.conn, order)] == [late]
        assert issuances.last_of_purchase(tx.conn, other) == []


def test_expected_certificates_are_those_of_cases_and_of_orders_linked_by_hand(
    pair: Database,
) -> None:
    with pair.write(NOW) as tx:
        assert issuances.expected(tx.conn) == []
        one, two = ids_of_clients(tx)
        live = open_case(tx, one, "shop1001.example", "www.shop1001.example")
        add_issued(tx, live, "live", live=True, not_after=AT + 9)
        waiting = open_case(tx, two, "shop1002.example")
        add_issued(tx, waiting, "waiting", not_after=AT + 5)
        issuances.add(tx, issuances.NewIssuance(case_id=waiting.id))
        for state in ("declined", "cancelled"):
            row = open_case(tx, one, "old.shop1001.example")
            add_issued(tx, row, state)
            move(tx, row, state)
        order = add_order(tx, TWO, "shop1002.example")
        sha256 = add_certificate(tx, "by hand")
        issuances.add(tx, issuances.NewIssuance(order_id=order, sha256=sha256))
        issuances.add(tx, issuances.NewIssuance(order_id=order))
        found = issuances.expected(tx.conn)
    keys = ("client_id", "names", "sha256", "live_at", "not_after")
    assert [tuple(getattr(r, k) for k in keys) for r in found] == [
        (one, ("shop1001.example", "www.shop1001.example"), fingerprint("live"), AT, AT + 9),
        (two, ("shop1002.example",), fingerprint("waiting"), None, AT + 5),
        (two, ("shop1002.example",), sha256, None, None),
    ]


def test_certificate_is_attached_once_to_an_order_that_exists(pair: Database) -> None:
    row_id, other = add_purchase(pair), add_purchase(pair)
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        leaf = add_leaf(tx, "leaf")
        issuances.attach(tx, row_id, leaf)
        issuances.attach(tx, other, leaf)
    with pair.write(LATER) as tx, pytest.raises(Conflict, match="linked to this purchase already"):
        issuances.attach(tx, row_id, leaf)
    for order_id, sha256 in ((unknown_id(0), leaf), (row_id, "0" * 64)):
        with pytest.raises(exc.IntegrityError), pair.write(LATER) as tx:
            issuances.attach(tx, order_id, sha256)
    with pair.read() as conn:
        found = [(r["order_id"], r["created_at"], r["received_at"]) for r in rows(conn, Issuance)]
    assert found == [(row_id, AT, AT), (other, AT, AT)]
    detail = {"fingerprint": leaf}
    assert audited(pair, known) == [("attach", "order", i, detail) for i in (row_id, other)]
