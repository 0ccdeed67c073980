"""What is read of a ServerHello before OpenSSL reads it."""

from __future__ import annotations

import pytest

from certmgr.scan.server_hello import (
    ECHOED_SESSION,
    OTHER_VERSION,
    UNEXPECTED,
    UNSOLICITED,
    ServerHelloReader,
)
from tests.certmgr.browser.own_tls import extension, message, record, vector

SESSION = b"s" * 32
WARNING = record(21, bytes([1, 100]))
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
TLS13 = extension(43, b"\3\4")
UNKNOWN = extension(0x1234)


def hello(extensions: bytes, *, session: bytes = b"", random: bytes = bytes(32)) -> bytes:
    body = b"\3\3" + random + vector(1, session) + b"\x13\1\0"
    return message(2, body + vector(2, extensions))


def read(data: bytes, size: int = 0) -> tuple[bytes, ServerHelloReader]:
    """Feed bytes, a number of them at a time, and return those that are passed on."""
    reader = ServerHelloReader()
    reader.session = SESSION
    size = size or len(data)
    passed = b"".join(reader.feed(data[n : n + size]) for n in range(0, len(data), size))
    return passed, reader


@pytest.mark.parametrize(
    ("extensions", "session", "problem"),
    [
        (TLS13, SESSION, ""),
        (extension(0xFF01, b"\0"), b"", ""),
        (extension(0xFF01, b"\0"), b"t" * 32, ""),
        (b"", SESSION, ECHOED_SESSION),
        (TLS13 + UNKNOWN, SESSION, UNSOLICITED),
        (UNKNOWN, b"", UNSOLICITED),
        (extension(0xFF2A), b"", UNSOLICITED),
        (extension(23), b"", ""),
        (extension(23, b"x"), b"", UNSOLICITED),
        (extension(11, b"\2\1\0"), b"", ""),
        (extension(11, b"\1\1"), b"", UNSOLICITED),
        (extension(43, b"\3\3"), b"", ""),
        (extension(43, b"\3\5"), b"", OTHER_VERSION),
    ],
)
def test_server_hello_is_refused_as_browsers_refuse_it(
    extensions: bytes, session: bytes, problem: str
) -> None:
    data = record(22, hello(extensions, session=session))
    passed, reader = read(data)
    assert (passed, reader.problem, reader.done) == (data, problem, True)


@pytest.mark.parametrize("size", [1, 4, 5, 50, 0])
def test_server_hello_in_several_records_and_pieces_is_read(size: int) -> None:
    content = hello(UNKNOWN)
    data = b"".join(record(22, content[n : n + 7]) for n in range(0, len(content), 7))
    passed, reader = read(data, size)
    assert (passed, reader.problem) == (data, UNSOLICITED)


def test_hello_after_a_retry_is_read_too() -> None:
    retry = record(22, hello(TLS13, random=RETRY)) + record(20, b"\1")
    passed, reader = read(retry)
    assert (passed, reader.done) == (retry, False)
    reader.feed(record(22, hello(TLS13 + UNKNOWN)))
    assert reader.problem == UNSOLICITED


def test_warning_without_meaning_before_the_hello_is_dropped() -> None:
    data = record(22, hello(TLS13))
    assert read(WARNING + data)[0] == data
    other = record(21, bytes([1, 112]))
    assert read(other + data)[0] == other + data


def test_what_follows_the_hello_is_passed_on_unread() -> None:
    reader = read(record(22, hello(TLS13)))[1]
    assert reader.feed(WARNING) == WARNING
    assert not reader.problem


def test_request_for_a_new_handshake_before_the_hello_is_unexpected() -> None:
    assert read(record(22, message(0, b"")))[1].problem == UNEXPECTED


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        bytes(100),
        record(23, b"data"),
        b"\x16\3\3\xff\xff" + bytes(90),
        record(22, b"\2\xff\xff\xff" + bytes(90)),
        record(22, message(11, b"\0\0\0")),
        record(22, message(2, b"")),
        record(22, message(2, b"\3\3" + bytes(32))),
        record(22, message(2, b"\3\3" + bytes(32) + b"\xff")),
        record(22, message(2, b"\3\3" + bytes(36) + b"\xff\xff\0\x2b")),
    ],
)
@pytest.mark.parametrize("size", [1, 0])
def test_anything_else_is_passed_on_without_a_problem(data: bytes, size: int) -> None:
    passed, reader = read(data, size)
    assert (passed, reader.problem) == (data, "")
