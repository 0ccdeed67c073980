"""Situations of the TLS records of a page, and of what a server sends between them."""

from __future__ import annotations

from typing import Any

from tests.certmgr.browser.flights import Serve, answer, served, ticket
from tests.certmgr.browser.own_tls import (
    ALERT,
    CHANGE_CIPHER,
    DATA,
    HANDSHAKE,
    Flight12,
    Flight13,
    Stream,
    accept12,
    accept13,
    message,
    record,
)
from tests.certmgr.browser.situations import Group

GROUP = Group("page-records")


def _add13(name: str, serve: Serve = answer, **fields: Any) -> None:
    GROUP.add(f"{name}-version-1.3", served(accept13, Flight13(**fields), serve), relative=True)


def _add12(name: str, serve: Serve = answer, **fields: Any) -> None:
    GROUP.add(f"{name}-version-1.2", served(accept12, Flight12(**fields), serve), relative=True)


# The page
def _in_records(size: int, padding: int = 0) -> Serve:
    def serve(stream: Stream, data: bytes) -> None:
        for n in range(0, len(data), size):
            stream.send(DATA, data[n : n + size], padding)
        stream.send(ALERT, b"\1\0")

    return serve


def _before(*parts: tuple[int, bytes]) -> Serve:
    """Send records, and then the page."""

    def serve(stream: Stream, data: bytes) -> None:
        for kind, content in parts:
            stream.send(kind, content)
        answer(stream, data)

    return serve


def _after(kind: int, content: bytes) -> Serve:
    """Send the page, and then a record."""

    def serve(stream: Stream, data: bytes) -> None:
        stream.send(DATA, data)
        stream.send(kind, content)

    return serve


def _plain(data: bytes) -> Serve:
    """Send bytes without encryption, and then the page."""

    def serve(stream: Stream, page_data: bytes) -> None:
        stream.sock.sendall(data)
        answer(stream, page_data)

    return serve


def _unclosed(stream: Stream, data: bytes) -> None:
    stream.send(DATA, data)


def _half(stream: Stream, data: bytes) -> None:
    stream.send(DATA, data[:-9])


def _half_with_alert(stream: Stream, data: bytes) -> None:
    stream.send(DATA, data[:-9])
    stream.send(ALERT, b"\2\x50")


for _add in (_add13, _add12):
    _add("in-one-record")
    _add("in-bytes", _in_records(1))
    _add("unclosed", _unclosed)
    _add("cut", _half)
    _add("cut-with-alert", _half_with_alert)
    _add("after-empty-record", _before((DATA, b"")))
    _add("after-30-empty-records", _before(*[(DATA, b"")] * 30))
    _add("after-40-empty-records", _before(*[(DATA, b"")] * 40))
    _add("after-warning", _before((ALERT, b"\1\x5a")))
    _add("after-warning-112", _before((ALERT, b"\1\x70")))
    _add("after-three-warnings", _before(*[(ALERT, b"\1\x5a")] * 3))
    _add("after-five-warnings", _before(*[(ALERT, b"\1\x5a")] * 5))
    _add("after-close", _before((ALERT, b"\1\0")))
    _add("after-alert", _before((ALERT, b"\2\x50")))
    _add("after-alert-40", _before((ALERT, b"\2\x28")))
    _add("after-alert-of-one-byte", _before((ALERT, b"\2")))
    _add("after-hello-request", _before((HANDSHAKE, message(0, b""))))
    _add("after-change-cipher", _before((CHANGE_CIPHER, b"\1")))
    _add("after-unknown-record", _before((99, b"x")))
    _add("after-heartbeat", _before((24, b"\1\0\0")))
    _add("after-plain-data", _plain(record(DATA, b"x" * 40)))
    _add("after-plain-alert", _plain(record(ALERT, b"\2\x28")))
    _add("after-plain-change-cipher", _plain(record(CHANGE_CIPHER, b"\1")))
    _add("then-alert", _after(ALERT, b"\2\x50"))
    _add("then-garbage", _after(HANDSHAKE, b"\x63\0\0\0"))
    _add("in-record-of-16384", lambda s, d: answer(s, d + b" " * (16384 - len(d))))
    _add("in-record-of-16385", lambda s, d: answer(s, d + b" " * (16385 - len(d))))
_add13("padded", _in_records(100, 3000))
_add13("after-padding-only", _before((DATA, b"")), after=[ticket()])
_add13(
    "after-ticket-in-two-records",
    _before((HANDSHAKE, ticket()[:9]), (HANDSHAKE, ticket()[9:])),
)
_add13("between-ticket", _before((HANDSHAKE, ticket()[:9]), (DATA, b"")))
