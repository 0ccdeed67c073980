"""Which redirects a browser stores, so that it follows them without another request. Pure.

Some sites set a cookie with a redirect to the same URL. If the redirect is stored, the browser
never sends the cookie: it goes round in its own cache, and shows ERR_TOO_MANY_REDIRECTS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Without a stated lifetime, browsers store these without end (RFC 9111 4.2.2, and Chromium).
_PERMANENT = frozenset({301, 308})
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_MAX_AGE = re.compile(r'max-age\s*=\s*"?([0-9]{1,18})')


def is_stored(status: int | None, headers: Sequence[tuple[str, str]]) -> bool:
    """Return whether a browser follows a redirect again without a request.

    Args:
        status: The status code of the redirect.
        headers: Names in lower case, values as text.
    """

    def words(name: str) -> list[str]:
        return [w.strip().lower() for n, v in headers if n == name for w in v.split(",")]

    control = words("cache-control")
    if {"no-store", "no-cache"} & set(control) or "no-cache" in words("pragma"):
        return False
    # With another cookie, the stored answer is that to another request.
    if {"*", "cookie"} & set(words("vary")):
        return False
    ages = [int(m[1]) for w in control if (m := _MAX_AGE.match(w))]
    if ages:
        spent = [int(a) for a in words("age") if a.isascii() and a.isdigit() and len(a) < 19]
        return ages[0] > (spent[0] if spent else 0)
    if ends := [v for n, v in headers if n == "expires"]:
        dates = [v for n, v in headers if n == "date"]
        end, sent = _date(ends[0]), _date(dates[0]) if dates else None
        # An invalid date, such as 0, has passed (RFC 9111 5.3). Browsers take the time of arrival
        # for a missing Date: a server without a clock states an end that has passed for long.
        return end is not None and end > (sent or _LONG_AGO)
    return status in _PERMANENT


def _date(text: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
