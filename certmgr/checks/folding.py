"""Findings that another finding resolves too, so that clients are notified once. Pure."""

from __future__ import annotations

from collections.abc import Set

PLAIN_HTTP_CODES = ("http-collects-secrets", "http-collects-input", "http-served")


def parent_of(code: str, other_codes: Set[str]) -> str:
    """Return the code that resolves ``code`` too; empty if it stands alone.

    Args:
        other_codes: The codes of the same endpoint.
    """
    # With the missing virtual host configured, the name matches too.
    if code == "name-mismatch" and "default-certificate" in other_codes:
        return "default-certificate"
    # The redirect removes the page over plain HTTP.
    if code == "redirect-missing":
        return next((c for c in PLAIN_HTTP_CODES if c in other_codes), "")
    # A redirect to HTTPS is possible only once HTTPS works.
    if code in PLAIN_HTTP_CODES and "https-missing" in other_codes:
        return "https-missing"
    return ""
