"""The values of a purchase: what an administrator or a file may state, and its limits.

Amounts are decimal texts, because binary floating point cannot represent most prices.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from babel.core import get_global
from sqlalchemy import Connection

from inventory.clock import Timestamp
from inventory.db.database import from_epoch, to_epoch
from inventory.errors import UsageError
from inventory.records import PurchaseRecord
from inventory.store import contacts, editing
from inventory.text import printable
from inventory.vocabulary import Party, ProductKind, Validation

BUYERS = (Party.CLIENT, Party.US)
# Offers, orders, invoices and proofs of a term; more is a folder that was listed by mistake.
MAX_DOCUMENTS = 50
# A date outside of this span is a typing error: nothing else in the inventory lies there.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
# Resellers sell prepaid terms of up to five years; a sixth year leaves room for a free rest.
LONGEST_TERM = 6 * 366 * 86_400
# The machine that recorded a validation may be in another time zone, or have a wrong clock.
CLOCK_TOLERANCE = 2 * 86_400


def amount(text: str | None, what: str) -> str | None:
    """Return a decimal amount as it is stored, such as ``49.90``.

    Args:
        text: The typed amount.
        what: The noun for the error message.

    Returns:
        The amount without exponent; None for an empty text.

    Raises:
        UsageError: The text is not an amount, or is outside of the limits.
    """
    value = editing.clean(text, what, 20)
    if value is None:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise UsageError(
            f"The {what} '{printable(value, 20)}' is not an amount", "", "Write 49.90."
        ) from None
    # Decimal accepts NaN, Infinity and 1e999999; none of them can be invoiced or printed.
    if (
        not number.is_finite()
        or number < 0
        or number >= 10**9
        or -int(number.as_tuple().exponent) > 4
    ):
        raise UsageError(
            f"The {what} '{printable(value, 20)}' is out of range",
            "it is 0 to 999,999,999, with at most 4 decimals",
        )
    return format(number, "f")


def currency(text: str | None) -> str | None:
    """Return a currency code of ISO 4217 in capitals; None for an empty text.

    Raises:
        UsageError: ISO 4217 has no such code.
    """
    value = editing.clean(text, "currency", 3)
    if value is None:
        return None
    if value.upper() not in get_global("all_currencies"):
        raise UsageError(
            f"'{printable(value, 10)}' is not a currency",
            "",
            "Write a code of ISO 4217 such as EUR.",
        )
    return value.upper()


def years_later(start: datetime, years: int) -> datetime:
    """Return the last second of a term of whole years.

    One year from 2026-03-01 ends on 2027-02-28 at 23:59:59. A term from 29 February ends before
    28 February of a year that is not a leap year.
    """
    year = start.year + years
    # A term from 29 February has no such day in most years.
    day = min(start.day, monthrange(year, start.month)[1])
    return start.replace(year=year, day=day) - timedelta(seconds=1)


def term_end(starts_at: Timestamp, years: int) -> int:
    """Return the last second of a term; both times are epoch seconds."""
    start = from_epoch(starts_at)
    assert start is not None
    return to_epoch(years_later(start, years))


def _years(value: int) -> int:
    # Vendors count whole years. A term of months or days is stated with its end.
    if not 1 <= value <= 5:
        raise UsageError(f"A term of {value} years", "vendors sell 1 to 3, and resellers up to 5")
    return value


def _date(value: datetime) -> int:
    if not EARLIEST <= value < LATEST:
        raise UsageError(
            f"The date {value.year:04}-{value.month:02}-{value.day:02} is out of range",
            "the dates of purchases lie between 2000 and 2100",
        )
    return to_epoch(value)


def _documents(value: Sequence[str]) -> tuple[str, ...]:
    paths = [editing.required(d, "document", 500) for d in value]
    if len(paths) > MAX_DOCUMENTS:
        raise UsageError(
            f"There are {len(paths)} documents", f"a purchase has at most {MAX_DOCUMENTS}"
        )
    return tuple(paths)


def _choice(what: str, allowed: Sequence[str]) -> Callable[[Any], str | None]:
    return lambda value: editing.choice(str(value).lower(), what, allowed)


# Column -> how a stated value is checked and converted. An empty value clears the column.
_CLEARABLE: Mapping[str, Callable[[Any], Any]] = {
    "vendor": lambda value: editing.required(value, "vendor", 120),
    "number": lambda value: editing.clean(value, "order number", 120),
    "price": lambda value: amount(value, "price"),
    "fee": lambda value: amount(value, "installation fee"),
    "warranty": lambda value: amount(value, "warranty"),
    "currency": currency,
    "documents": _documents,
    "note": lambda value: editing.clean(value, "note", editing.MAX_TEXT),
}
# Columns that always have a value, or whose value is never removed: None leaves them as they are.
_KEPT: Mapping[str, Callable[[Any], Any]] = {
    "validation": _choice("kind of validation", tuple(Validation)),
    "kind": _choice("kind of certificate", tuple(ProductKind)),
    "bought_by": _choice("buyer", BUYERS),
    "years": _years,
    "starts_at": _date,
    "ends_at": _date,
    "dcv_at": _date,
    "organisation_at": _date,
    "auto_renew": int,
}
# An empty cell of an imported file means the default of these columns.
_DEFAULT_IF_EMPTY = frozenset({"validation", "kind", "bought_by"})


def column_values(conn: Connection, given: Mapping[str, Any], client_id: int) -> dict[str, Any]:
    """Return the columns of a purchase for the values that an administrator or a file stated.

    Args:
        conn: The connection.
        given: Column -> value as stated: texts, numbers, aware datetimes, a list of documents. The
            key ``contact`` names a contact of the client.
        client_id: The client.

    Returns:
        Column -> value as it is stored; only those that were stated.

    Raises:
        UsageError: A value is invalid.
        NotFound: The client has no such contact.
    """
    values: dict[str, Any] = {}
    for column, convert in _KEPT.items():
        value = given.get(column)
        # 0 is a value (auto_renew); only None states nothing.
        if value is not None and not (column in _DEFAULT_IF_EMPTY and not value):
            values[column] = convert(value)
    for column, convert in _CLEARABLE.items():
        if column in given:
            values[column] = convert(given[column])
    if contact := given.get("contact"):
        # A contact of another client would receive this client's notices.
        values["contact_id"] = contacts.find(conn, contact, client_id).id
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseValues:
    """The columns of a purchase that an administrator states, as they are stored.

    Times are epoch seconds in UTC; ``price``, ``fee`` and ``warranty`` are decimal texts in
    ``currency``; ``documents`` are paths.
    """

    client_id: int
    vendor: str
    starts_at: Timestamp
    ends_at: Timestamp
    number: str | None = None
    validation: Validation | str = Validation.DV
    kind: ProductKind | str = ProductKind.SINGLE
    years: int = 1
    price: str | None = None
    fee: str | None = None
    currency: str | None = None
    warranty: str | None = None
    bought_by: Party | str = Party.CLIENT
    contact_id: int | None = None
    documents: tuple[str, ...] = ()
    auto_renew: int = 0
    dcv_at: Timestamp | None = None
    organisation_at: Timestamp | None = None
    note: str | None = None

    @classmethod
    def of(cls, row: PurchaseRecord) -> PurchaseValues:
        """Return the values of a stored purchase."""
        return cls(**{f.name: getattr(row, f.name) for f in fields(cls)})

    def columns(self) -> dict[str, Any]:
        """Return column -> value, for the database."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def check(purchase: PurchaseValues, names: Sequence[str], now: Timestamp) -> None:
    """Check that the values of a purchase fit each other.

    Args:
        purchase: The values.
        names: The names that it covers, as they are stored.
        now: The current time in epoch seconds.

    Raises:
        UsageError: They do not.
    """
    # A validation in the future would postpone the next one, and the reissue would fail.
    for validated_at in (purchase.dcv_at, purchase.organisation_at):
        if (validated_at or 0) > now + CLOCK_TOLERANCE:
            raise UsageError(
                "A validation lies in the future",
                "what is meant is when it was last done",
                "Correct the date.",
            )
    if purchase.ends_at <= purchase.starts_at:
        raise UsageError("The purchase ends before it starts", "", "Correct --start or --end.")
    if purchase.ends_at - purchase.starts_at > LONGEST_TERM:
        raise UsageError(
            "The purchase runs for more than six years",
            "no vendor sells that",
            "Correct --start or --end.",
        )
    # Invoices and reports add amounts per currency, so that one without it cannot be billed.
    if (purchase.price or purchase.fee) and not purchase.currency:
        raise UsageError("An amount needs a currency", "", "Give --currency EUR, for example.")
    _check_product(purchase, names)


def _check_product(purchase: PurchaseValues, names: Sequence[str]) -> None:
    """Check that the product can cover the names."""
    if not names:
        raise UsageError(
            "A purchase covers at least one name", "", "Name them: --name shop.example.com."
        )
    wildcards = [n for n in names if n.startswith("*.")]
    # Vendors include the name with www. in a single-name product.
    hosts = {n.removeprefix("www.") for n in names}
    if purchase.kind == ProductKind.SINGLE and (len(hosts) > 1 or wildcards):
        raise UsageError(
            f"A single-name product covers {len(names)} names", "", "Give --kind multi or wildcard."
        )
    if purchase.validation == Validation.EV and wildcards:
        raise UsageError(
            "There are no EV wildcards",
            "EV Guidelines 3.2.2.13",
            "Choose --validation ov, or list the names.",
        )


def product_of(names: Sequence[str]) -> ProductKind:
    """Return the smallest product that covers the names."""
    if any(n.startswith("*.") for n in names):
        return ProductKind.WILDCARD
    return (
        ProductKind.SINGLE
        if len({n.removeprefix("www.") for n in names}) <= 1
        else ProductKind.MULTI
    )
