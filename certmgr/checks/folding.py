"""Which fault goes away with which other one, so that it is not told twice. Pure."""

from __future__ import annotations

from collections.abc import Set

PLAIN = ("http-collects-secrets", "http-collects-input", "http-served")


def parent_of(code: str, beside: Set[str]) -> str:
    """The code, among those of the same endpoint, that ``code`` goes away with; empty where it
    stands alone.

    The wrong name goes with the missing virtual host; the missing redirect with the page that it
    would take away; a page over plain HTTP waits for HTTPS.
    """
    if code == "name-mismatch" and "default-certificate" in beside:
        return "default-certificate"
    if code == "redirect-missing":
        return next((c for c in PLAIN if c in beside), "")
    if code in PLAIN and "https-missing" in beside:
        return "https-missing"
    return ""
