"""Situations of Refresh, the header and the element: which forms lead a browser away.

Each leads to a name that does not exist, so a browser that follows it shows an error.

Two forms are left out, because the difference is intended. A browser follows the Refresh of an
answer with status 500, and certmgr leaves it undetermined, since such an error may be over soon;
and it follows one that a script writes, and certmgr runs no script. Chromium stays at a page whose
Refresh names a URL that is empty, ``data:``, of an unknown scheme, or a part of the page, or shows
a blank one for an invalid URL; certmgr stays too. DevTools does not report the end of such a visit.
"""

from __future__ import annotations

from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import Answer, Site, page, tls
from tests.certmgr.browser.situations import Group

GROUP = Group("refreshes")
_ORDINARY = frozenset({"value-without-url-word", "element-in-body"})
_AWAY = "https://www9.nowhere.test/"


_NEXT = page("<h1>Next</h1>")


def _add(name: str, answer: Answer) -> None:
    def first(site: Site, path: str) -> bytes:
        return (answer if path == "/" else _NEXT)(site, path)

    GROUP.add(name, lambda host: tls(leaf(host), first), relative=name not in _ORDINARY)


VALUES = {
    "ordinary": f"0; url={_AWAY}",
    "without-url-word": f"0; {_AWAY}",
    "without-semicolon": f"0 url={_AWAY}",
    "without-both": f"0 {_AWAY}",
    "with-comma": f"0, url={_AWAY}",
    "with-comma-only": f"0,{_AWAY}",
    "joined": f"0url={_AWAY}",
    "without-time": f"; url={_AWAY}",
    "without-time-and-semicolon": f"url={_AWAY}",
    "only-the-url": _AWAY,
    "time-negative": f"-1; url={_AWAY}",
    "time-plus": f"+0; url={_AWAY}",
    "time-fraction": f"0.0; url={_AWAY}",
    "time-point-first": f".0; url={_AWAY}",
    "time-point-only": f".; url={_AWAY}",
    "time-two-points": f"0.0.0; url={_AWAY}",
    "time-zeros": f"000; url={_AWAY}",
    "time-word": f"x; url={_AWAY}",
    "time-then-word": f"0s; url={_AWAY}",
    "time-exponent": f"0e0; url={_AWAY}",
    "two-semicolons": f"0;; url={_AWAY}",
    "semicolon-and-comma": f"0;, url={_AWAY}",
    "tabs": f"0\t;\turl\t=\t{_AWAY}",
    "blanks-around-equals": f"0; url = {_AWAY}",
    "blanks-before-semicolon": f"0   ; url={_AWAY}",
    "capitals": f"0; URL={_AWAY}",
    "misspelt": f"0; ur={_AWAY}",
    "misspelt-u": f"0; u={_AWAY}",
    "without-equals": f"0; url {_AWAY}",
    "two-equals": f"0; url=={_AWAY}",
    "url-twice": f"0; url=url={_AWAY}",
    "quoted": f"0; url='{_AWAY}'",
    "quoted-double": f'0; url="{_AWAY}"',
    "quoted-open": f"0; url='{_AWAY}",
    "quoted-with-rest": f"0; url='{_AWAY}' more",
    "quoted-without-url-word": f"0; '{_AWAY}'",
    "quoted-mixed": f"0; url='{_AWAY}\"",
    "quoted-whole": f"'0; url={_AWAY}'",
    "quoted-with-blanks": f"0; url='  {_AWAY}  '",
    "with-rest": f"0; url={_AWAY} more",
    "with-parameter": f"0; url={_AWAY}; x=y",
    "url-of-script": f"0; url=javascript:location='{_AWAY}'",
    "url-without-scheme": "0; url=//www9.nowhere.test/",
    "url-with-backslashes": r"0; url=https:\\www9.nowhere.test\x",
    "empty": "",
    "blank-first": f"  0; url={_AWAY}",
}
for _name, _value in VALUES.items():
    _add(f"header-{_name}", page("x", f"Refresh: {_value}"))
    _content = _value.replace("&", "&amp;").replace('"', "&quot;")
    _add(f"value-{_name}", page(f'<title>x</title><meta http-equiv=refresh content="{_content}">'))

