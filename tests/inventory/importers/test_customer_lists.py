"""Rows of foreign lists: hostile cells."""

from __future__ import annotations

import pytest

from inventory.importers.customer_lists import is_total


@pytest.mark.parametrize("cell", ["." * 120_000, "1" * 120_000 + "!x!", ", " * 60_000])
def test_long_cell_is_no_amount(cell: str) -> None:
    # The parts of the expression for amounts match the same characters: it would take minutes.
    assert not is_total({"client": "Total", "note": cell})


def test_row_of_amounts_is_a_total() -> None:
    assert is_total({"client": "Total", "note": "1,234.00 EUR", "domain": "57 clients"})
