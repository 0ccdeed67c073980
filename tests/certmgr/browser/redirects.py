"""Situations of redirects: headers and pages that lead elsewhere, also away from HTTPS."""

from __future__ import annotations

from collections.abc import Mapping

from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import Answer, page, redirect, routes, tls
from tests.certmgr.browser.situations import Group

GROUP = Group("redirects")

_PLAIN_PAGE = page("<title>Plain</title><h1>Plain</h1>")
_NEXT = page("<title>Next</title><h1>Next</h1>")
_HTTPS, _HTTP = "https://{host}:{https}", "http://{host}:{http}"


def _add(
    name: str,
    answer: Answer,
    plain: Answer | None = None,
    *aliases: str,
    named: bool = True,
    more: Mapping[str, Answer] | None = None,
    relative: bool = False,
) -> None:
    """Add a site with an answer to / over HTTPS; /next is a page.

    Args:
        name: Its name.
        answer: The answer.
        plain: The answer over plain HTTP. Default: a redirect to /next over HTTPS.
        aliases: Further names of the server.
        named: Whether its certificate has the aliases.
        more: Answers of further paths.
        relative: Whether only ``make soak`` judges it.
    """
    away = redirect("https://www4.nowhere.test/")
    usual = {"/": answer, "/next": _NEXT, "/back": redirect("/"), "/away": away}
    pages = routes(usual | dict(more or {}))
    GROUP.add(
        name,
        lambda host: tls(leaf(host, *(aliases if named else ())), pages),
        answer=plain or redirect(_HTTPS + "/next"),
        aliases=aliases,
        relative=relative,
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
    redirect("https://other.example.test:{https}/next"),
    None,
    "other.example.test",
    named=False,
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

# The certificate of the server to which a redirect leads
_OTHERS = {
    "sibling": "www.to-sibling.redirects.test",
    "another-site": "www3.example.test",
}
for _name, _alias in _OTHERS.items():
    _to = redirect(f"https://{_alias}:{{https}}/next")
    _add(f"to-{_name}-in-certificate", _to, None, _alias, relative=True)
    _add(f"to-{_name}-not-in-certificate", _to, None, _alias, named=False, relative=True)
_add(
    "refresh-to-another-site-not-in-certificate",
    page("x", "Refresh: 0; url=https://www2.example.test:{https}/"),
    None,
    "www2.example.test",
    named=False,
    relative=True,
)

# Many redirects: browsers follow 19
for _count in (11, 19, 20):
    _chain = {f"/{n}": redirect(f"/{n + 1}") for n in range(_count - 1)}
    _add(
        f"status-301-{_count}-times",
        redirect("/0"),
        more=_chain | {f"/{_count - 1}": _NEXT},
        relative=True,
    )

# Odd targets
for _name, _location in {
    "three-slashes": "https:///{host}:{https}/next",
    "one-slash": "https:/next",
    "long": "/next?" + "x" * 3000,
    "very-long": "/next?" + "x" * 12_000,
    "percent-signs-in-host": "https://%77ww.nowhere.test/",
    "label-of-64-letters": "https://" + "a" * 64 + ".nowhere.test/",
    "empty-label": "https://a..nowhere.test/",
    "port-word": "https://{host}:abc/",
    "port-99999": "https://{host}:99999/",
    "host-empty": "https:///",
    "ws": "wss://{host}/",
    "chrome": "chrome://version",
    "userless-address": "https://@/",
}.items():
    _add(f"location-{_name}", redirect(_location), relative=True)
