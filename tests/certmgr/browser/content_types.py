"""Situations of Content-Type and Content-Disposition: which pages a browser shows as HTML.

Each has a form with a field for a password over plain HTTP. If Chromium shows the field, certmgr
must find it.
"""

from __future__ import annotations

from tests.certmgr.browser.answers import FORM, HTML, ok
from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import raw
from tests.certmgr.browser.situations import Group

GROUP = Group("content-types")
_TESTED = frozenset({"sniffed-pre", "disposition-quoted", "two-types-charset-of-first"})


def _add(name: str, data: bytes) -> None:
    GROUP.add(name, leaf, answer=raw(data), scheme="http", relative=name not in _TESTED)


TYPES = {
    "parameter-without-value": "text/html; charset",
    "two-semicolons": "text/html;;charset=utf-8",
    "charset-quoted": 'text/html; charset="utf-8"',
    "tab": "text/html\tx",
    "blank": "text/html x",
    "two-slashes": "text/html/x",
    "longer": "text/htmlx",
    "blank-before-slash": "text /html",
    "without-type": "/html",
    "without-subtype": "text/",
    "word": "html",
    "any": "*/*",
    "any-text": "text/*",
    "unknown": "unknown/unknown",
    "application-unknown": "application/unknown",
    "invented": "x/x",
    "plain-iso": "text/plain; charset=iso-8859-1",
    "css": "text/css",
    "csv": "text/csv",
    "markdown": "text/markdown",
    "php": "application/x-httpd-php",
    "html-then-plain": "text/html,text/plain",
    "plain-then-html": "text/plain,text/html",
    "comma-first": ",text/html",
    "comma-last": "text/html,",
    "comma-in-parameter": 'text/html; boundary="a,b"',
    "json": "application/json",
    "calendar": "text/calendar",
    "rdf": "text/rdf",
    "mathml": "application/mathml+xml",
    "force-download": "application/force-download",
    "charset-utf-16": "text/html; charset=utf-16",
    "charset-replacement": "text/html; charset=replacement",
    "charset-twice": "text/html;charset=utf-8;charset=utf-16",
}
for _name, _type in TYPES.items():
    _add(f"type-{_name}", ok(f"Content-Type: {_type}\r\n".encode()))

# Types of XML, whose pages are read by the rules of XML.
_XHTML = b'<html xmlns="http://www.w3.org/1999/xhtml"><body><input type="password"/></body></html>'
for _name, _type in {
    "xsl": "text/xsl",
    "xslt": "application/xslt+xml",
    "invented-xml": "x/x+xml",
    "text-xml": "text/xml",
    "xml-dtd": "application/xml-dtd",
    "external-entity": "text/xml-external-parsed-entity",
}.items():
    _add(f"type-{_name}", ok(f"Content-Type: {_type}\r\n".encode()))
    _add(f"type-{_name}-with-xhtml", ok(f"Content-Type: {_type}\r\n".encode(), body=_XHTML))

TWO = {
    "plain-html": ("text/plain", "text/html"),
    "html-plain": ("text/html", "text/plain"),
    "html-empty": ("text/html", ""),
    "html-word": ("text/html", "x"),
    "html-any": ("text/html", "*/*"),
    "charset-of-first": ("text/html; charset=utf-16", "text/html"),
    "charset-of-second": ("text/html", "text/html; charset=utf-16"),
    "charset-of-another": ("text/plain; charset=utf-16", "text/html"),
    "charset-and-another": ("text/html; charset=utf-16", "text/plain", "text/html"),
}
for _name, _types in TWO.items():
    _add(f"two-types-{_name}", ok(*(f"Content-Type: {t}\r\n".encode() for t in _types)))

# Without a type, the first bytes decide.
_FIELD = b"<input type=password>"
SNIFFED = {
    "pre": b"<pre>" + _FIELD,
    "article": b"<article>" + _FIELD,
    "button": b"<button></button>" + _FIELD,
    "h1-and-more": b"<h1x>" + _FIELD,
    "h2": b"<h2>" + _FIELD,
    "form": b"<form>" + _FIELD,
    "list": b"<ul>" + _FIELD,
    "slash": b"<div/>" + _FIELD,
    "line-break": b"<p\n>" + _FIELD,
    "quote": b'<a"x>' + _FIELD,
    "doctype-and-more": b"<!doctype htmlx>" + _FIELD,
    "doctype-of-two-lines": b"<!doctype\nhtml>" + _FIELD,
    "comment": b"<!--x-->" + FORM,
    "text-first": b"hello " + FORM,
    "field-first": _FIELD,
    "mark": b"\xef\xbb\xbf" + FORM,
    "zero-byte-first": b"\0" + FORM,
    "xml-declaration": b"<?xml version='1.0'?>" + FORM,
    "pdf-first": b"%PDF-1.4" + FORM,
    "form-feed-first": b"\x0c<html>" + _FIELD,
    "vertical-tab-first": b"\x0b<html>" + _FIELD,
    "after-507-blanks": b" " * 507 + b"<html>" + _FIELD,
    "after-511-blanks": b" " * 511 + b"<html>" + _FIELD,
    "after-1000-blanks": b" " * 1000 + b"<html>" + _FIELD,
}
for _name, _body in SNIFFED.items():
    _add(f"sniffed-{_name}", ok(body=_body))

DISPOSITIONS = {
    "attachment": "attachment",
    "inline": "inline",
    "capitals": "ATTACHMENT",
    "with-name": "attachment; filename=x",
    "name-only": "filename=x",
    "word": "x",
    "quoted": '"attachment"',
    "semicolon-first": ";attachment",
    "form-data": "form-data",
}
for _name, _value in DISPOSITIONS.items():
    _add(f"disposition-{_name}", ok(HTML, f"Content-Disposition: {_value}\r\n".encode()))
