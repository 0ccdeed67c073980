"""Invoice lines of a month: closed installations and purchases, with their amounts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from inventory.errors import UsageError
from inventory.records import BilledCase, ListedPurchase
from inventory.store.purchases import label


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line of an invoice.

    Attributes:
        client: Customer number.
        day: Day of the installation, or first day of the purchased term.
        kind: installation (a case that was closed after verification) or purchase (bought by the
            provider for the client).
        description: Reference or vendor, with the first names.
        amount: Fee or price. None if the price of a purchase is not recorded.
        approved_by: Contact who approved the fee.
    """

    client: str
    client_name: str
    day: datetime
    kind: str
    description: str
    amount: Decimal | None
    currency: str
    approved_by: str


def month_span(text: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the first second of a month such as ``2026-11``, and of the month after it.

    Raises:
        UsageError: The text is not a month.
    """
    try:
        start = datetime.strptime(text, "%Y-%m").replace(tzinfo=zone)
        # 32 days after the first of a month always lies in the next month.
        return start, (start + timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):
        raise UsageError(f"'{text[:20]}' is not a month", "", "Write 2026-11.") from None


def invoice_lines(
    closed: Sequence[BilledCase],
    bought: Sequence[ListedPurchase],
    default_fee: Decimal,
    currency: str,
    zone: tzinfo,
) -> list[InvoiceLine]:
    """Return the invoice lines of a month, sorted by client and day.

    Args:
        closed: Rows of the cases that were closed in the month.
        bought: Rows of the provider's purchases whose term begins in the month.
        default_fee: Fee of an installation for which none was agreed.
        currency: Currency of the default fee, and of amounts without a currency.
        zone: Time zone of the days.
    """
    lines = []
    for row in closed:
        fee = Decimal(row.fee) if row.fee is not None else default_fee
        # Five names are enough to recognise the certificate on an invoice.
        lines.append(
            InvoiceLine(
                client=row.client,
                client_name=row.client_name,
                day=datetime.fromtimestamp(row.billed_at, zone),
                kind="installation",
                description=f"{row.reference}: {', '.join(row.names[:5])}",
                amount=fee,
                # The default fee is in the configured currency, whatever the case's currency is.
                currency=row.currency if row.fee is not None and row.currency else currency,
                approved_by=row.approved_by or "",
            )
        )
    for purchase in bought:
        # A purchase without a recorded price is listed without an amount, so that it is noticed.
        price = Decimal(purchase.price) if purchase.price is not None else None
        description = (
            f"{label(purchase.vendor, purchase.number, purchase.id)}, {purchase.years} year(s):"
            f" {', '.join(purchase.names[:5])}"
        )
        lines.append(
            InvoiceLine(
                client=purchase.client,
                client_name=purchase.client_name,
                day=datetime.fromtimestamp(purchase.starts_at, zone),
                kind="purchase",
                description=description,
                amount=price,
                currency=purchase.currency or currency,
                approved_by="",
            )
        )
    return sorted(lines, key=lambda e: (e.client, e.day, e.kind))


def totals(lines: Sequence[InvoiceLine]) -> dict[str, Decimal]:
    """Return the sum of the amounts per currency."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        if line.amount is not None:
            sums[line.currency] = sums.get(line.currency, Decimal(0)) + line.amount
    return sums
