"""References of hostile pages and redirects."""

from __future__ import annotations

import pytest

from certmgr.scan.page_references import css_urls
from certmgr.scan.web_urls import is_impossible_name, resolved


@pytest.mark.parametrize("host", ["-p" * 200_000, "p." * 200_000, "-" * 400_000, "a" * 400_000])
def test_long_host_takes_linear_time(host: str) -> None:
    # A redirect is resolved in the loop of the scan, where others would wait.
    assert not is_impossible_name(f"https://{host}\x01/")


def test_host_may_begin_with_digits_and_hyphens() -> None:
    assert resolved("https://a.test/", "//4-u.test:444/x") == "https://4-u.test:444/x"
    assert is_impossible_name("https://4-u..test:444/x")
    assert not is_impossible_name("https://4-4/x")


def test_unclosed_comments_of_a_style_sheet_take_linear_time() -> None:
    css = "a { background: url(http://a.test/x) }" + "/* " * 400_000 + "url(http://b.test/x)"
    assert css_urls(css) == ["http://a.test/x"]
