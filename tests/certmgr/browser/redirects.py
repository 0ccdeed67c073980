"""Situations of redirects: headers and pages that lead elsewhere, also away from HTTPS."""

from __future__ import annotations

from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import Answer, page, redirect, routes, tls
from tests.certmgr.browser.situations import Group

GROUP = Group("redirects")

_PLAIN_PAGE = page("<title>Plain</title><h1>Plain</h1>")
_NEXT = page("<title>Next</title><h1>Next</h1>")
_HTTPS, _HTTP = "https://{host}:{https}", "http://{host}:{http}"


def _add(name: str, answer: Answer, plain: Answer | None = None, *aliases: str) -> None:
    """Add a site with an answer to / over HTTPS; /next is a page."""
    away = redirect("https://www4.nowhere.test/")
    pages = routes({"/": answer, "/next": _NEXT, "/back": redirect("/"), "/away": away})
    GROUP.add(
        name,
        lambda host: tls(leaf(host, *aliases), pages),
        answer=plain or redirect(_HTTPS + "/next"),
        aliases=aliases,
    )


for _status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
    _add(f"status-{_status[:3]}", redirect("/next", status=_status))
_add("relative", redirect("next"))
_add("absolute", redirect(_HTTPS + "/next"))
_add("without-scheme", redirect("//{host}:{https}/next"))
_add("query-only", redirect("?x", status="302 Found"))
_add("backslashes", redirect(r"https:\\{host}:{https}\next"))
_add("blanks-around", redirect("   /next   "))
_add("capital-scheme", redirect("HTTPS://{host}:{https}/next"))
_add("umlaut", redirect("/next?ä"))
_add("loop", redirect("/"))
_add("loop-of-two", redirect("/back"))
_add("loop-with-plain-http", redirect(_HTTP + "/"), redirect(_HTTPS + "/"))
_add(
    "location-twice-different", page("", "Location: /next", "Location: /other", status="302 Found")
)
_add("location-twice-same", page("", "Location: /next", "Location: /next", status="302 Found"))
_add("location-empty", page("empty", "Location: ", status="302 Found"))
_add("location-invalid", redirect("http://[/"))
_add("location-port-0", redirect("https://{host}:0/"))
_add("location-unsafe-port", redirect("https://{host}:25/"))

# Away from HTTPS
_add("to-plain-http", redirect(_HTTP + "/"), _PLAIN_PAGE)
_add("refresh-header-to-plain-http", page("x", "Refresh: 0; url=" + _HTTP + "/"), _PLAIN_PAGE)
_add("refresh-header-upper-case", page("x", "REFRESH: 0;URL='" + _HTTP + "/'"), _PLAIN_PAGE)
_add(
    "refresh-tag-to-plain-http",
    page('<meta http-equiv=refresh content="0; url=' + _HTTP + '/">'),
    _PLAIN_PAGE,
)
_add(
    "refresh-tag-without-blank",
    page('<meta http-equiv=Refresh content="0;URL=' + _HTTP + '/">'),
    _PLAIN_PAGE,
)
_add("refresh-header-to-page", page("x", "Refresh: 0; url=/next"))
_add("refresh-tag-to-page", page('<meta http-equiv=refresh content="0; url=/next">'))
_add(
    "refresh-in-comment", page('<!-- <meta http-equiv=refresh content="0; url=' + _HTTP + '/"> -->')
)
_add("refresh-without-url", page("x", "Refresh: 3600"))

# Dead ends
_add("to-https-on-plain-port", redirect("https://{host}:{http}/"), _PLAIN_PAGE)
_add("to-unknown-name", redirect("https://www.nowhere.test/"))
_add("refresh-to-unknown-name", page("x", "Refresh: 0; url=https://www2.nowhere.test/"))
_add("to-unknown-name-by-a-page", redirect("/away"))
_add(
    "refresh-tag-to-unknown-name",
    page('<meta http-equiv=refresh content="0; url=https://www3.nowhere.test/">'),
)
_add("to-unsafe-port-of-another-site", redirect("https://www.example.test:25/"))
_add("to-closed-port", redirect("https://{host}:2/"))
_add(
    "to-name-not-in-certificate",
    lambda site, path: redirect("https://other.example.test:{https}/next")(site, path),
)
_add(
    "to-alias", redirect("https://alias.redirects.test:{https}/next"), None, "alias.redirects.test"
)
_add("to-missing-page", redirect("/missing"))

# Answers of nginx without a client certificate
for _status, _title in (
    ("400 Bad Request", "400 No required SSL certificate was sent"),
    ("495 SSL Certificate Error", "495 The SSL certificate error"),
    ("496 SSL Certificate Required", "496 No required SSL certificate was sent"),
    ("403 Forbidden", "403 Forbidden"),
    ("503 Service Unavailable", "503 Service Unavailable"),
):
    _add(
        f"status-{_status[:3]}-page",
        page(
            f"<html><head><title>{_title}</title></head><body>{_title}</body></html>",
            status=_status,
        ),
    )
