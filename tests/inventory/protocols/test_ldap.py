"""LDAP: slapd, and answers in all forms of BER."""

from __future__ import annotations

from collections.abc import Callable
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


def test_certificate_of_slapd_is_read(
    probe: Probe, pair: tuple[Path, Path], tmp_path: Path, opened: Stack
) -> None:
    assert_trusted(probe, opened.enter_context(real.slapd(tmp_path, *pair)), "ldap")


def _short(tag: int, content: bytes) -> bytes:
    return bytes((tag, len(content))) + content


def _long(width: int) -> Callable[[int, bytes], bytes]:
    """Return an encoder with a length of ``width`` bytes after the first."""
    return lambda tag, content: (
        bytes((tag, 0x80 + width)) + len(content).to_bytes(width, "big") + content
    )


def _answer(
    encode: Callable[[int, bytes], bytes],
    result: bytes = b"\0",
    message_id: bytes = b"\1",
    diagnostic: bytes = b"",
    operation: int = 0x78,
    name: bytes = b"1.3.6.1.4.1.1466.20037",
) -> bytes:
    body = encode(0x0A, result) + encode(0x04, b"") + encode(0x04, diagnostic) + encode(0x8A, name)
    return encode(0x30, encode(0x02, message_id) + encode(operation, body))


# From a domain controller: lengths of four bytes, and the request's name in the answer.
ACTIVE_DIRECTORY = (
    bytes.fromhex("308400000028020101788400 00001f 0a0100 0400 0400 8a16".replace(" ", ""))
    + b"1.3.6.1.4.1.1466.20037"
)


def test_answer_of_active_directory_starts_tls() -> None:
    assert_started("ldap", ACTIVE_DIRECTORY)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 8, 126])
def test_every_long_form_starts_tls(width: int) -> None:
    assert_started("ldap", _answer(_long(width)))


def test_parts_may_differ_in_their_form() -> None:
    assert_started("ldap", _answer(_short, message_id=b"\0\0\0\1"))
    assert_started("ldap", _answer(_short, diagnostic=b"\x78\x0a" * 20))
    body = bytes.fromhex("0a810100") + b"\4\0\4\0"
    assert_started("ldap", _short(0x30, b"\x02\x82\0\1\1" + _long(3)(0x78, body)))


@pytest.mark.parametrize("encode", [_short, _long(4)], ids=["short", "long"])
def test_refusals_of_tls_and_of_the_client_differ(
    encode: Callable[[int, bytes], bytes],
) -> None:
    # unavailable: a domain controller without a certificate
    unavailable = _answer(encode, b"\x34", diagnostic=b"00000000: LdapErr: no SSL\0")
    assert_refused("ldap", unavailable, reason=r"result 52: 00000000: LdapErr: no SSL$")
    assert_refused("ldap", _answer(encode, b"\2"), reason="result 2")
    assert_refused("ldap", _answer(encode, operation=0x61), reason="not an extended response")
    assert_refused("ldap", _answer(encode, message_id=b"\2"))
    assert_undetermined("ldap", _answer(encode, b"\x33"), reason="result 51")
    notice = _answer(encode, b"\x34", message_id=b"\0", name=b"1.3.6.1.4.1.1466.20036")
    assert_undetermined("ldap", notice)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x30\x80\x02\x01\x01",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\xff" + b"\xff" * 127,
        b"\x30\x03\x02\x05\x01",
        b"\x30\x02\x02\x84",
        b"\x30\x00",
        b"\x30\x05\x02\x01\x01\x78\x00",
        b"\x30\x07\x02\x01\x01\x78\x02\x0a\x00",
        b"\x30\x04\x02\x80\x78\x80",
    ],
)
def test_broken_lengths_are_refused(answer: bytes) -> None:
    assert_refused("ldap", answer)
