"""What a mail system reports if it sends no report in a standard form. Pure.

RFC 3464 and the known forms of plain bounces are read elsewhere; this is for all other systems. A
status code needs no language.
"""

from __future__ import annotations

import re


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_DELAYED = _any(
    r"\bwill (?:be retried|keep|continue|retry|try)\b",
    r"\bstill being\b",
    r"\bwarning message only\b",
    r"\bdelayed\b",
    r"\btemporar",
    r"\bverzögert",
    r"\berneut versucht",
    r"\bretardé",
    r"\bretrasad",
    r"\b4\.\d{1,3}\.\d{1,3}\b",
)
_GIVEN_UP = _any(
    r"\b(?:given|giving|gave) up\b",
    r"\bpermanent",
    r"\b5\.\d{1,3}\.\d{1,3}\b",
    r"\b55[0-4]\b",
)
_FAILED = _any(
    r"\baddress (?:not found|rejected)",
    r"\b(?:user|recipient|mailbox) (?:is )?(?:unknown|not found|unavailable)",
    r"\bunknown (?:user|recipient)",
    r"\bno such (?:user|mailbox|recipient)",
    r"\b(?:wasn[’']t|was not|couldn[’']t|could not) (?:be )?(?:found|delivered)",
    r"\bunable to deliver",
    r"\bundeliver",
    r"\bdelivery (?:has )?failed",
    r"\b(?:trying|attempting|failed) to deliver",
    r"\bnicht zugestellt werden",
    r"\bdauerhafter fehler",
    r"\bn[’']a pas pu être (?:livré|remis|distribué)",
    r"\bno se (?:pudo|ha podido) entregar",
    r"\bnon è stato possibile (?:consegnare|recapitare)",
)


def reported_kind(words: str) -> str:
    """Return bounce, delay or uncertain, from the subject and the text of a mail system."""
    given_up = _GIVEN_UP.search(words) is not None
    # A warning names the same failures as the bounce that may follow.
    if _DELAYED.search(words) and not given_up:
        return "delay"
    # What it reports is unknown: staff read it.
    return "bounce" if given_up or _FAILED.search(words) else "uncertain"
