"""POP3: the case of keywords. test_imap.py reads the certificate of Dovecot."""

from __future__ import annotations

import pytest

from tests.inventory.protocols.dialogues import (
    assert_refused,
    assert_started,
    assert_undetermined,
)


@pytest.mark.parametrize("greeting", [b"+OK ready", b"+ok ready <1@example.test>", b"+Ok"])
@pytest.mark.parametrize("answer", [b"+OK begin", b"+ok begin", b"+ok"])
def test_tls_starts_in_any_case_of_the_answer(greeting: bytes, answer: bytes) -> None:
    assert_started("pop3", greeting + b"\r\n", answer + b"\r\n")


def test_refusals_of_tls_and_of_the_client_differ() -> None:
    assert_refused("pop3", b"+ok\r\n", b"-err unknown command\r\n", reason="unknown command")
    assert_refused("pop3", b"* OK IMAP4 ready\r\n")
    assert_refused("pop3", b"+OKAY\r\n")
    assert_undetermined("pop3", b"-err too many connections\r\n")
