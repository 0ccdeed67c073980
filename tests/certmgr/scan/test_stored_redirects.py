"""Which redirects a browser stores. tests/certmgr/browser/pages.py asks Chromium the same."""

from __future__ import annotations

import pytest

from certmgr.scan.stored_redirects import is_stored

DATE = ("date", "Wed, 25 Nov 2026 10:00:00 GMT")
LATER = ("expires", "Wed, 25 Nov 2026 11:00:00 GMT")
PAST = ("expires", "Thu, 01 Jan 1970 00:00:00 GMT")


@pytest.mark.parametrize(
    ("headers", "permanent", "temporary"),
    [
        ((), True, False),
        ((("cache-control", "private"),), True, False),
        ((("cache-control", "max-age=60"),), True, True),
        ((("cache-control", "private, Max-Age=60"),), True, True),
        ((("cache-control", 'max-age="60"'),), True, True),
        ((("cache-control", "max-age=60"), ("age", "61")), False, False),
        ((("cache-control", "max-age=60"), ("age", "unknown")), True, True),
        ((("cache-control", "max-age=0"),), False, False),
        ((("cache-control", "max-age=60, no-store"),), False, False),
        ((("cache-control", "max-age=60"), ("cache-control", "no-cache")), False, False),
        ((("pragma", "no-cache"),), False, False),
        ((("vary", "Accept-Encoding"),), True, False),
        ((("vary", "Accept-Encoding, Cookie"),), False, False),
        ((("vary", "*"), ("cache-control", "max-age=60")), False, False),
        ((DATE, LATER), True, True),
        ((LATER, ("date", "yesterday")), True, True),
        ((DATE, PAST), False, False),
        ((PAST,), False, False),
        ((("expires", "0"),), False, False),
        ((("expires", "-1"), DATE), False, False),
        ((("expires", "0"), ("cache-control", "max-age=60")), True, True),
    ],
)
def test_redirect_is_stored_by_its_status_and_lifetime(
    headers: tuple[tuple[str, str], ...], permanent: bool, temporary: bool
) -> None:
    assert [is_stored(status, headers) for status in (301, 308)] == [permanent] * 2
    assert [is_stored(status, headers) for status in (302, 303, 307)] == [temporary] * 3
