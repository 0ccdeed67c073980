"""Situations of the ServerHello, of HelloRetryRequests, alerts and staples."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL

from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.records import changed
from tests.certmgr.browser.serving import (
    Handler,
    Site,
    certificate_wished,
    client_hello,
    refuses,
    reset_at_request,
    reset_on_close,
    sends,
    serves,
    tls,
)
from tests.certmgr.browser.situations import Group

GROUP = Group("hellos")
_1_2, _1_3 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
# RFC 8446 4.1.3: this random value makes a ServerHello a HelloRetryRequest.
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def _add(name: str, build: Callable[[str], Any], *, test: bool = False) -> None:
    GROUP.add(name, build, relative=not test)


def _extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def _hello(
    session: bytes,
    *,
    version: bytes = b"\3\3",
    random: bytes = bytes(range(32)),
    suite: bytes = b"\x13\1",
    compression: int = 0,
    extensions: bytes = _extension(43, b"\3\4"),
) -> bytes:
    """Return a record with a ServerHello."""
    body = version + random + bytes([len(session)]) + session + suite + bytes([compression])
    body += len(extensions).to_bytes(2, "big") + extensions if extensions else b""
    message = b"\2" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\3" + len(message).to_bytes(2, "big") + message


def _session(hello: bytes) -> bytes:
    return hello[44 : 44 + hello[43]]


def _answering(
    make: Callable[[bytes], bytes], then: str = "close", after: bytes = b""
) -> Callable[[str], Handler]:
    """Answer a ClientHello with a ServerHello, and then wait, close, reset, or send bytes."""

    def build(host: str) -> Handler:
        def talk(sock: socket.socket, site: Site) -> None:
            hello = client_hello(sock)
            sock.sendall(make(hello))
            if then == "close":
                sock.shutdown(socket.SHUT_WR)
            elif then == "reset":
                sock.recv(65536)
                reset_on_close(sock)
                return
            elif then == "send":
                sock.recv(65536)
                sock.sendall(after)
                sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

        return talk

    return build


def _share(group: int, size: int) -> bytes:
    return _extension(43, b"\3\4") + _extension(
        51, group.to_bytes(2, "big") + size.to_bytes(2, "big") + b"\7" * size
    )


def _retry(group: int) -> Callable[[bytes], bytes]:
    extensions = _extension(43, b"\3\4") + _extension(51, group.to_bytes(2, "big"))
    return lambda hello: _hello(_session(hello), random=_RETRY, extensions=extensions)


_P256, _P384, _P521, _X25519 = 23, 24, 25, 29
_ALERT_40 = bytes([21, 3, 3, 0, 2, 2, 40])
for _name, _make in {
    "suite-not-offered-version-1.3": lambda h: _hello(_session(h), suite=b"\x13\4"),
    "suite-of-1.2-version-1.3": lambda h: _hello(_session(h), suite=b"\xc0\x2b"),
    "suite-not-offered-version-1.2": lambda h: _hello(b"", suite=b"\xc0\x0b", extensions=b""),
    "suite-of-1.3-version-1.2": lambda h: _hello(b"", suite=b"\x13\1", extensions=b""),
    "session-differs": lambda h: _hello(b"\1" * 32, extensions=_share(_X25519, 32)),
    "compression": lambda h: _hello(_session(h), compression=1, extensions=_share(_X25519, 32)),
    "extension-not-offered": lambda h: _hello(
        _session(h), extensions=_share(_X25519, 32) + _extension(0x1234, b"")
    ),
    "version-not-offered": lambda h: _hello(_session(h), extensions=_extension(43, b"\3\5")),
    "version-1.2-by-extension": lambda h: _hello(_session(h), extensions=_extension(43, b"\3\3")),
    "version-1.1": lambda h: _hello(b"", version=b"\3\2", suite=b"\xc0\x09", extensions=b""),
    "version-1.0-downgraded": lambda h: _hello(
        b"",
        version=b"\3\1",
        random=bytes(24) + b"DOWNGRD\0",
        suite=b"\xc0\x09",
        extensions=b"",
    ),
    "version-1.2-downgraded": lambda h: _hello(
        b"", random=bytes(24) + b"DOWNGRD\1", suite=b"\xc0\x2b", extensions=b""
    ),
    "version-1.2-downgraded-to-1.1": lambda h: _hello(
        b"", random=bytes(24) + b"DOWNGRD\0", suite=b"\xc0\x2b", extensions=b""
    ),
    "share-of-a-group-without-share": lambda h: _hello(_session(h), extensions=_share(_P256, 65)),
    "share-of-a-group-not-offered": lambda h: _hello(_session(h), extensions=_share(_P521, 133)),
    "share-too-short": lambda h: _hello(_session(h), extensions=_share(_X25519, 31)),
    "share-missing": lambda h: _hello(_session(h)),
    "protocol-not-offered-version-1.2": lambda h: _hello(
        b"", suite=b"\xc0\x2b", extensions=_extension(16, b"\0\7\6spdy/3")
    ),
    "protocols-two-version-1.2": lambda h: _hello(
        b"", suite=b"\xc0\x2b", extensions=_extension(16, b"\0\x0c\2h2\x08http/1.1")
    ),
    "renegotiation-info-wrong": lambda h: _hello(
        b"", suite=b"\xc0\x2b", extensions=_extension(0xFF01, b"\5hello")
    ),
    "retry-for-a-group-not-offered": _retry(_P521),
    "retry-for-a-group-with-share": _retry(_X25519),
    "retry-without-reason": lambda h: _hello(_session(h), random=_RETRY),
}.items():
    _add(_name, _answering(_make), test=_name == "version-1.2-downgraded")
_add("retry-twice", lambda host: _retry_twice)
_add("retry-then-close", _answering(_retry(_P384), "close"))
_add("retry-then-reset", _answering(_retry(_P384), "reset"))
_add("retry-then-alert-40", _answering(_retry(_P384), "send", _ALERT_40), test=True)
_add("retry-then-alert-112", _answering(_retry(_P384), "send", bytes([21, 3, 3, 0, 2, 2, 112])))
_add(
    "retry-then-version-1.2",
    _answering(_retry(_P384), "send", _hello(b"", suite=b"\xc0\x2b", extensions=b"")),
)


def _retry_twice(sock: socket.socket, site: Site) -> None:
    hello = client_hello(sock)
    sock.sendall(_retry(_P384)(hello))
    sock.recv(65536)
    sock.sendall(_retry(_P256)(hello))
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(65536):
        pass


# Further alerts as the answer to the ClientHello
for _number in (
    0,
    21,
    22,
    30,
    41,
    43,
    44,
    45,
    46,
    48,
    51,
    60,
    100,
    110,
    111,
    113,
    114,
    115,
    121,
    255,
):
    _add(f"alert-{_number}", refuses(_number))
for _number in (0, 40, 90, 100, 112):
    _add(f"warning-{_number}-and-close", sends(bytes([21, 3, 3, 0, 2, 1, _number])))


# Options of real servers
def _option(bit: int) -> Callable[[SSL.Context], object]:
    return lambda made: made.set_options(1 << bit)


def _close(connection: SSL.Connection, site: Site) -> None:
    connection.shutdown()
    with contextlib.suppress(SSL.Error):
        connection.recv(65536)


for _version in (_1_2, _1_3):
    _text = "1.2" if _version == _1_2 else "1.3"
    for _name, _change in {
        "no-extended-master-secret": _option(0),
        "no-encrypt-then-mac": _option(19),
        "no-tickets": _option(14),
        "certificate-wished": certificate_wished,
        "no-sessions": lambda made: made.set_session_cache_mode(SSL.SESS_CACHE_OFF),
    }.items():
        _add(
            f"{_name}-version-{_text}",
            serves(configure=_change, lowest=_version, highest=_version),
        )
    for _name, _leave in (("closed", _close), ("reset", reset_at_request)):
        _add(
            f"{_name}-after-handshake-version-{_text}",
            serves(talk=_leave, lowest=_version, highest=_version),
        )
    _add(
        f"client-certificate-needed-alpn-version-{_text}",
        serves(lowest=_version, highest=_version, client_certificate=True, alpn=(b"h2",)),
    )


# ALPN
def _protocol(name: bytes) -> Callable[[SSL.Context], object]:
    return lambda made: made.set_alpn_select_callback(lambda *_: name)


for _name in ("spdy/3", "http/1.0", "acme-tls/1"):
    for _version in (_1_2, _1_3):
        _add(
            f"protocol-{_name.replace('/', '-')}-version-{'1.2' if _version == _1_2 else '1.3'}",
            serves(configure=_protocol(_name.encode()), lowest=_version, highest=_version),
        )


# Stapled OCSP responses
def _stapled(data: bytes, must: bool, host: str) -> Handler:
    extensions = {"x": der.extension("1.3.6.1.5.5.7.1.24", der.seq(der.integer(5)))} if must else {}
    return tls(
        leaf(host, extensions=extensions),
        configure=lambda made: made.set_ocsp_server_callback(lambda *_: data),
    )


_TRY_LATER = der.seq(tlv(0x0A, b"\3"))
for _name, _data in {
    "garbage": b"garbage",
    "try-later": _TRY_LATER,
    "unauthorized": der.seq(tlv(0x0A, b"\6")),
    "large": bytes(40_000),
}.items():
    _add(f"staple-{_name}", partial(_stapled, _data, False))
    _add(f"staple-{_name}-must-staple", partial(_stapled, _data, True))


# Flights that are changed on their way
def _flip(position: int) -> Callable[[int, bytes], Any]:
    def change(flight: int, data: bytes) -> Any:
        if flight == 0 and len(data) > position:
            data = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        yield data

    return change


for _version in (_1_2, _1_3):
    _add(
        f"changed-random-version-{'1.2' if _version == _1_2 else '1.3'}",
        changed(_flip(20), lowest=_version, highest=_version),
        test=_version == _1_2,
    )
