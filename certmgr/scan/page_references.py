"""What the references of a page load, and which of them browsers make secure. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes, urlsplit

from certmgr.scan.page_source import decode

MAX_INNER = 262_144  # characters of a document inside a page
# (element, attribute) -> "active" if the loaded content can change the page, "passive" if it is
# only displayed (Mixed Content specification).
LOADS = {
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
LINKS = {
    "stylesheet": "active",
    "modulepreload": "active",
    "manifest": "active",
    "preload": "active",
    "prefetch": "passive",
    "icon": "passive",
    "apple-touch-icon": "passive",
}
IGNORED = {ord(c): None for c in "\t\n\r"}  # a browser drops them from any URL (URL standard, 4.4)
CSS_URL = re.compile(
    r"""(?:url\(\s*["']?|@import\s+["'])\s*(http://[^"')\s]{1,500})""", re.IGNORECASE
)
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


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
