"""FTP: pyftpdlib, and replies of several lines."""

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


def test_certificate_of_pyftpdlib_is_read(
    probe: Probe, pair: tuple[Path, Path], tmp_path: Path, opened: Stack
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair[0].read_bytes() + pair[1].read_bytes())
    assert_trusted(probe, opened.enter_context(real.ftp(both)), "ftp")


@pytest.mark.parametrize(
    "greeting",
    [
        b"220 ready\r\n",
        b"220\r\n",
        # RFC 959 4.2: only the code of the first line, with a blank, ends the reply.
        b"220-Welcome\r\n123 files today\r\n220-more\r\n421 downloads\r\n530\r\n220 ready\r\n",
        b"220-Welcome\r\n 220 is not the end\r\n\r\n2201 neither\r\n220\r\n",
        b"120 ready in 1 minute\r\n220 ready\r\n",
    ],
)
def test_tls_starts_after_any_greeting(greeting: bytes) -> None:
    assert_started("ftp", greeting, b"234 AUTH command ok\r\n")
    assert_started("ftp", greeting, b"334 AUTH TLS ok\r\n")
    assert_started("ftp", greeting, b"234-AUTH\r\n500 bytes\r\n234 ok\r\n")


def test_refusals_of_tls_and_of_the_client_differ() -> None:
    greeting = b"220-hello\r\n220 ready\r\n"
    for first in (b"500 what?\r\n", b"502 not implemented\r\n", b"504 TLS unknown\r\n"):
        assert_started("ftp", greeting, first, b"334 [AUTH SSL]\r\n")
        assert_refused("ftp", greeting, first, b"504 SSL unknown\r\n", reason=first[:3].decode())
        assert_undetermined("ftp", greeting, first, b"421 timeout\r\n")
    assert_refused("ftp", greeting, b"530 log in with USER and PASS\r\n")
    assert_refused("ftp", greeting, b"534-no\r\n234 is no consent here\r\n534 no TLS\r\n")
    assert_refused("ftp", b"+OK\r\n")
    assert_undetermined("ftp", b"421 too many users\r\n")
    assert_undetermined("ftp", b"530 your address is blocked\r\n")
    assert_undetermined("ftp", greeting, b"421 timeout\r\n")
