"""Cookies of one visit: a browser sends them again, and some sites redirect until they arrive."""

from __future__ import annotations

import email.message
import http.cookiejar
import urllib.request
from collections.abc import Iterable

MAX_HEADER = 8000  # characters of a Cookie header; beyond it none is sent
# A hostile site may set any number, and each is compared with each. RFC 6265 6.1 asks for 50.
MAX_COOKIES = 50
MAX_SET = 16_384  # characters of the Set-Cookie headers of one answer


def cookie_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the first Set-Cookie headers of an answer, which has up to 256 KB of them."""
    kept: list[tuple[str, str]] = []
    size = 0
    for name, value in headers:
        if name == "set-cookie":
            size += len(value)
            if len(kept) >= MAX_COOKIES or size > MAX_SET:
                break
            kept.append((name, value))
    return tuple(kept)


_MAX_PAIR = 4096  # bytes of name and value (draft-ietf-httpbis-rfc6265bis 5.6)


def _accepted(value: str, *, secure: bool) -> str:
    """Return a Set-Cookie header as the cookie jar reads it; empty if browsers refuse it.

    The jar follows RFC 6265, and browsers its successor (draft-ietf-httpbis-rfc6265bis 5.7).
    """
    pair, *rest = value.split(";")
    attributes = {}
    for part in rest:
        name, _, content = part.partition("=")
        attributes[name.strip().lower()] = content.strip().lower()
    is_secure = "secure" in attributes
    if is_secure and not secure:
        return ""
    needs_secure = attributes.get("samesite") == "none" or "partitioned" in attributes
    # A cookie without a name is sent as its value alone.
    name = pair.strip().lower().lstrip("=")
    hosts_own = name.startswith("__host-")
    if (needs_secure or hosts_own or name.startswith("__secure-")) and not is_secure:
        return ""
    if hosts_own and (attributes.get("domain") or attributes.get("path") != "/"):
        return ""
    if len(pair.encode("utf-8", "replace")) > _MAX_PAIR:
        return ""
    return value.lstrip().removeprefix("=")


class _Headers:
    """The interface that a cookie jar expects of a response."""

    def __init__(self, values: Iterable[str]) -> None:
        self._message = email.message.Message()
        for value in values:
            self._message.add_header("Set-Cookie", value)

    def info(self) -> email.message.Message:
        return self._message


class VisitCookies:
    """The cookies of one visit. The jar is created with the first cookie."""

    def __init__(self) -> None:
        self._jar: http.cookiejar.CookieJar | None = None

    def header(self, url: str) -> str | None:
        """Return the Cookie header for a URL; None if no cookie applies."""
        if self._jar is None or not len(self._jar):
            return None
        # A value for the cookie jar: nothing is opened.
        request = urllib.request.Request(url)  # noqa: S310
        self._jar.add_cookie_header(request)
        value = request.get_header("Cookie")
        if value is None or len(value) > MAX_HEADER:
            return None
        return value.encode("latin-1", "replace").decode("ascii", "replace").replace("\ufffd", "?")

    def store(self, url: str, headers: Iterable[tuple[str, str]]) -> None:
        """Store the cookies of an answer."""
        secure = url.startswith("https:")
        sent = [v for _, v in cookie_headers(headers)]
        values = [v for value in sent if (v := _accepted(value, secure=secure))]
        if not values:
            return
        self._jar = self._jar if self._jar is not None else http.cookiejar.CookieJar()
        # Bounded memory per visit.
        if len(self._jar) < MAX_COOKIES:
            request = urllib.request.Request(url)  # noqa: S310
            self._jar.extract_cookies(_Headers(values), request)  # type: ignore[arg-type]
