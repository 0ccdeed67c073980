"""MySQL and MariaDB: a real MariaDB, and greetings of old and full servers."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.certmgr.tls_servers import Probe, Stack
from tests.inventory.protocols.dialogues import (
    HOST,
    assert_refused,
    assert_started,
    assert_trusted,
    assert_undetermined,
    converse,
)
from tests.servers import starttls


def test_certificate_of_mariadb_is_read(
    probe: Probe, pair: tuple[Path, Path], tmp_path: Path, opened: Stack
) -> None:
    port = opened.enter_context(starttls.mariadb(tmp_path, pair))
    assert_trusted(probe, port, "mysql")
    assert_trusted(probe, port, "mariadb")


def test_mariadb_without_tls_has_no_starttls(probe: Probe, tmp_path: Path, opened: Stack) -> None:
    port = opened.enter_context(starttls.mariadb(tmp_path, None))
    assert probe(f"{HOST}:{port}/mysql").severe() == {"starttls-missing"}


def _packet(payload: bytes, number: int = 0) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes((number,)) + payload


def _greeting(capabilities: int = 0xFFFF, version: bytes = b"8.4.3", protocol: int = 10) -> bytes:
    rest = struct.pack("<I8sxHBHHB10x", 7, b"salt" * 2, capabilities, 45, 2, 0xDFFF, 21)
    tail = b"salt" * 3 + b"\0caching_sha2_password\0"
    return _packet(bytes((protocol,)) + version + b"\0" + rest + tail)


def test_request_has_the_flag_of_tls_and_precedes_the_client_hello() -> None:
    conversation = converse("mysql", _greeting())
    assert conversation.started
    header, request = conversation.sent[-1][:4], conversation.sent[-1][4:]
    assert header == b"\x20\0\0\1"
    assert len(request) == 32
    assert struct.unpack_from("<I", request)[0] & 0x0A00 == 0x0A00


@pytest.mark.parametrize("version", [b"5.5.5-10.11.19-MariaDB", b"", b"x" * 200])
def test_tls_starts_with_any_version(version: bytes) -> None:
    assert_started("mysql", _greeting(version=version))


def test_refusals_of_tls_and_of_the_client_differ() -> None:
    assert_refused("mysql", _greeting(0xF7FF), reason="does not support TLS")
    assert_refused("mysql", _greeting(protocol=9))
    assert_undetermined("mysql", _packet(b"\xff\x10\x04Too many connections"), reason="error 1040")
    blocked = b"\xff\x69\x04#HY000Host is blocked"
    # Some servers count the packet that they would have sent before.
    for number in range(2):
        reason = "error 1129: Host is blocked$"
        assert_undetermined("mysql", _packet(blocked, number), reason=reason)


@pytest.mark.parametrize(
    "greeting",
    [
        b"\0\0\0\0",
        _packet(b"\n8.4.3", 0),
        _packet(b"\n8.4.3\0" + b"1" * 14),
        _packet(_greeting()[4:], 1),
        b"\xff\xff\xff\0",
        b"220 mail.example.test ESMTP\r\n",
    ],
)
def test_other_greetings_are_refused(greeting: bytes) -> None:
    assert_refused("mysql", greeting)
