"""Situations of pages: what a site is for, how it sends visitors elsewhere, and its cookies."""

from __future__ import annotations

import re
from collections.abc import Callable

from OpenSSL import SSL

from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import Answer, Handler, Site, page, redirect, routes, serves, tls
from tests.certmgr.browser.situations import Group

GROUP = Group("pages")
_HTTP = "http://{host}:{http}/"
_PLAIN_PAGE = page("<title>Plain</title><h1>Plain</h1>")

# Hosts that are named for programs: only an empty answer of 4xx is their usual one.
for _status in ("404 Not Found", "405 Method Not Allowed", "502 Bad Gateway"):
    _name = f"program-empty-{_status[:3]}"
    GROUP.add(
        _name,
        serves(page("", status=_status)),
        host=f"api.{_name}.pages.test",
    )


def _add(name: str, answer: Answer, *, relative: bool = True) -> None:
    """Add a site with a page over plain HTTP, to which the one over HTTPS may lead."""
    pages = routes({"/": answer, "/next": page("<title>Next</title>")})
    GROUP.add(name, lambda host: tls(leaf(host), pages), answer=_PLAIN_PAGE, relative=relative)


# Forms of a refresh (HTML standard, shared declarative refresh steps)
for _name, _content in {
    "without-url": "0;{to}",
    "with-comma": "0,url={to}",
    "with-blank": "0 url={to}",
    "with-blanks": " 0 ; URL = {to} ",
    "quoted": "0;url='{to}'",
    "half-quoted": "0;url='{to}",
    "quoted-with-more": "0;url='{to}' x",
    "of-half-a-second": "0.5;url={to}",
    "of-point-five": ".5;url={to}",
    "negative": "-1;url={to}",
    "with-plus": "+0;url={to}",
    "with-two-semicolons": "0;;url={to}",
    "without-seconds": ";url={to}",
    "url-alone": "url={to}",
    "of-zeros": "000;url={to}",
    "of-letters": "0x;url={to}",
    "with-line-end": "0&#10;;url={to}",
    "url-without-equals": "0;url {to}",
    "to-script": "0;url=javascript:void(0)",
}.items():
    _tag = f'<meta http-equiv=refresh content="{_content.replace("{to}", _HTTP)}">'
    _add(f"refresh-{_name}", page("<!doctype html><title>x</title>" + _tag))
_TAG = f"<meta http-equiv=refresh content='0; url={_HTTP}'>"
for _name, _body in {
    "in-body": f"<body><p>x</p>{_TAG}",
    "in-noscript": f"<noscript>{_TAG}</noscript>",
    "in-template": f"<template>{_TAG}</template>",
    "in-textarea": f"<textarea>{_TAG}</textarea>",
    "in-svg": f"<svg><g>{_TAG}</g></svg>",
    "in-inner-document": f'<iframe srcdoc="{_TAG}"></iframe>',
    "in-shadow-root": f"<div><template shadowrootmode=open>{_TAG}</template></div>",
    "after-another": f"<meta http-equiv=refresh content='0; url=/next'>{_TAG}",
    "before-another": f"{_TAG}<meta http-equiv=refresh content='0; url=/next'>",
    "with-base": "<base href='/a/'><meta http-equiv=refresh content='0; url=../next'>",
    "of-other-name": f"<meta name=refresh content='0; url={_HTTP}'>",
}.items():
    _add(f"refresh-{_name}", page("<!doctype html><title>x</title>" + _body))
for _name, _header in {
    "header-without-url": f"Refresh: 0;{_HTTP}",
    "header-quoted": f'Refresh: 0; url="{_HTTP}"',
    "header-with-comma": f"Refresh: 0, url={_HTTP}",
}.items():
    _add(f"refresh-{_name}", page("x", _header))

# Statuses with a Location
for _number in (200, 201, 300, 305, 306, 309, 310, 399, 404):
    _add(f"location-with-status-{_number}", redirect(_HTTP, status=f"{_number} Odd"))
for _name, _lines in {
    "absent": ("X-Location: /next",),
    "in-capitals": ("LOCATION: /next",),
    "blank-before-colon": ("Location : /next",),
    "folded": ("Location:", " /next"),
    "with-fragment": ("Location: /next#a#b",),
    "with-tab": ("Location: /ne\txt",),
    "with-dots": ("Location: /a/./b/../../next",),
    "after-set-cookie": ("Set-Cookie: a=b", "Location: /next"),
    "second-empty": ("Location: /next", "Location:"),
}.items():
    _add(f"location-{_name}", page("x", *_lines, status="302 Found"))

