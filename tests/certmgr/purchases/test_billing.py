"""Invoice lines of a month."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from certmgr.purchases.billing import invoice_lines, month_span, totals
from inventory.records import BilledCase, ListedPurchase
from tests.records import record


def at(day: int) -> float:
    return datetime(2026, 11, day, tzinfo=UTC).timestamp()


def closed(client: str, day: int, **given: Any) -> BilledCase:
    case = {
        "client": client,
        "client_name": f"Client {client}",
        "billed_at": at(day),
        "reference": f"CM-{client}",
        "names": ("a.example",),
    }
    return record(BilledCase, **case | given)


def test_month_begins_and_ends_at_midnight() -> None:
    start, end = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    assert month_span("2026-11", UTC) == (start, end)


def test_purchases_and_installations_are_billed_with_their_amounts_or_the_default_fee() -> None:
    approved = {"fee": "25", "currency": "EUR", "approved_by": "Ada"}
    cases = [closed("1001", 5, **approved), closed("1002", 6)]
    bought = record(
        ListedPurchase,
        client="1001",
        client_name="Client 1001",
        starts_at=at(2),
        vendor="V",
        id=7,
        years=1,
        names=("a.example",),
        price="80",
        currency="CHF",
    )
    lines = invoice_lines(cases, [bought], Decimal(20), "EUR", UTC)
    assert [(e.client, e.kind, e.amount) for e in lines] == [
        ("1001", "purchase", Decimal(80)),
        ("1001", "installation", Decimal(25)),
        ("1002", "installation", Decimal(20)),
    ]
    assert totals(lines) == {"CHF": Decimal(80), "EUR": Decimal(45)}
