"""Parse HTML into a :class:`Page`, as a browser with scripts reads it. Pure.

lexbor parses by the HTML standard. Its input is hostile: some inputs take it minutes for a
megabyte. :mod:`certmgr.scan.page_process` therefore runs this module in a separate process that can
be killed.

Fields outside a form and fields hidden by style count, because a script can show them. Text in
comments, scripts, templates and noscript does not count as a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit

import webencodings
from selectolax.lexbor import LexborHTMLParser

from certmgr.scan.visits import Page
from inventory.text import printable

MAX_LISTED = 10
MAX_NODES = 100_000
MAX_STYLE = 65_536
_NO_TEXT = frozenset(
    {"hidden", "submit", "button", "reset", "image", "checkbox", "radio", "range", "color"}
)
# Field names for payment cards in shops. A field matches if its name, without separators and
# digits, ends with one of these, or if it contains one of the short words below.
_CARD_ENDS = (
    "cardnumber",
    "cardno",
    "cardnum",
    "ccnumber",
    "ccnum",
    "ccno",
    "creditcard",
    "creditcardnumber",
    "creditcardno",
    "ccname",
    "cardholder",
    "cardholdername",
    "cardexpiry",
    "ccexp",
    "cccvv",
    "cccvc",
    "cccsc",
    "cccid",
    "cardcvc",
    "cardcvv",
    "cardcsc",
    "cvvcode",
    "cvccode",
    "kartennummer",
    "kreditkarte",
    "kreditkartennummer",
    "kartenprüfnummer",
    "kartenpruefnummer",
)
_CARD_WORDS = frozenset({"cvv", "cvc", "csc", "cvv2", "cvc2"})
# Cards that are not payment cards.
_OTHER_CARDS = ("gift", "loyalty", "member", "library", "kunden", "bonus", "geschenk", "sim")
# (element, attribute) -> "active" if the loaded content can change the page, "passive" if it is
# only displayed (Mixed Content specification).
_LOADS = {
    ("script", "src"): "active",
    ("iframe", "src"): "active",
    ("frame", "src"): "active",
    ("object", "data"): "active",
    ("embed", "src"): "active",
    ("track", "src"): "active",
    ("img", "src"): "passive",
    ("image", "href"): "passive",
    ("image", "xlink:href"): "passive",
    ("use", "href"): "active",
    ("use", "xlink:href"): "active",
    ("audio", "src"): "passive",
    ("video", "src"): "passive",
    ("video", "poster"): "passive",
    ("source", "src"): "passive",
    ("body", "background"): "passive",
    ("table", "background"): "passive",
    ("td", "background"): "passive",
}
_LINKS = {
    "stylesheet": "active",
    "modulepreload": "active",
    "manifest": "active",
    "preload": "active",
    "prefetch": "passive",
    "icon": "passive",
    "apple-touch-icon": "passive",
}
_TAGS = frozenset(
    {
        "input",
        "textarea",
        "select",
        "form",
        "button",
        "base",
        "meta",
        "link",
        "style",
        "source",
        "title",
        *(tag for tag, _ in _LOADS),
    }
)
_IGNORED = {ord(c): None for c in "\t\n\r"}  # a browser drops them from any URL (URL standard, 4.4)
_SELECTOR = ",".join([*sorted(_TAGS), "[style]"])
_CSS_URL = re.compile(
    r"""(?:url\(\s*["']?|@import\s+["'])\s*(http://[^"')\s]{1,500})""", re.IGNORECASE
)
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def read(body: bytes, content_type: str | None, url: str, policies: tuple[str, ...] = ()) -> Page:
    """Parse a page.

    Args:
        content_type: The Content-Type header as the server sent it.
        url: The URL of the page, to resolve references.
        policies: The Content-Security-Policy headers as the server sent them.
    """

    tree = LexborHTMLParser(decode(body, content_type), scripting=True, options=1)
    return _PageReader(url, policies).read_tree(tree)


def decode(body: bytes, content_type: str | None) -> str:
    """Decode a page by its BOM, the charset of its Content-Type, or a meta element.

    The meta element must be in the first 1,024 bytes. The default is windows-1252 (HTML standard
    13.2.3.2).
    """

    label = _charset(content_type or "") or _meta_charset(body[:1024])
    encoding = (webencodings.lookup(label) if label else None) or webencodings.lookup(
        "windows-1252"
    )
    text: str = webencodings.decode(body, encoding, errors="replace")[0]  # a BOM wins over both
    return text


def _charset(content_type: str) -> str | None:
    match = re.search(r"""charset\s*=\s*["']?([^\s"';]+)""", content_type, re.IGNORECASE)
    return match.group(1) if match else None


def _meta_charset(head: bytes) -> str | None:
    if b"charset" not in head.lower():
        return None
    for meta in LexborHTMLParser(head.decode("latin-1"), scripting=True, options=1).css("meta"):
        attributes = meta.attributes
        equiv = (attributes.get("http-equiv") or "").lower()
        label = attributes.get("charset") or (
            _charset(attributes.get("content") or "") if equiv == "content-type" else None
        )
        if label:
            # A page with an ASCII meta element is not UTF-16 (HTML standard 13.2.3.2).
            return "utf-8" if label.lower().startswith("utf-16") else label
    return None


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


def is_html(content_type: str | None, body: bytes) -> bool:
    """Return whether a browser renders the body as HTML.

    The Content-Type decides; without one, the first bytes (MIME Sniffing standard, 7.1).
    """
    essence = (content_type or "").split(";")[0].strip().lower()
    if essence in ("text/html", "application/xhtml+xml"):
        return True
    # Browsers do not sniff HTML if a valid type is given.
    if "/" in essence and essence not in ("unknown/unknown", "application/unknown", "*/*"):
        return False
    start = body[:1024].lstrip(b"\xef\xbb\xbf\t\n\x0c\r ").lower()
    return any(
        start.startswith(s) and start[len(s) : len(s) + 1] in (b" ", b">", b"")
        for s in _HTML_STARTS
    )


class _PageReader:
    """The reader of one parsed page."""

    def __init__(self, url: str, policies: tuple[str, ...]) -> None:
        self.base, self.url = url, url
        self.mixed = url.startswith("https:")  # mixed content exists only on secure pages
        self.upgrades = any(_upgrades(p) for p in policies)
        self.found: dict[str, dict[str, None]] = {
            k: {} for k in ("secrets", "inputs", "insecure_forms", "active", "passive")
        }
        self.title = ""
        self.note = ""

    def read_tree(self, tree: Any) -> Page:
        nodes = list(self._nodes(tree))
        for tag, attributes, _ in nodes:
            # Only the first base element counts, and it applies to all references (HTML standard).
            if tag == "base" and attributes.get("href"):
                self.base = self._absolute(attributes["href"]) or self.base
                break
        for tag, attributes, node in nodes:
            self._element(tag, attributes, node)
        # With upgrade-insecure-requests the browser loads http URLs over https.
        loads = (
            {}
            if self.upgrades
            else {k: tuple(self.found[k]) for k in ("insecure_forms", "active", "passive")}
        )
        return Page(
            self.title,
            tuple(self.found["secrets"]),
            tuple(self.found["inputs"]),
            note=self.note,
            **loads,
        )

    def _nodes(self, tree: Any) -> Iterator[tuple[str, dict[str, str], Any]]:
        """Yield the relevant elements in document order.

        Template content is not part of the page, and the parser does not select it.
        """
        for count, node in enumerate(tree.css(_SELECTOR)):
            # The work per page is bounded.
            if count > MAX_NODES:
                self.note = f"more than {MAX_NODES:,} elements"
                return
            yield node.tag, {k.lower(): v or "" for k, v in node.attributes.items()}, node

    def _element(self, tag: str, attributes: dict[str, str], node: Any) -> None:
        if tag == "title":
            if not self.title and node.parent is not None and node.parent.tag != "svg":
                self.title = " ".join(printable(node.text() or "", 200).split())
        elif tag in ("input", "textarea"):
            self._field(tag, attributes)
        elif tag == "select" and _autocompletes_card(attributes):
            self._list(
                "secrets", f"<select autocomplete={printable(attributes['autocomplete'], 40)}>"
            )
        elif tag == "meta":
            policy = attributes.get("http-equiv", "").lower() == "content-security-policy"
            self.upgrades |= policy and _upgrades(attributes.get("content", ""))
        elif tag == "link":
            kinds = [_LINKS[r] for r in attributes.get("rel", "").lower().split() if r in _LINKS]
            if kinds:
                self._load("active" if "active" in kinds else "passive", attributes.get("href", ""))
        if tag == "style":
            self._style(node.text() or "")
        if attributes.get("style"):
            self._style(attributes["style"])
        if tag == "form" and attributes.get("action"):
            self._load("insecure_forms", attributes["action"])
        if tag in ("button", "input") and attributes.get("formaction"):
            self._load("insecure_forms", attributes["formaction"])
        for (name, attribute), kind in _LOADS.items():
            if name == tag and attributes.get(attribute):
                self._load(kind, attributes[attribute])
        if tag in ("img", "source"):
            # Bounded: a srcset can hold any number of candidates.
            for candidate in attributes.get("srcset", "")[:20_000].split(","):
                self._load("passive", candidate.strip().split(" ")[0])
        if tag == "input" and attributes.get("type", "").lower() == "image":
            self._load("passive", attributes.get("src", ""))

    def _field(self, tag: str, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", "text").strip().lower() if tag == "input" else "textarea"
        if kind in _NO_TEXT:
            return
        name = attributes.get("name") or attributes.get("id") or ""
        description = f"<{tag}" + (f" type={printable(kind, 20)}" if tag == "input" else "")
        description += (f" name={printable(name, 40)}" if name else "") + ">"
        secret = kind == "password" or _is_card_field(attributes)
        self._list("secrets" if secret else "inputs", description)

    def _style(self, css: str) -> None:
        if "http:" in css[:MAX_STYLE].lower():
            for url in _CSS_URL.findall(_CSS_COMMENT.sub(" ", css[:MAX_STYLE])):
                self._load("passive", url)

    def _load(self, kind: str, reference: str) -> None:
        if not self.mixed or not reference or not self._may_be_http(reference):
            return
        absolute = self._absolute(reference)
        if absolute is not None and absolute[:5].lower() == "http:" and not _is_loopback(absolute):
            self._list(kind, printable(absolute, 200))

    def _may_be_http(self, reference: str) -> bool:
        """Return whether a reference can lead to a plain http URL.

        Most references are relative to a secure page. They are secure too, and resolving them costs
        time.
        """
        return self.base[:5].lower() == "http:" or "http:" in reference.translate(_IGNORED).lower()

    def _absolute(self, reference: str) -> str | None:
        try:
            return urljoin(self.base, reference.translate(_IGNORED).strip()[:2000])
        except ValueError:
            return None

    def _list(self, kind: str, text: str) -> None:
        # A report needs examples, not all of them.
        if len(self.found[kind]) < MAX_LISTED:
            self.found[kind][text] = None


def _upgrades(policy: str) -> bool:
    """Return whether a policy has upgrade-insecure-requests (Content Security Policy).

    The browser then uses https for every http URL in the page, forms included.
    """
    return any(
        d.strip().split(" ")[0].lower() == "upgrade-insecure-requests" for d in policy.split(";")
    )


def _autocompletes_card(attributes: dict[str, str]) -> bool:
    """Return whether an autocomplete token is cc-*.

    Section and billing tokens may precede it (HTML standard 4.10.18.7.1).
    """
    return any(
        token.startswith("cc-") for token in attributes.get("autocomplete", "").lower().split()
    )


def _is_card_field(attributes: dict[str, str]) -> bool:
    """Return whether a field asks for a payment card, by autocomplete or a well-known name."""
    if _autocompletes_card(attributes):
        return True
    for text in (attributes.get("name", ""), attributes.get("id", "")):
        words = re.findall(r"[a-zäöüß]+[0-9]*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
        joined = re.sub(r"[0-9]", "", "".join(words))
        # Gift and loyalty cards have similar field names.
        if any(other in joined for other in _OTHER_CARDS):
            continue
        if joined.endswith(_CARD_ENDS) or _CARD_WORDS & set(words):
            return True
    return False


def _is_loopback(url: str) -> bool:
    """Return whether a URL leads to the visitor's own machine.

    Browsers trust it (Secure Contexts 3.1).
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