_TAG = f'<meta http-equiv=refresh content="0; url={_AWAY}">'
ELEMENTS = {
    "in-body": f"<body><p>x</p>{_TAG}",
    "in-table": f"<table><tr><td>{_TAG}</table>",
    "in-noscript": f"<noscript>{_TAG}</noscript>",
    "in-noscript-of-body": f"<body><noscript>{_TAG}</noscript>",
    "in-template": f"<template>{_TAG}</template>",
    "in-textarea": f"<textarea>{_TAG}</textarea>",
    "in-title": f"<title>{_TAG}</title>",
    "in-svg": f"<svg>{_TAG}</svg>",
    "in-svg-only": _TAG.replace("<meta", "<svg><circle"),
    "in-script": f"<script>'{_TAG}'</script>",
    "in-xmp": f"<xmp>{_TAG}</xmp>",
    "in-iframe": f"<iframe>{_TAG}</iframe>",
    "in-shadow-root": f"<div><template shadowrootmode=open>{_TAG}</template></div>",
    "in-select": f"<select>{_TAG}</select>",
    "in-hidden": f"<div hidden>{_TAG}</div>",
    "twice-first-to-page": f'<meta http-equiv=refresh content="9999; url=/x">{_TAG}',
    "twice-second-later": f'{_TAG}<meta http-equiv=refresh content="9999; url=/x">',
    "content-first": f'<meta content="0; url={_AWAY}" http-equiv=refresh>',
    "name-instead": f'<meta name=refresh content="0; url={_AWAY}">',
    "equiv-in-capitals": f'<META HTTP-EQUIV=REFRESH CONTENT="0; URL={_AWAY}">',
    "equiv-with-blank": f'<meta http-equiv="refresh " content="0; url={_AWAY}">',
    "equiv-with-blank-first": f'<meta http-equiv=" refresh" content="0; url={_AWAY}">',
    "equiv-twice": f'<meta http-equiv=x http-equiv=refresh content="0; url={_AWAY}">',
    "content-twice": f'<meta http-equiv=refresh content="9999" content="0; url={_AWAY}">',
    "without-quotes": f"<meta http-equiv=refresh content=0;url={_AWAY}>",
    "with-entities": f'<meta http-equiv=refresh content="0&#59; url&#61;{_AWAY}">',
    "with-line-breaks": f'<meta\nhttp-equiv=refresh\ncontent="0;\nurl=\n{_AWAY}">',
    "with-base": '<base href="https://www9.nowhere.test/"><meta http-equiv=refresh'
    ' content="0; url=x">',
    "with-base-after": '<meta http-equiv=refresh content="0; url=x">'
    '<base href="https://www9.nowhere.test/">',
    "after-end": f"<html><body>x</body></html>{_TAG}",
    "removed-by-script": f"{_TAG}<script>document.querySelector('meta').remove()</script>",
    "open": f'<meta http-equiv=refresh content="0; url={_AWAY}"',
}
for _name, _body in ELEMENTS.items():
    _add(f"element-{_name}", page(_body))
_add(
    "header-twice",
    page("x", "Refresh: 9999; url=/x", f"Refresh: 0; url={_AWAY}"),
)
_add("header-twice-away-first", page("x", f"Refresh: 0; url={_AWAY}", "Refresh: 9999; url=/x"))
_add("header-and-element", page(_TAG, "Refresh: 9999; url=/x"))
_add("header-of-redirect", page("x", "Location: /x", f"Refresh: 0; url={_AWAY}", status="200 OK"))
_add("header-of-404", page("x", f"Refresh: 0; url={_AWAY}", status="404 Not Found"))
_add("header-of-401", page("x", f"Refresh: 0; url={_AWAY}", status="401 Login"))
_add("header-of-text", page("x", f"Refresh: 0; url={_AWAY}", content_type="text/plain"))
_add("header-of-image", page("x", f"Refresh: 0; url={_AWAY}", content_type="image/svg+xml"))
_add("header-of-json", page("{}", f"Refresh: 0; url={_AWAY}", content_type="application/json"))
_add("header-of-empty-page", page("", f"Refresh: 0; url={_AWAY}"))
_add("element-in-text", page(_TAG, content_type="text/plain"))
_add(
    "element-in-xhtml",
    page(
        f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title>{_TAG[:-1]}/></head>'
        "<body/></html>".replace("=refresh", '="refresh"'),
        content_type="application/xhtml+xml",
    ),
)
_add("element-in-utf-16", page(_TAG.encode("utf-16"), content_type="text/html"))
