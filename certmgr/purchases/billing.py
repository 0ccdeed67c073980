"""Work that was closed and what it costs, for the invoice of a month. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from inventory.errors import UsageError


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line of an invoice.

    ``kind``: installation (a case that was closed with proof), purchase (an order that we bought
    for the client).
    """

    client: str
    client_name: str
    day: datetime
    kind: str
    what: str
    amount: Decimal | None
    currency: str
    approved_by: str


def month_span(text: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """``2026-11``: its first moment, and the first one after it. Raises :class:`UsageError`."""
    try:
        start = datetime.strptime(text, "%Y-%m").replace(tzinfo=zone)
        return start, (start + timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):
        raise UsageError(f"'{text[:20]}' is not a month", "", "Write 2026-11.") from None


def billing(
    closed: Sequence[Mapping[str, Any]],
    bought: Sequence[Mapping[str, Any]],
    default_fee: Decimal,
    currency: str,
    zone: tzinfo,
) -> list[InvoiceLine]:
    """``closed``: cases of the month.

    ``bought``: orders that began in it and that we bought. A fee that nobody agreed on is the usual
    one.
    """
    found = []
    for row in closed:
        fee = Decimal(row["fee"]) if row["fee"] is not None else default_fee
        found.append(
            InvoiceLine(
                client=row["client"],
                client_name=row["client_name"],
                day=datetime.fromtimestamp(row["billed_at"], zone),
                kind="installation",
                what=f"{row['reference']}: {', '.join(row['names'][:5])}",
                amount=fee,
                currency=row["currency"]
                if row["fee"] is not None and row["currency"]
                else currency,
                approved_by=row["approved_by"] or "",
            )
        )
    for row in bought:
        price = Decimal(row["price"]) if row["price"] is not None else None
        what = (
            f"{row['vendor']} {row['number'] or '#' + str(row['id'])}, {row['years']} year(s):"
            f" {', '.join(row['names'][:5])}"
        )
        found.append(
            InvoiceLine(
                client=row["client"],
                client_name=row["client_name"],
                day=datetime.fromtimestamp(row["starts_at"], zone),
                kind="purchase",
                what=what,
                amount=price,
                currency=row["currency"] or currency,
                approved_by="",
            )
        )
    return sorted(found, key=lambda e: (e.client, e.day, e.kind))


def totals(entries: Sequence[InvoiceLine]) -> dict[str, Decimal]:
    """By currency."""
    found: dict[str, Decimal] = {}
    for entry in entries:
        if entry.amount is not None:
            found[entry.currency] = found.get(entry.currency, Decimal(0)) + entry.amount
    return found
