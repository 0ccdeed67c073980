"""ManageSieve: Dovecot (with its LMTP, in one process), and the grammar of responses."""

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
from tests.servers import starttls

GREETING = b'"IMPLEMENTATION" "Example"\r\n"SASL" ""\r\n"STARTTLS"\r\nOK "ready"\r\n'


def test_certificates_of_dovecot_are_read_by_managesieve_and_lmtp(
    probe: Probe, pair: tuple[Path, Path], tmp_path: Path, opened: Stack
) -> None:
    tmp_path.chmod(0o755)
    sieve, lmtp = opened.enter_context(starttls.mail_store(tmp_path, *pair))
    assert_trusted(probe, sieve, "managesieve")
    assert_trusted(probe, sieve, "sieve")
    assert_trusted(probe, lmtp, "lmtp")


@pytest.mark.parametrize(
    "greeting",
    [
        GREETING,
        GREETING.lower(),
        b'"STARTTLS"\r\nOK (SASL "x") "ready"\r\n',
        # Literals, one of which looks like the end of the greeting.
        b'"IMPLEMENTATION" {16}\r\nOK "ready"\r\nNO\r\n\r\n"STARTTLS"\r\nOK {5+}\r\nready\r\n',
    ],
)
def test_tls_starts_after_the_capabilities(greeting: bytes) -> None:
    assert_started("managesieve", greeting, b'OK "begin"\r\n')
    assert_started("managesieve", greeting, b"ok\r\n")


def test_refusals_of_tls_and_of_the_client_differ() -> None:
    assert_refused("managesieve", b'"SASL" "PLAIN"\r\nOK\r\n', reason="does not offer")
    assert_refused("managesieve", GREETING, b'NO "no certificate"\r\n', reason="no certificate")
    assert_refused("managesieve", b"* OK IMAP4 ready\r\n")
    assert_undetermined("managesieve", b'BYE "too many connections"\r\n')
    assert_undetermined("managesieve", GREETING, b'BYE (TRYLATER) "restart"\r\n')
