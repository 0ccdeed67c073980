"""Parse HTML and XHTML into a :class:`Page`, as a browser with scripts reads it. Pure.

lexbor parses by the HTML standard. Its input is hostile: some inputs take it minutes for a
megabyte. :mod:`certmgr.scan.page_process` therefore runs this module in a separate process that can
be killed. Nested blocks and lists are such inputs: lexbor searches all open elements for each new
one, and has no limit of depth. Neither has the stack of open elements in Chromium, whose limit of
512 only moves deeper elements to another parent.

Fields outside a form and fields hidden by style count, because a script can show them. Text in
comments, scripts, templates and noscript does not count as a field. Declarative shadow roots and
documents inside the page (srcdoc, data:) do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser

from certmgr.scan.page_fields import autocompletes_card, is_card_field
from certmgr.scan.page_references import (
    IGNORED,
    LOADS,
    LOADS_OF,
    MAX_INNER,
    css_urls,
    data_document,
    host_of_page,
    is_loopback,
    link_kind,
    script_source,
    upgrades,
)
from certmgr.scan.page_source import decode, document_kind, xml_text
from certmgr.scan.page_tree import can_have_shadow_root, is_html_element
from certmgr.scan.page_xml import xml_elements
from certmgr.scan.refresh import parse_refresh
from certmgr.scan.visits import Page
from inventory.text import printable

# A report shows examples. A page may have any number of them.
MAX_LISTED = 10
# The work per element is bounded, so this bounds the work per page.
MAX_NODES = 100_000
# The pattern for URLs in style sheets takes time for each character.
MAX_STYLE = 65_536
MAX_DEPTH = 5  # of documents inside documents
# Visitors type nothing into these. A file or a date is input, so its type is not here.
_NO_TEXT = frozenset(
    {"hidden", "submit", "button", "reset", "image", "checkbox", "radio", "range", "color"}
)
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
        "script",
        "source",
        "title",
        "template",
        *(tag for tag, _ in LOADS),
    }
)
_SELECTOR = ",".join([*sorted(_TAGS), "[style]"])
# Elements that matter only for what they load.
_ONLY_LOAD = frozenset(
    {"img", "audio", "video", "source", "track", "body"}
    | {"table", "thead", "tbody", "tfoot", "tr", "th", "td"}
)
# Most elements of a page are images of the same site, which the parser leaves out much faster than
# a loop does. An absolute URL has a colon, whatever characters browsers drop from it.
_SECURE_SELECTOR = ",".join(
    [
        *sorted(_TAGS - _ONLY_LOAD),
        "[style]",
        *(f'{tag}[{name}*=":"]' for tag in _ONLY_LOAD for name, _ in LOADS_OF[tag]),
        *(f'{tag}[srcset*=":"]' for tag in ("img", "source")),
    ]
)


def read(body: bytes, content_type: str | None, url: str, policies: tuple[str, ...] = ()) -> Page:
    """Parse a page.

    Args:
        body: The page as the server sent it.
        content_type: The Content-Type header as the server sent it.
        url: The URL of the page, to resolve references.
        policies: The Content-Security-Policy headers as the server sent them.
    """
    reader = _PageReader(url, policies)
    if document_kind(content_type, body) == "xml":
        reader.read_xml(xml_text(body, content_type))
    else:
        reader.read_html(decode(body, content_type))
    return reader.page()


# A page has thousands of elements, and a frozen one takes several times as long to make.
@dataclass(slots=True)
class _Element:
    """One element, whatever parser found it.

    Attributes:
        tag: The name in lower case.
        attributes: Names in lower case.
        text: Returns its text.
        is_html: Returns whether it is an element of HTML, and not of SVG or MathML.
        node: The node of the HTML parser; None in XML.
    """

    tag: str
    attributes: dict[str, str]
    text: Callable[[], str]
    is_html: Callable[[], bool]
    node: Any = None

    @property
    def parent(self) -> str:
        """The name of its parent in lower case; empty if it is unknown."""
        parent = self.node.parent if self.node is not None else None
        return (parent.tag or "").lower() if parent is not None else ""


class _PageReader:
    """The reader of one page, with the documents inside it."""

    def __init__(self, url: str, policies: tuple[str, ...]) -> None:
        # What references are resolved with: a base element counts for those after it, and for the
        # targets of all forms, which are resolved when a visitor sends one.
        self.base, self.form_base, self.url = url, url, url
        self.mixed = url.startswith("https:")  # mixed content exists only on secure pages
        self.upgrades = any(upgrades(p) for p in policies)
        self.found: dict[str, dict[str, None]] = {
            k: {} for k in ("secrets", "inputs", "insecure_forms", "active", "passive")
        }
        self.title = ""
        self.note = ""
        self.refresh: tuple[str, float] | None = None
        self._scripting = True
        self._count = self._depth = 0

    def page(self) -> Page:
        """Return what was found."""
        # With upgrade-insecure-requests the browser sends forms over https.
        insecure = () if self.upgrades else tuple(self.found["insecure_forms"])
        refresh, seconds = self.refresh or ("", 0.0)
        # It applies to navigation within the same host too (Upgrade Insecure Requests 3.2).
        if (
            self.upgrades
            and refresh.startswith("http:")
            and host_of_page(refresh) == host_of_page(self.url)
        ):
            refresh = ""
        return Page(
            self.title,
            tuple(self.found["secrets"]),
            tuple(self.found["inputs"]),
            note=self.note,
            refresh=refresh,
            refresh_seconds=seconds,
            insecure_forms=insecure,
            active=tuple(self.found["active"]),
            passive=tuple(self.found["passive"]),
        )

    def read_html(self, text: str, *, scripting: bool = True) -> None:
        """Read a document.

        Args:
            text: The document.
            scripting: Whether its scripts run, so that noscript is hidden.
        """
        self._scripting = scripting
        tree = LexborHTMLParser(text, scripting=scripting, options=1)
        foreign = tree.css_first("svg,math") is not None
        # Without another base, a relative reference of a secure page is secure.
        secure = self.base.startswith("https:") and tree.css_first("base") is None
        self._read(list(self._nodes(tree, foreign, may_be_http=not secure)))

    def read_xml(self, text: str) -> None:
        """Read an XML document: XHTML, or SVG with XHTML in it."""
        elements = []
        for html, tag, attributes, content in xml_elements(text):
            if self._full():
                break
            if html or tag in ("image", "feimage", "use", "script", "style"):
                elements.append(_Element(tag, attributes, content, _always if html else _never))
        self._read(elements)

    def _read(self, elements: list[_Element]) -> None:
        # Only the first base element counts (HTML standard 4.2.3).
        first = next((e for e in elements if e.tag == "base" and e.attributes.get("href")), None)
        if first is not None:
            self.form_base = self._absolute(first.attributes["href"], self.base) or self.base
        for element in elements:
            if element is first:
                self.base = self.form_base
            self._element(element)

    def _full(self) -> bool:
        """Count one element. Returns whether there are too many: the work per page is bounded."""
        self._count += 1
        if self._count > MAX_NODES:
            self.note = f"more than {MAX_NODES:,} elements"
        return self._count > MAX_NODES

    def _nodes(self, tree: Any, foreign: bool, *, may_be_http: bool = True) -> Iterator[_Element]:
        """Yield the relevant elements in document order.

        Template content is not part of the page, and the parser does not select it.

        Args:
            tree: The document.
            foreign: Whether it has elements that are not of HTML.
            may_be_http: Whether a relative reference may lead to a plain http URL.
        """
        for node in tree.css(_SELECTOR if may_be_http else _SECURE_SELECTOR):
            if self._full():
                return
            yield _Element(
                (node.tag or "").lower(),
                {k.lower(): v or "" for k, v in node.attributes.items()},
                lambda node=node: node.text() or "",  # type: ignore[misc]
                partial(is_html_element, node) if foreign else _always,
                node,
            )

    def _element(self, element: _Element) -> None:
        tag, attributes = element.tag, element.attributes
        if tag == "title":
            if not self.title and not self._depth and element.is_html():
                self.title = " ".join(printable(element.text(), 200).split())
        elif tag in ("input", "textarea"):
            if element.is_html():
                self._field(tag, attributes)
        elif tag == "select" and autocompletes_card(attributes):
            self._list(
                "secrets", f"<select autocomplete={printable(attributes['autocomplete'], 40)}>"
            )
        elif tag == "meta":
            self._meta(element)
        elif tag == "link":
            if kind := link_kind(attributes):
                self._load(kind, attributes.get("href", ""))
                self._candidates(attributes.get("imagesrcset", ""))
        elif tag == "template":
            self._shadow_root(element)
        elif tag in ("iframe", "frame", "object", "embed"):
            self._inner_document(element)
        self._references(element)

    def _references(self, element: _Element) -> None:
        tag, attributes = element.tag, element.attributes
        if tag == "style":
            self._style(element.text())
        if attributes.get("style"):
            self._style(attributes["style"])
        if tag == "form" and attributes.get("action"):
            self._load("insecure_forms", attributes["action"])
        if tag in ("button", "input") and attributes.get("formaction"):
            self._load("insecure_forms", attributes["formaction"])
        if tag == "script" and self._scripting:
            self._load("active", script_source(attributes, is_html=element.is_html()))
        # Outside of a picture, audio or video, a source element has no effect.
        if tag == "source" and element.parent not in ("picture", "audio", "video", ""):
            return
        for attribute, kind in LOADS_OF.get(tag, ()):
            if attributes.get(attribute):
                self._load(kind, attributes[attribute])
        if tag in ("img", "source"):
            self._candidates(attributes.get("srcset", ""))
        if tag == "input" and attributes.get("type", "").lower() == "image":
            self._load("passive", attributes.get("src", ""))

    def _candidates(self, srcset: str) -> None:
        # Bounded: a srcset can hold any number of candidates.
        for candidate in srcset[:20_000].split(","):
            self._load("passive", candidate.strip().split(" ")[0])

    def _meta(self, element: _Element) -> None:
        attributes = element.attributes
        kind, content = attributes.get("http-equiv", "").lower(), attributes.get("content", "")
        if kind == "content-security-policy":
            # A policy outside of head is ignored (HTML standard 4.2.5.3).
            self.upgrades |= element.parent in ("head", "") and upgrades(content)
        # A document inside the page sends only itself elsewhere.
        elif kind == "refresh" and not self._depth:
            refresh = parse_refresh(content, self.url, self.base)
            # Browsers follow the earlier one of several, and the last of equals.
            if refresh and (self.refresh is None or refresh[1] <= self.refresh[1]):
                self.refresh = refresh

    def _shadow_root(self, element: _Element) -> None:
        """Read a declarative shadow root (HTML standard 4.12.3): part of what visitors see."""
        node = element.node
        if element.attributes.get("shadowrootmode", "").lower() not in ("open", "closed"):
            return
        if node is None or self._depth >= MAX_DEPTH or node.parent is None:
            return
        host = node.parent.tag or ""
        if not can_have_shadow_root(host):
            return
        # A host has one shadow root: the second template is an ordinary one.
        for sibling in node.parent.iter():
            if sibling.tag == "template" and "shadowrootmode" in sibling.attributes:
                if sibling.mem_id != node.mem_id:
                    return
                break
        self._depth += 1
        for fragment in node.template_fragments()[:1]:
            for inner in list(self._nodes(fragment, foreign=True)):
                self._element(inner)
        self._depth -= 1

    def _inner_document(self, element: _Element) -> None:
        """Read the document of a frame that comes with the page: srcdoc, or a data: URL."""
        attributes = element.attributes
        text = attributes.get("srcdoc") if element.tag == "iframe" else None
        if text is None:
            source = attributes.get("data" if element.tag == "object" else "src", "")
            text = data_document(source)
        if not text or self._depth >= MAX_DEPTH or not element.is_html():
            return
        if len(text) > MAX_INNER:
            self.note = self.note or "a document inside the page is too large"
        sandbox = attributes.get("sandbox")
        scripting = sandbox is None or "allow-scripts" in sandbox.lower().split()
        outer = self.base, self.form_base, self.upgrades, self._scripting
        self._depth += 1
        self.read_html(text[:MAX_INNER], scripting=scripting)
        self._depth -= 1
        self.base, self.form_base, self.upgrades, self._scripting = outer

    def _field(self, tag: str, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", "text").lower() if tag == "input" else "textarea"
        if kind in _NO_TEXT:
            return
        name = attributes.get("name") or attributes.get("id") or ""
        description = f"<{tag}" + (f" type={printable(kind, 20)}" if tag == "input" else "")
        description += (f" name={printable(name, 40)}" if name else "") + ">"
        secret = kind == "password" or is_card_field(attributes)
        self._list("secrets" if secret else "inputs", description)

    def _style(self, css: str) -> None:
        for url in css_urls(css[:MAX_STYLE]):
            self._load("passive", url)

    def _load(self, kind: str, reference: str) -> None:
        # With upgrade-insecure-requests the browser loads http URLs over https.
        if not self.mixed or self.upgrades or not reference:
            return
        base = self.form_base if kind == "insecure_forms" else self.base
        if not _may_be_http(reference, base):
            return
        absolute = self._absolute(reference, base)
        if absolute is not None and absolute[:5].lower() == "http:" and not is_loopback(absolute):
            self._list(kind, printable(absolute, 200))

    def _absolute(self, reference: str, base: str) -> str | None:
        try:
            return urljoin(base, reference.translate(IGNORED).strip()[:2000])
        except ValueError:
            return None

    def _list(self, kind: str, text: str) -> None:
        # A report needs examples, not all of them.
        if len(self.found[kind]) < MAX_LISTED:
            self.found[kind][text] = None


def _may_be_http(reference: str, base: str) -> bool:
    """Return whether a reference can lead to a plain http URL.

    Most references are relative to a secure page. They are secure too, and resolving them costs
    time.
    """
    return base[:5].lower() == "http:" or "http:" in reference.translate(IGNORED).lower()


def _always() -> bool:
    return True


def _never() -> bool:
    return False
