"""Situations of Refresh, the header and the element: which forms lead a browser away.

Each leads to a name that does not exist, so a browser that follows it shows an error.
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
    "time-point-only": f".; url={_AWAY}",
    "time-two-points": f"0.0.0; url={_AWAY}",
    "time-zeros": f"000; url={_AWAY}",
    "time-word": f"x; url={_AWAY}",
    "time-then-word": f"0s; url={_AWAY}",
    "time-exponent": f"0e0; url={_AWAY}",
    "two-semicolons": f"0;; url={_AWAY}",
    "semicolon-and-comma": f"0;, url={_AWAY}",
    "blanks-before-semicolon": f"0   ; url={_AWAY}",
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
}
for _name, _body in ELEMENTS.items():
    _add(f"element-{_name}", page(_body))
