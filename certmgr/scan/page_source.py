"""Whether a browser shows a body as a document, and its text. Pure."""

from __future__ import annotations

import re

import webencodings
from selectolax.lexbor import LexborHTMLParser

MAX_HEAD = 16_384
_ESCAPES = re.compile(rb"(\x1b(?:\([BIJ]|\$[@B]))")


def decode(body: bytes, content_type: str | None) -> str:
    """Decode a page by its BOM, the charset of its Content-Type, or a meta element.

    Browsers search the meta element in the first 1,024 bytes, and in the rest of the head.
    The default is windows-1252 (HTML standard 13.2.3.2).
    """
    label = (
        _charset(content_type or "")
        or _meta_charset(body[:1024])
        or _meta_charset(body[:MAX_HEAD], "head meta")
    )
    encoding = (webencodings.lookup(label) if label else None) or webencodings.lookup(
        "windows-1252"
    )
    if encoding.name == "iso-2022-jp":
        return _iso_2022_jp(body, encoding)
    text: str = webencodings.decode(body, encoding, errors="replace")[0]  # a BOM wins over both
    return text


def _iso_2022_jp(body: bytes, encoding: webencodings.Encoding) -> str:
    """Decode each part between escape sequences.

    After an invalid byte, Python ignores the next escape sequence, and browsers do not.
    """
    parts = _ESCAPES.split(body)
    parts = [b"", *parts]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return "".join(
        webencodings.decode(escape + part, encoding, errors="replace")[0] for escape, part in pairs
    )


def _charset(content_type: str) -> str | None:
    match = re.search(r"""charset\s*=\s*["']?([^\s"';]+)""", content_type, re.IGNORECASE)
    return match.group(1) if match else None


def _meta_charset(head: bytes, selector: str = "meta") -> str | None:
    if b"charset" not in head.lower():
        return None
    tree = LexborHTMLParser(head.decode("latin-1"), scripting=True, options=1)
    for meta in tree.css(selector):
        attributes = meta.attributes
        equiv = (attributes.get("http-equiv") or "").lower()
        label = attributes.get("charset") or (
            _charset(attributes.get("content") or "") if equiv == "content-type" else None
        )
        if label:
            # A page with an ASCII meta element is not UTF-16 (HTML standard 13.2.3.2).
            return "utf-8" if label.lower().startswith("utf-16") else label
    return None


_XML_ENCODING = re.compile(rb"""\A<\?xml[^>]{0,200}encoding\s*=\s*["']([A-Za-z0-9._\-]{1,40})""")
_HTML_STARTS = (
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<script",
    b"<iframe",
    b"<h1",
    b"<div",
    b"<font",
    b"<table",
    b"<a",
    b"<style",
    b"<title",
    b"<b",
    b"<body",
    b"<br",
    b"<p",
    b"<!--",
)


_SNIFFED = 512
_XML_TYPES = frozenset({"application/xhtml+xml", "text/xml", "application/xml", "image/svg+xml"})
_UNKNOWN_TYPES = frozenset({"", "unknown/unknown", "application/unknown", "*/*"})


def document_kind(content_type: str | None, body: bytes, *, nosniff: bool = False) -> str:
    """Return how a browser shows the body: html, xml, or an empty text for anything else.

    The Content-Type decides; without one, the first bytes (MIME Sniffing standard, 7.1).

    Args:
        content_type: The Content-Type that counts; None if the server sent no valid one.
        body: The body.
        nosniff: Whether the server forbids to examine the first bytes.
    """
    essence = re.split(r"[ \t;(]", content_type or "", maxsplit=1)[0].lower()
    # Chrome reads style sheets of XSLT as HTML, if they are opened like a page.
    if essence in ("text/html", "text/xsl"):
        return "html"
    if essence in _XML_TYPES:
        return "xml"
    # Browsers do not sniff HTML if a valid type is given.
    if ("/" in essence and essence not in _UNKNOWN_TYPES) or nosniff:
        return ""
    # Chrome examines this many bytes. Blanks may precede the first tag, but no byte order mark, and
    # "<pre>" begins with "<p": unlike in the MIME Sniffing standard (7.1), nothing has to follow.
    start = body[:_SNIFFED].lstrip(b"\t\n\x0b\x0c\r ").lower()
    if start.startswith(b"<?xml"):
        return "xml"
    return "html" if start.startswith(_HTML_STARTS) else ""


def xml_text(body: bytes, content_type: str | None) -> str:
    """Decode an XML document, up to the first byte that is not valid.

    A BOM counts first, then the Content-Type, then the XML declaration; the default is UTF-8
    (RFC 7303 3). Browsers show what comes before an invalid byte.
    """
    label = _charset(content_type or "")
    if label is None and (match := _XML_ENCODING.match(body)):
        label = match[1].decode("ascii")
    known = webencodings.lookup(label) if label else None
    encoding = known or webencodings.lookup("utf-8")
    try:
        text: str = webencodings.decode(body, encoding, errors="strict")[0]
    except UnicodeDecodeError as error:
        text = webencodings.decode(body[: error.start], encoding, errors="ignore")[0]
    return text
