"""Reasons of a failed handshake are fixed phrases and not the words of the TLS library."""

from __future__ import annotations

import pytest

from certmgr.scan import handshake_reasons as reasons


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        ("inappropriate fallback", reasons.DOWNGRADED),
        ("wrong ssl version", reasons.OTHER_VERSION),
        ("provider signature failure; bad signature", reasons.WRONG_SIGNATURE),
        ("decryption failed or bad record mac; record layer failure", reasons.UNREADABLE),
        ("unexpected message", reasons.BROKEN),
        ("", reasons.BROKEN),
    ],
)
def test_words_of_the_library_become_a_phrase(words: str, phrase: str) -> None:
    assert reasons.of_words(words) == phrase


@pytest.mark.parametrize(("number", "shown"), [(40, "40 (handshake_failure)"), (255, "255")])
def test_alert_is_named_by_its_number(number: int, shown: str) -> None:
    assert reasons.alert_name(number) == shown
