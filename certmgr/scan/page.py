"""HTML -> :class:`Page`, as a browser with scripts reads it.

Pure.

lexbor parses by the HTML standard. What it is handed is a stranger's: some inputs take it minutes
for a megabyte, so :mod:`certmgr.scan.page_process` runs this in a process of its own that can be
ended.

Fields outside of a form and fields hidden by style count: a script shows them, and then the browser
counts them. Text in comments, scripts, templates and noscript is no field.
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
# Names under which shops ask for a card: what a field's name ends with (without separators and
# digits), and short ones as a word of it.
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
# Cards that are no payment cards.
_OTHER_CARDS = ("gift", "loyalty", "member", "library", "kunden", "bonus", "geschenk", "sim")
# (element, attribute) -> whether what is loaded can change the page ("active") or is only shown
# ("passive").
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
    """``content_type`` and ``policies`` (Content-Security-Policy) as the server sent them."""

    tree = LexborHTMLParser(decode(body, content_type), scripting=True, options=1)
    return _Reading(url, policies).of(tree)


def decode(body: bytes, content_type: str | None) -> str:
    """By BOM, the charset of the Content-Type, a meta element in the first 1,024 bytes, else
    windows-1252 (HTML standard 13.2.3.2).
    """

    label = _charset(content_type or "") or _meta_charset(body[:1024])
    encoding = (webencodings.lookup(label) if label else None) or webencodings.lookup(
        "windows-1252"
    )
    text: str = webencodings.decode(body, encoding, errors="replace")[0]  # a BOM wins over both
    return text


def _charset(content_type: str) -> str | None:
    found = re.search(r"""charset\s*=\s*["']?([^\s"';]+)""", content_type, re.IGNORECASE)
    return found.group(1) if found else None


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
            # A page that could say so in ASCII is no UTF-16 (HTML standard 13.2.3.2).
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
    """Whether a browser renders it as HTML: by its type, and where there is none by its first bytes
    (MIME Sniffing standard, 7.1).
    """
    essence = (content_type or "").split(";")[0].strip().lower()
    if essence in ("text/html", "application/xhtml+xml"):
        return True
    if "/" in essence and essence not in ("unknown/unknown", "application/unknown", "*/*"):
        return False
    start = body[:1024].lstrip(b"\xef\xbb\xbf\t\n\x0c\r ").lower()
    return any(
        start.startswith(s) and start[len(s) : len(s) + 1] in (b" ", b">", b"")
        for s in _HTML_STARTS
    )


class _Reading:
    def __init__(self, url: str, policies: tuple[str, ...]) -> None:
        self.base, self.url = url, url
        self.mixed = url.startswith("https:")  # only a secure page can load something insecure
        self.upgrades = any(_upgrades(p) for p in policies)
        self.found: dict[str, dict[str, None]] = {
            k: {} for k in ("secrets", "inputs", "insecure_forms", "active", "passive")
        }
        self.title = ""
        self.note = ""

    def of(self, tree: Any) -> Page:
        nodes = list(self._nodes(tree))
        for tag, attributes, _ in nodes:
            if tag == "base" and attributes.get("href"):
                self.base = self._absolute(attributes["href"]) or self.base
                break
        for tag, attributes, node in nodes:
            self._element(tag, attributes, node)
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
        """The elements that matter, in their order; what stands in a template is no part of the
        page and is not selected.
        """
        for count, node in enumerate(tree.css(_SELECTOR)):
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
            for candidate in attributes.get("srcset", "")[:20_000].split(","):
                self._load("passive", candidate.strip().split(" ")[0])
        if tag == "input" and attributes.get("type", "").lower() == "image":
            self._load("passive", attributes.get("src", ""))

    def _field(self, tag: str, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", "text").strip().lower() if tag == "input" else "textarea"
        if kind in _NO_TEXT:
            return
        name = attributes.get("name") or attributes.get("id") or ""
        said = f"<{tag}" + (f" type={printable(kind, 20)}" if tag == "input" else "")
        said += (f" name={printable(name, 40)}" if name else "") + ">"
        secret = kind == "password" or _card(attributes)
        self._list("secrets" if secret else "inputs", said)

    def _style(self, css: str) -> None:
        if "http:" in css[:MAX_STYLE].lower():
            for url in _CSS_URL.findall(_CSS_COMMENT.sub(" ", css[:MAX_STYLE])):
                self._load("passive", url)

    def _load(self, kind: str, reference: str) -> None:
        if not self.mixed or not reference or not self._may_be_http(reference):
            return
        absolute = self._absolute(reference)
        if absolute is not None and absolute[:5].lower() == "http:" and not _own_machine(absolute):
            self._list(kind, printable(absolute, 200))

    def _may_be_http(self, reference: str) -> bool:
        """Most references are relative to a secure page: they need not be resolved to know that
        they are secure too.
        """
        return self.base[:5].lower() == "http:" or "http:" in reference.translate(_IGNORED).lower()

    def _absolute(self, reference: str) -> str | None:
        try:
            return urljoin(self.base, reference.translate(_IGNORED).strip()[:2000])
        except ValueError:
            return None

    def _list(self, kind: str, text: str) -> None:
        if len(self.found[kind]) < MAX_LISTED:
            self.found[kind][text] = None


def _upgrades(policy: str) -> bool:
    """upgrade-insecure-requests: the browser asks https for every http URL in the page, forms
    included (CSP).
    """
    return any(
        d.strip().split(" ")[0].lower() == "upgrade-insecure-requests" for d in policy.split(";")
    )


def _autocompletes_card(attributes: dict[str, str]) -> bool:
    """cc-*, also behind section- and billing tokens (HTML standard 4.10.18.7.1)."""
    return any(
        token.startswith("cc-") for token in attributes.get("autocomplete", "").lower().split()
    )


def _card(attributes: dict[str, str]) -> bool:
    """By autocomplete, or a well-known name."""
    if _autocompletes_card(attributes):
        return True
    for text in (attributes.get("name", ""), attributes.get("id", "")):
        words = re.findall(r"[a-zäöüß]+[0-9]*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
        joined = re.sub(r"[0-9]", "", "".join(words))
        if any(other in joined for other in _OTHER_CARDS):
            continue
        if joined.endswith(_CARD_ENDS) or _CARD_WORDS & set(words):
            return True
    return False


def _own_machine(url: str) -> bool:
    """A visitor's own machine is trustworthy for a browser (Secure Contexts, 3.1)."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
