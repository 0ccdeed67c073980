"""What the references of a page load, and which of them browsers make secure. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes, urlsplit

from certmgr.scan.page_source import decode

MAX_INNER = 262_144  # characters of a document inside a page
# (element, attribute) -> "active" if the loaded content can change the page, "passive" if it is
# only displayed (Mixed Content specification).
LOADS = {
    ("iframe", "src"): "active",
    ("frame", "src"): "active",
    ("object", "data"): "active",
    ("embed", "src"): "active",
    ("track", "src"): "active",
    ("img", "src"): "passive",
    ("image", "href"): "passive",
    ("image", "xlink:href"): "passive",
    ("feimage", "href"): "passive",
    ("feimage", "xlink:href"): "passive",
    ("use", "href"): "active",
    ("use", "xlink:href"): "active",
    ("audio", "src"): "passive",
    ("video", "src"): "passive",
    ("video", "poster"): "passive",
    ("source", "src"): "passive",
    **{
        (tag, "background"): "passive"
        for tag in ("body", "table", "thead", "tbody", "tfoot", "tr", "th", "td")
    },
}
# The same by element: a page has thousands of elements, and most of them load nothing.
LOADS_OF: dict[str, tuple[tuple[str, str], ...]] = {
    tag: tuple((attribute, kind) for (name, attribute), kind in LOADS.items() if name == tag)
    for tag, _ in LOADS
}
_LINKS = {
    "modulepreload": "active",
    "manifest": "active",
    "prefetch": "passive",
    "icon": "passive",
    "apple-touch-icon": "passive",
}
# What a preload is for -> how it is loaded. Browsers load none without such a word.
_PRELOADS = {
    **dict.fromkeys(("script", "style", "font", "fetch", "track", "worker"), "active"),
    **dict.fromkeys(("image", "audio", "video"), "passive"),
}
# MIME Sniffing standard 4.6. Other types are data for scripts, and their src is not loaded.
_SCRIPT_TYPE = re.compile(
    r"module|(?:application|text)/(?:x-)?(?:java|ecma)script"
    r"|text/(?:javascript1\.[0-5]|jscript|livescript)"
)
IGNORED = {ord(c): None for c in "\t\n\r"}  # a browser drops them from any URL (URL standard, 4.4)
_CSS_URL = re.compile(
    r"""(?:url\(\s*["']?|@import\s+["']|image-set\([^)]{0,300}?["'])\s*(http://[^"')\s]{1,500})""",
    re.IGNORECASE,
)
# A comment may end with the style sheet (CSS Syntax 4.3.2).
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_CSS_ESCAPE = re.compile(r"\\([0-9a-fA-F]{1,6})[ \t\n]?")


def css_urls(css: str) -> list[str]:
    """Return the http URLs that a style sheet loads, if its rules match."""
    if "\\" in css:
        # Only letters of ASCII can be part of "http:".
        css = _CSS_ESCAPE.sub(lambda m: chr(int(m[1], 16)) if int(m[1], 16) < 128 else " ", css)
    if "http:" not in css.lower():
        return []
    return _CSS_URL.findall(_CSS_COMMENT.sub(" ", css))


def script_source(attributes: Mapping[str, str], *, is_html: bool) -> str:
    """Return what a script element loads; empty if it loads nothing."""
    # Browsers that know modules do not load what is meant for others.
    if "nomodule" in attributes and is_html:
        return ""
    kind = attributes.get("type", "").strip().lower()
    if kind and not _SCRIPT_TYPE.fullmatch(kind):
        return ""
    if is_html:
        return attributes.get("src", "")
    return attributes.get("href") or attributes.get("xlink:href", "")


def link_kind(attributes: Mapping[str, str]) -> str:
    """Return whether the content of a link element is active or passive; empty: not loaded."""
    words = attributes.get("rel", "").lower().split()
    kinds = {_LINKS[w] for w in words if w in _LINKS}
    if "preload" in words:
        kinds.add(_PRELOADS.get(attributes.get("as", "").lower(), ""))
    essence = attributes.get("type", "").partition(";")[0].strip().lower()
    if "stylesheet" in words and "disabled" not in attributes and essence in ("", "text/css"):
        kinds.add("active")
    return "active" if "active" in kinds else "passive" if "passive" in kinds else ""


def data_document(reference: str) -> str:
    """Return the HTML of a data: URL (RFC 2397); empty if it is not one."""
    match = re.match(r"(?i)\s*data:([^,]{0,200}),", reference)
    if match is None or match[1].split(";")[0].strip().lower() != "text/html":
        return ""
    data = unquote_to_bytes(reference[match.end() : match.end() + 4 * MAX_INNER])
    if match[1].lower().replace(" ", "").endswith(";base64"):
        try:
            data = base64.b64decode(data + b"==")
        except (binascii.Error, ValueError):
            return ""
    return decode(data, match[1])


def host_of_page(url: str) -> str:
    """Return the host of a URL; empty if it has none."""
    return urlsplit(url).hostname or ""


def upgrades(policy: str) -> bool:
    """Return whether a policy has upgrade-insecure-requests (Content Security Policy).

    The browser then uses https for every http URL in the page, forms included.
    """
    return any(
        d.strip().split(" ")[0].lower() == "upgrade-insecure-requests" for d in policy.split(";")
    )


def is_loopback(url: str) -> bool:
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
