"""Reasons of a failed handshake are fixed phrases and not the words of the TLS library."""

from __future__ import annotations

import pytest

from certmgr.checks import handshake_reasons as reasons
from certmgr.scan.evidence import Failure, FailureKind


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        ("inappropriate fallback", reasons.DOWNGRADED),
        ("wrong ssl version", reasons.OTHER_VERSION),
        ("provider signature failure; bad signature", reasons.WRONG_SIGNATURE),
        ("decryption failed or bad record mac; record layer failure", reasons.UNREADABLE),
        ("unexpected message", reasons.BROKEN),
    ],
)
def test_words_of_the_library_become_a_phrase(words: str, phrase: str) -> None:
    assert reasons.handshake_reason(Failure("tls", FailureKind.TLS, words)) == phrase


@pytest.mark.parametrize(("number", "shown"), [(40, "40 (handshake_failure)"), (255, "255")])
def test_alert_is_named_by_its_number(number: int, shown: str) -> None:
    failure = Failure("tls", FailureKind.ALERT, "tls alert x", alert=number)
    assert reasons.handshake_reason(failure) == {reasons.ALERT: shown}


def test_reason_of_this_program_is_kept() -> None:
    failure = Failure("tls", FailureKind.CLOSED, "the server closed the connection")
    assert reasons.handshake_reason(failure) == "the server closed the connection"
