"""Escaping of texts for CSV files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inventory.text import guard_cell, unguard_cell


@given(st.text(max_size=30))
def test_guarded_cell_is_not_a_formula_and_is_restored(value: str) -> None:
    assert unguard_cell(guard_cell(value)) == value
    assert not guard_cell(value).startswith(("=", "+", "-", "@", "\t", "\r"))
