"""Secrets are removed from log lines: those of the configuration, and credentials in URLs."""

from __future__ import annotations

import re

_MASK = "***"
# A password with an unencoded "@" is removed up to the last one.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+(?=@)")
# Fields of a query. One expression for those with a secret would take quadratic time.
_FIELD = re.compile(r"([?&;])([\w.-]+)=[^&;\s#'\"<>]+")
# Fields with a secret: ?password=, &sslpassword=, ?access_token=, &api-key=, &sig=.
_SECRET_FIELD = re.compile(
    r"pass|pwd|secret|token|key|auth|signature|sig|credential", re.IGNORECASE
)
# Shorter values would mask ordinary words.
_SHORTEST = 6
_secrets: set[str] = set()


def register(secret: str) -> None:
    """Remember a resolved secret, so that no log line shows it."""
    if len(secret) >= _SHORTEST:
        _secrets.add(secret)


def redact(text: str) -> str:
    """Return the text without known secrets and without credentials in URLs."""
    text = _FIELD.sub(_masked, _CREDENTIALS.sub(_MASK, text))
    # Longer secrets first: one may contain another.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return text


def _masked(field: re.Match[str]) -> str:
    return f"{field[1]}{field[2]}={_MASK}" if _SECRET_FIELD.search(field[2]) else field[0]