# Statuses with a page
for _number in (206, 226, 299, 402, 407, 408, 409, 416, 421, 425, 426, 428, 431, 501, 505, 511):
    _add(f"status-{_number}", page("<title>x</title><h1>x</h1>", status=f"{_number} Odd"))
_add("login-bearer", page("<h1>x</h1>", "WWW-Authenticate: Bearer", status="401 No"))
_add("login-unknown", page("<h1>x</h1>", "WWW-Authenticate: Odd", status="401 No"))


# Cookies: the site redirects to itself until its cookie comes back.
def _needs_cookie(
    cookie: str, *headers: str, status: str = "302 Found"
) -> Callable[[str], Handler]:
    welcome = page("<title>Welcome</title>")

    def talk(connection: SSL.Connection, site: Site) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        known = re.search(rb"(?im)^cookie:.*ready", request)
        set_cookie = site.filled(f"Set-Cookie: {cookie}".encode()).decode()
        again = redirect("/", set_cookie, *headers, status=status)
        connection.sendall((welcome if known else again)(site, "/"))
        connection.shutdown()

    return lambda host: tls(leaf(host), talk=talk)


for _name, _cookie in {
    "plain": "a=ready",
    "secure": "a=ready; Secure; HttpOnly",
    "same-site": "a=ready; SameSite=Strict",
    "same-site-none": "a=ready; SameSite=None; Secure",
    "same-site-none-not-secure": "a=ready; SameSite=None",
    "of-domain": "a=ready; Domain={host}",
    "of-parent": "a=ready; Domain=.of-parent.pages.test",
    "of-another-domain": "a=ready; Domain=example.com",
    "of-public-suffix": "a=ready; Domain=test",
    "of-another-path": "a=ready; Path=/other",
    "expired": "a=ready; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "of-no-age": "a=ready; Max-Age=0",
    "of-negative-age": "a=ready; Max-Age=-1",
    "without-name": "ready",
    "empty-name": "=ready",
    "host-prefix": "__Host-a=ready; Secure; Path=/",
    "host-prefix-without-path": "__Host-a=ready; Secure; Path=/x",
    "secure-prefix-not-secure": "__Secure-a=ready",
    "with-old-date": "a=ready; expires=Wed, 13-Jan-2100 22:23:01 GMT",
    "with-odd-date": "a=ready; expires=tomorrow",
    "quoted": 'a="ready"',
    "with-blanks": "  a  =  ready  ",
    "partitioned": "a=ready; Secure; Partitioned",
    "partitioned-not-secure": "a=ready; Partitioned",
    "host-prefix-with-domain": "__Host-a=ready; Secure; Path=/; Domain={host}",
    "host-prefix-in-capitals": "__HOST-a=ready; Path=/",
    "with-umlaut": "ä=ready",
    "with-comma": "a=ready, b=c",
    "large": "a=ready" + "x" * 4200,
}.items():
    GROUP.add(
        f"cookie-{_name}",
        _needs_cookie(_cookie),
        host=f"www.{_name}.pages.test",
        relative=_name != "plain",
    )

# A browser stores a permanent redirect, and does not ask again after the cookie came.
for _status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
    for _name, _headers in {
        "plain": (),
        "not-stored": ("Cache-Control: no-store",),
        "not-cached": ("Cache-Control: no-cache",),
        "of-no-age": ("Cache-Control: max-age=0",),
        "of-an-hour": ("Cache-Control: max-age=3600",),
        "private": ("Cache-Control: private",),
        "expired": ("Expires: Thu, 01 Jan 1970 00:00:00 GMT",),
        "of-invalid-end": ("Expires: 0",),
        "not-cached-by-pragma": ("Pragma: no-cache",),
        "varying-by-cookie": ("Vary: Cookie",),
        "varying-by-all": ("Vary: *",),
    }.items():
        if _status[:3] in ("301", "308") or _name in ("plain", "of-an-hour"):
            GROUP.add(
                f"stored-{_status[:3]}-{_name}",
                _needs_cookie("a=ready", *_headers, status=_status),
                relative=(_status[:3], _name) != ("301", "plain"),
            )
