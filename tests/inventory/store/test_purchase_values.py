"""Values of a purchase: amounts, currencies and the end of a term."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from inventory.errors import UsageError
from inventory.store import (
    purchase_values,
)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (None, None),
        (" ", None),
        ("49.90", "49.90"),
        (" 0 ", "0"),
        ("1e3", "1000"),
        ("999999999.9999", "999999999.9999"),
    ],
)
def test_amount_is_stored_as_plain_decimal_text(typed: str | None, stored: str | None) -> None:
    assert purchase_values.amount(typed, "price") == stored


@pytest.mark.parametrize("typed", ["0.00001", "1000000000", "Infinity", "-0.01"])
def test_amount_out_of_its_limits_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="The fee"):
        purchase_values.amount(typed, "fee")


def test_currency_is_a_code_of_iso_4217() -> None:
    assert purchase_values.currency(" eur ") == "EUR"
    assert purchase_values.currency("") is None
    with pytest.raises(UsageError, match="'XXY' is not a currency"):
        purchase_values.currency("XXY")
    with pytest.raises(UsageError, match="the limit is 3"):
        purchase_values.currency("EURO")


def test_term_ends_one_second_before_its_anniversary() -> None:
    start = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    assert purchase_values.years_later(start, 2) == datetime(2028, 3, 1, 12, 29, 59, tzinfo=UTC)
    leap = datetime(2024, 2, 29, tzinfo=UTC)
    assert purchase_values.years_later(leap, 4) == datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC)
