"""Escaping of texts for CSV files."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inventory.text import guard_cell, unguard_cell

SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
HOSTILE = st.text(alphabet="a1;,\t\r\n\"' =+-@|\uff1d\u00a0", max_size=20)


@given(st.one_of(st.text(max_size=30), HOSTILE))
@example("'")
@example("\n\n=x")
@example(";'=x")
def test_guarded_cell_is_not_a_formula_and_is_restored(value: str) -> None:
    assert unguard_cell(guard_cell(value)) == value
    assert not guard_cell(value).startswith(SIGNS)


@given(st.lists(HOSTILE, min_size=1, max_size=3), st.sampled_from([",", ";", "\t"]))
@example(["x", "a;=HYPERLINK(1)"], ";")
@example(["x", 'a "b";=1+1'], ";")
@example(["x", "a,b\n=1+1"], ";")
@example(["x", 'a,b\n"=1+1'], ";")
@example(["x", "a\t=1+1"], "\t")
@example(["x", 'a; "=1+1'], ";")
def test_no_cell_becomes_a_formula_in_a_spreadsheet_with_another_separator(
    cells: list[str], separator: str
) -> None:
    """Excel separates cells by the list separator of the country, a semicolon in many."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow([guard_cell(c) for c in cells])
    read = csv.reader(io.StringIO(written.getvalue(), newline=""), delimiter=separator)
    for cell in (c for row in read for c in row):
        assert not cell.lstrip(' "\u00a0').startswith(("=", "+", "-", "@", "\uff1d")), written


@pytest.mark.parametrize(
    "text",
    [
        "shop.example; www.shop.example",
        "one\n\ntwo",
        "a - b, +49 30 1",
        'say "no"; or "yes"',
        "a=b",
    ],
)
def test_ordinary_text_is_written_as_it_is(text: str) -> None:
    assert guard_cell(text) == text


def test_long_cell_of_blanks_and_separators_takes_linear_time() -> None:
    # A search from each of the characters would take hours.
    for text in (";" * 99_999, '"' * 99_999, "\n" * 99_999, ' "' * 99_999, "; " * 99_999):
        guarded = guard_cell(text)
        assert unguard_cell(guarded) == text
