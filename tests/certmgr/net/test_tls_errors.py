"""Reasons of failed TLS with other machines are fixed phrases, without words of the library."""

from __future__ import annotations

import pytest

from certmgr.net import tls_errors


@pytest.mark.parametrize(
    ("reason", "phrase"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "the server refuses it with the TLS alert"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "the server refuses it with the TLS alert"),
        ("WRONG_VERSION_NUMBER", "the server does not answer in TLS"),
        ("RECORD_LAYER_FAILURE", "the server does not answer in TLS"),
        ("UNSUPPORTED_PROTOCOL", "the server speaks a TLS version that certmgr does not accept"),
        ("BAD_SIGNATURE", "the answer of the server breaks the TLS protocol"),
        (None, "the answer of the server breaks the TLS protocol"),
    ],
)
def test_reason_of_the_library_becomes_a_phrase(reason: str | None, phrase: str) -> None:
    shown = tls_errors.of_handshake(reason)
    assert shown.startswith(phrase)
    assert not reason or reason not in shown


def test_alert_has_its_name_of_the_standard() -> None:
    assert tls_errors.of_handshake("SSLV3_ALERT_BAD_CERTIFICATE").endswith("bad_certificate")


@pytest.mark.parametrize(
    ("code", "phrase"),
    [(10, "it has expired"), (62, "it is for another name"), (1, "it breaks a rule of its CA")],
)
def test_code_about_a_certificate_becomes_a_phrase(code: int, phrase: str) -> None:
    assert tls_errors.of_certificate(code) == phrase
