"""Which elements of a parsed page are HTML, and which can have a shadow root. Pure."""

from __future__ import annotations

from typing import Any

# Chromium nests elements at most 512 deep. The work for an element grows with its depth.
MAX_PARENTS = 256
# Elements that can have a shadow root (DOM standard, "valid shadow host name"). Custom elements
# can too; their names have a hyphen.
_SHADOW_HOSTS = frozenset(
    {
        *("article", "aside", "blockquote", "body", "div", "footer", "h1", "h2", "h3", "h4", "h5"),
        *("h6", "header", "main", "nav", "p", "section", "span"),
    }
)
# Names of SVG and MathML, which no custom element has (HTML standard 4.13.3).
_RESERVED = frozenset(
    {
        *("annotation-xml", "color-profile", "font-face", "font-face-src", "font-face-uri"),
        *("font-face-format", "font-face-name", "missing-glyph"),
    }
)
# Inside SVG and MathML, HTML begins again in these elements (HTML standard 13.2.6.5).
_HTML_AGAIN = frozenset({"foreignobject", "desc", "title", "mi", "mo", "mn", "ms", "mtext"})
# In this one, only if its encoding is one of these.
_ANNOTATION, _ENCODINGS = "annotation-xml", frozenset({"text/html", "application/xhtml+xml"})


def can_have_shadow_root(tag: str) -> bool:
    """Return whether an element can have a shadow root."""
    return tag in _SHADOW_HOSTS or ("-" in tag and tag not in _RESERVED)


def is_html_element(node: Any) -> bool:
    """Return whether a node is an element of HTML, and not of SVG or MathML around it."""
    parent = node.parent
    for _ in range(MAX_PARENTS):
        if parent is None:
            return True
        tag = (parent.tag or "").lower()
        if _begins_html(tag, parent) and _is_foreign_root(parent):
            return True
        if tag in ("svg", "math"):
            return False
        parent = parent.parent
    return True


def _is_foreign_root(node: Any) -> bool:
    """Return whether an element named like an integration point stands in SVG or MathML."""
    parent = node.parent
    for _ in range(MAX_PARENTS):
        if parent is None:
            return False
        if (parent.tag or "").lower() in ("svg", "math"):
            return True
        parent = parent.parent
    return False


def _begins_html(tag: str, node: Any) -> bool:
    """Return whether the content of an element of SVG or MathML is HTML."""
    if tag != _ANNOTATION:
        return tag in _HTML_AGAIN
    return (node.attributes.get("encoding") or "").lower() in _ENCODINGS
