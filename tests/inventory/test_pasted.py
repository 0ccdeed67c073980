"""Text from mails, pages and word processors."""

from __future__ import annotations

import pytest

from inventory.pasted import bare, plain, without_list_mark


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\u201cshop.test\u201d", "shop.test"),
        ("\u00abshop.test\u00bb", "shop.test"),
        ("`shop.test`", "shop.test"),
        ("\ufeff\u200eshop.test\u200b\u00a0", "shop.test"),
        ("shop.test", "shop.test"),
        ("it\u2019s", "it\u2019s"),
    ],
)
def test_marks_around_a_text_are_removed(text: str, expected: str) -> None:
    assert bare(text) == expected


def test_blanks_and_hyphens_are_the_simple_ones() -> None:
    assert plain("a\u00a0b\tc\u2013d\u200be\ufeff") == "a b c-de"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\u2022 shop.test", "shop.test"),
        ("- shop.test", "shop.test"),
        ("12) shop.test", "shop.test"),
        ("*.shop.test", "*.shop.test"),
        ("1.shop.test", "1.shop.test"),
    ],
)
def test_marks_of_lists_are_no_part_of_a_name(line: str, expected: str) -> None:
    assert without_list_mark(line) == expected
