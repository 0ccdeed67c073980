"""Which cookies of a redirect come back. tests/certmgr/browser/pages.py asks Chromium the same."""

from __future__ import annotations

import pytest

from certmgr.scan.cookies import MAX_COOKIES, VisitCookies

HTTPS, HTTP = "https://www.shop.test/", "http://www.shop.test/"


def sent(*cookies: str, set_by: str = HTTPS, to: str = HTTPS) -> str | None:
    """Return the Cookie header after an answer with these cookies."""
    jar = VisitCookies()
    jar.store(set_by, [("set-cookie", c) for c in cookies])
    return jar.header(to)


@pytest.mark.parametrize(
    ("cookie", "header"),
    [
        ("a=b", "a=b"),
        ("a=b; Secure; HttpOnly; SameSite=Lax", "a=b"),
        ("a=b; Domain=shop.test", "a=b"),
        ("a=b; Domain=other.test", None),
        ("a=b; SameSite=None; Secure", "a=b"),
        ("a=b; SameSite=None", None),
        ("a=b; samesite = NONE ; path=/", None),
        ("a=b; Secure; Partitioned", "a=b"),
        ("a=b; Partitioned", None),
        ("__Secure-a=b; Secure", "__Secure-a=b"),
        ("__Secure-a=b", None),
        ("__HOST-a=b; Secure; Path=/", "__HOST-a=b"),
        ("__Host-a=b; Path=/", None),
        ("__Host-a=b; Secure; Path=/x", None),
        ("__Host-a=b; Secure; Path=/; Domain=shop.test", None),
        ("=b", "b"),
        ("=__Host-b", None),
        ("b", "b"),
        ("a=" + "b" * 4094, "a=" + "b" * 4094),
        ("a=" + "b" * 4095, None),
        ("", None),
        (";", None),
        ("a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_cookie_comes_back_if_browsers_accept_it(cookie: str, header: str | None) -> None:
    assert sent(cookie) == header


def test_secure_cookie_needs_https() -> None:
    assert sent("a=b; Secure", set_by=HTTP) is None
    assert sent("a=b", set_by=HTTP) == "a=b"
    assert sent("a=b; Secure", to=HTTP) is None


def test_cookies_of_a_visit_are_bounded() -> None:
    jar = VisitCookies()
    for number in range(3 * MAX_COOKIES):
        jar.store(HTTPS, [("set-cookie", f"c{number}=x")])
    header = jar.header(HTTPS)
    assert header is not None
    assert header.count("=") == MAX_COOKIES
