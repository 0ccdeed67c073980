"""What a notice or a decision is about, in words for a person."""

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {"cover": "end of the certificate", "case": "case"}


def topic_text(key: str, references: Mapping[str, str]) -> str:
    """Return what the topic with a key is about.

    Args:
        key: The key of a topic or ticket, such as ``fault:ENDPOINT:CODE:CLIENT``.
        references: The references of tickets that clients see, by key.
    """
    kind, _, rest = key.partition(":")
    # A fault is named by its code and a deadline by its name: fault:ENDPOINT:CODE:CLIENT.
    middle = rest.split(":")[1] if kind in ("fault", "deadline") and ":" in rest else ""
    words = _WORDS.get(kind) or " ".join(filter(None, (kind, middle)))
    reference = references.get(key)
    return f"{words} ({reference})" if reference else words
