"""Situations of the messages of a server of TLS 1.2. Those of TLS 1.3 are in ``flights.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.certmgr.browser.flights import (
    STAPLE,
    TIMESTAMPS,
    alpn,
    always,
    answer,
    grease,
    if_offered,
    served,
)
from tests.certmgr.browser.own_tls import Flight12, accept12, extension, message, vector
from tests.certmgr.browser.situations import Group

GROUP = Group("flights-12")
_ORDINARY = frozenset({"hello-grease"})


def _add(name: str, **fields: Any) -> None:
    GROUP.add(name, served(accept12, Flight12(**fields), answer), relative=name not in _ORDINARY)


# TLS 1.2: the extensions of the ServerHello
_SECURE = extension(0xFF01, b"\0")


def _if_asked(kind: int, content: bytes) -> Callable[[dict[int, bytes]], bytes]:
    return lambda hello: _SECURE + if_offered(kind, content)(hello)


_HELLO: dict[str, bytes | Callable[[dict[int, bytes]], bytes] | None] = {
    "none": None,
    "empty": b"",
    "secure": _SECURE,
    "secure-twice": _SECURE * 2,
    "secure-empty": extension(0xFF01),
    "master-secret": _SECURE + extension(23),
    "master-secret-with-content": _SECURE + extension(23, b"x"),
    "server-name": _SECURE + extension(0),
    "server-name-with-content": _SECURE + extension(0, b"x"),
    "point-formats": _SECURE + extension(11, b"\1\0"),
    "point-formats-three": _SECURE + extension(11, b"\3\0\1\2"),
    "point-formats-compressed": _SECURE + extension(11, b"\1\1"),
    "point-formats-empty": _SECURE + extension(11, b"\0"),
    "point-formats-cut": _SECURE + extension(11, b"\5\0"),
    "groups": _SECURE + extension(10, b"\0\2\0\x1d"),
    "alpn": _SECURE + alpn(b"http/1.1"),
    "alpn-empty": _SECURE + alpn(),
    "status-without-status": _SECURE + extension(5),
    "status-with-content": _SECURE + extension(5, b"x"),
    "timestamps": _if_asked(18, TIMESTAMPS),
    "versions": _SECURE + extension(43, b"\3\3"),
    "key-share": _SECURE + extension(51, b"\0\x1d"),
    "unknown": _SECURE + extension(0x1234),
    "grease": lambda h: _SECURE + grease(h),
    "encrypt-then-mac": _SECURE + extension(22),
    "fragment-size": _SECURE + extension(1, b"\1"),
    "record-size": _SECURE + extension(28, b"\x40\0"),
    "heartbeat": _SECURE + extension(15, b"\1"),
    "next-protocol": _SECURE + extension(13172, b"\2h2"),
    "channel-id": _SECURE + extension(30032),
    "psk": _SECURE + extension(41, b"\0\0"),
    "early-data": _SECURE + extension(42),
    "signatures": _SECURE + extension(13, b"\0\2\4\3"),
    "settings": _SECURE + extension(17613, b""),
    "compression": _SECURE + extension(27, b"\2\0\2"),
    "padding": _SECURE + extension(21),
    "cut": _SECURE + b"\0\5\0\7",
}
for _name, _listed in _HELLO.items():
    _make = _listed if callable(_listed) else always(_listed)
    _add(f"hello-{_name}", extensions=_make)

# TLS 1.2: messages
_TICKET = message(4, b"\0\0\x1c\x20" + vector(2, b"t" * 90))
_add("ticket-not-announced", ticket=_TICKET)
_STATUS = message(22, STAPLE)
_add("status-announced", extensions=_if_asked(5, b""), status=_STATUS)
_add("status-not-announced", status=_STATUS)
_add(
    "status-empty",
    extensions=lambda _: _SECURE + extension(5),
    status=message(22, b"\1\0\0\0"),
)
_add(
    "status-of-another-type",
    extensions=lambda _: _SECURE + extension(5),
    status=message(22, b"\2\0\0\1x"),
)
_add("session-new", session=lambda _: b"s" * 32)
_add("session-of-client", session=lambda s: s)
_add("session-of-five-bytes", session=lambda _: b"s" * 5)
_add("session-of-33-bytes", session=lambda _: b"s" * 33)
_add("exchange-of-p384", curve=b"\3\0\x18")
_add("exchange-of-p521", curve=b"\3\0\x19")
_add("exchange-of-x448", curve=b"\3\0\x1e")
_add("exchange-of-explicit-curve", curve=b"\1\0\x1d")
_add("exchange-and-more", more=b"x")
_add("scheme-of-p384", scheme=0x0503)
_add("scheme-sha1", scheme=0x0203)
_add("scheme-of-rsa", scheme=0x0401)
_add("scheme-unknown", scheme=0x9999)
_add("scheme-ed25519", scheme=0x0807)
_REQUEST = message(13, b"\1\x40" + vector(2, b"\4\3") + b"\0\0")
_add("done-with-content", done=message(14, b"x"))
_add("done-twice", done=message(14, b"") * 2)
_add("request-without-schemes", request=message(13, b"\1\x40\0\0\0\0"))
_add("request-cut", request=message(13, b"\1"))
_add("request-after-done", done=message(14, b"") + _REQUEST)
_add("hello-request-first", wrap=lambda m: [message(0, b""), *m])
_add("messages-in-one-record", wrap=lambda m: [b"".join(m)])
_add("messages-without-exchange", wrap=lambda m: [*m[:3], *m[4:]])
_add("messages-without-certificate", wrap=lambda m: [m[0], *m[2:]])
_add("messages-reversed", wrap=lambda m: [m[0], *m[1:4][::-1], *m[4:]])
