"""Refresh, the header and the meta element (HTML standard, "shared declarative refresh steps")."""

from __future__ import annotations

import re
from urllib.parse import urldefrag

from certmgr.scan.web_urls import resolved

MAX_SECONDS = 1e6
# A digit is needed, as in Chromium. The standard also accepts a point alone.
_DELAY = re.compile(r"\s*(?=\.?[0-9])([0-9]*)([0-9.]*)")
_URL = re.compile(r"(?i)url\s*=\s*")


def parse_refresh(value: str, url: str, base: str | None = None) -> tuple[str, float] | None:
    """Return where a page sends its visitors, and after how many seconds.

    Returns None if the value is not valid, if it names no http(s) URL, or if it reloads the page.

    Args:
        value: The header, or the attribute ``content``.
        url: The URL of the page.
        base: The base URL of the document, if it is another one.
    """
    delay = _DELAY.match(value)
    if delay is None:
        return None
    rest = value[delay.end() :]
    # Without a URL the page reloads itself.
    if not rest or rest[0] not in ";, \t\n\r\f":
        return None
    rest = rest.lstrip()
    if rest[:1] in (";", ","):
        rest = rest[1:].lstrip()
    if match := _URL.match(rest):
        rest = rest[match.end() :]
    if rest[:1] in ("'", '"'):
        rest = rest[1:].partition(rest[0])[0]
    target = resolved(base or url, rest)
    if target is None or target == urldefrag(url).url:
        return None
    # Browsers ignore the fraction. The cut keeps a hostile number of any length out of int().
    return target, min(float(int(delay[1][:7] or "0")), MAX_SECONDS)
