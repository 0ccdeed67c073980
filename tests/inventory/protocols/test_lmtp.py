"""LMTP: the mail store of Dovecot, and replies that refuse."""

from __future__ import annotations

from tests.inventory.protocols.dialogues import (
    assert_refused,
    assert_started,
    assert_undetermined,
    converse,
)

GREETING = b"220 store.example.test LMTP\r\n"


def test_client_begins_with_lhlo() -> None:
    offer = b"250-store.example.test\r\n250-STARTTLS\r\n250 PIPELINING\r\n"
    assert converse("lmtp", GREETING, offer).sent[1] == b"LHLO scan.example.net\r\n"
    assert_started("lmtp", GREETING, offer, b"220 begin\r\n")


def test_refusals_are_those_of_smtp() -> None:
    assert_undetermined("lmtp", GREETING, b"501 invalid name\r\n")
    assert_refused("lmtp", GREETING, b"250 store.example.test\r\n", reason="does not offer")
