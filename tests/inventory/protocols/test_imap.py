"""IMAP and POP3: Dovecot, and the case of keywords and tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certmgr.tls_servers import Probe, Stack
from tests.inventory.protocols.dialogues import (
    assert_refused,
    assert_started,
    assert_trusted,
    assert_undetermined,
)
from tests.servers import real


def test_certificate_of_dovecot_is_read_by_imap_and_pop3(
    probe: Probe, pair: tuple[Path, Path], tmp_path: Path, opened: Stack
) -> None:
    tmp_path.chmod(0o755)
    imap, pop3 = opened.enter_context(real.dovecot(tmp_path, *pair))
    assert_trusted(probe, imap, "imap")
    assert_trusted(probe, pop3, "pop3")


@pytest.mark.parametrize("answer", [b"c1 OK", b"C1 OK begin", b"C1 ok begin", b"c1 ok"])
@pytest.mark.parametrize("greeting", [b"* OK ready", b"* ok", b"* OK [CAPABILITY STARTTLS] hi"])
def test_tls_starts_in_any_case_of_the_answer(greeting: bytes, answer: bytes) -> None:
    assert_started("imap", greeting + b"\r\n", answer + b"\r\n")
    assert_started("imap", greeting + b"\r\n", b"* CAPABILITY IMAP4\r\n" + answer + b"\n")


def test_refusals_of_tls_and_of_the_client_differ() -> None:
    assert_refused("imap", b"* OK\r\n", b"C1 BAD unknown command\r\n", reason="BAD")
    assert_refused("imap", b"* OK\r\n", b"c1 NO no certificate\r\n")
    assert_refused("imap", b"* PREAUTH welcome\r\n")
    assert_refused("imap", b"+OK POP3 ready\r\n")
    assert_undetermined("imap", b"* BYE too many connections\r\n")
    assert_undetermined("imap", b"* OK\r\n", b"* BYE shutting down\r\n")
