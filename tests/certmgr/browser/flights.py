"""Situations of the messages of a server of TLS 1.3: extensions, records, and what follows.

``own_tls.py`` sends them. Those of TLS 1.2 are in ``flights_12.py``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from tests.certmgr.browser.own_tls import (
    ALERT,
    CHANGE_CIPHER,
    DATA,
    HANDSHAKE,
    Flight13,
    Stream,
    accept13,
    extension,
    message,
    offered,
    record,
    vector,
)
from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import Handler, Site, client_hello, page
from tests.certmgr.browser.situations import Group

GROUP = Group("flights")
_ORDINARY = frozenset({"entry-staple-garbage", "ticket-with-grease", "records-padded"})
_PAGE = page()
Serve = Callable[[Stream, bytes], None]


def answer(stream: Stream, data: bytes) -> None:
    """Send a page in one record, and close."""
    stream.send(DATA, data)
    stream.send(ALERT, b"\1\0")


def served(
    accept: Callable[[socket.socket, Any, Any], Stream], flight: Any, serve: Serve
) -> Callable[[str], Handler]:
    def build(host: str) -> Handler:
        made = leaf(host)

        def talk(sock: socket.socket, site: Site) -> None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = accept(sock, made, flight)
            while stream.read()[0] != DATA:
                pass
            serve(stream, _PAGE(site, "/"))
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

        return talk

    return build


def _entries(*listed: bytes) -> Callable[[dict[int, bytes]], list[bytes]]:
    """Return the extensions of certificates. Staples and SCTs are only for clients that ask."""

    def choose(hello: dict[int, bytes]) -> list[bytes]:
        return [
            e if (kind := int.from_bytes(e[:2], "big")) not in (5, 18) or kind in hello else b""
            for e in listed
        ]

    return choose


def _add13(name: str, serve: Serve = answer, **fields: Any) -> None:
    GROUP.add(
        f"{name}-version-1.3",
        served(accept13, Flight13(**fields), serve),
        relative=name not in _ORDINARY,
    )


def alpn(*names: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, n) for n in names)))


def grease(hello: dict[int, bytes]) -> bytes:
    """Return an extension that the client sent only to see that servers ignore it (RFC 8701)."""
    sent = (k for k in hello if k & 0x0F0F == 0x0A0A or (k >> 8 == 0xFF and k & 0xFF > 1))
    kind = next(sent, 0x0A0A)
    return extension(kind, hello.get(kind, b""))


def if_offered(kind: int, content: bytes) -> Callable[[dict[int, bytes]], bytes]:
    return lambda hello: extension(kind, content) if kind in hello else b""


def always(content: bytes | None) -> Callable[[dict[int, bytes]], bytes | None]:
    return lambda _: content


STAPLE = b"\1" + vector(3, bytes(40))
TIMESTAMPS = vector(2, vector(2, bytes(47)))

# TLS 1.3: EncryptedExtensions. Browsers refuse what they did not offer (RFC 8446 4.2).
_ENCRYPTED: dict[str, bytes | Callable[[dict[int, bytes]], bytes]] = {
    "none": b"",
    "server-name": extension(0),
    "server-name-with-content": extension(0, b"x"),
    "server-name-twice": extension(0) * 2,
    "alpn": alpn(b"http/1.1"),
    "alpn-not-offered": alpn(b"spdy/3"),
    "alpn-two": alpn(b"http/1.1", b"h2"),
    "alpn-empty": alpn(),
    "alpn-empty-name": alpn(b""),
    "alpn-cut": extension(16, b"\0\x09\x08http"),
    "groups": extension(10, b"\0\4\0\x1d\0\x17"),
    "groups-unknown": extension(10, b"\0\2\x99\x99"),
    "groups-empty": extension(10, b""),
    "unknown": extension(0x1234),
    "grease": grease,
    "key-share": extension(51, b"\0\x1d"),
    "versions": extension(43, b"\3\4"),
    "status": extension(5),
    "master-secret": extension(23),
    "renegotiation": extension(0xFF01, b"\0"),
    "point-formats": extension(11, b"\1\0"),
    "ticket": extension(35),
    "signatures": extension(13, b"\0\2\4\3"),
    "padding": extension(21),
    "timestamps": extension(18, TIMESTAMPS),
    "early-data": extension(42),
    "fragment-size": extension(1, b"\4"),
    "next-protocol": extension(13172, b"\2h2"),
    "encrypt-then-mac": extension(22),
    "cookie": extension(44, b"\0\1x"),
    "psk": extension(41, b"\0\0"),
    "psk-modes": extension(45, b"\1\1"),
    "certificate-type": extension(20, b"\0"),
    "client-certificate-type": extension(19, b"\0"),
    "compression": extension(27, b"\2\0\2"),
    "hello-encrypted-garbage": if_offered(0xFE0D, b"garbage"),
    "hello-encrypted-unknown-version": if_offered(0xFE0D, vector(2, b"\x99\x99\0\2ab")),
}
for _name, _content in _ENCRYPTED.items():
    _make: Any = _content if callable(_content) else always(_content)
    _add13(f"encrypted-{_name}", encrypted=_make)

# TLS 1.3: the other extensions
_add13("hello-psk", hello=extension(41, b"\0\0"))
_add13("hello-unknown", hello=extension(0x1234))
_add13("hello-server-name", hello=extension(0))
_add13("hello-alpn", hello=alpn(b"http/1.1"))
_add13("hello-renegotiation", hello=extension(0xFF01, b"\0"))
_add13("hello-version-twice", hello=extension(43, b"\3\4"))
_add13("entry-staple-garbage", entries=_entries(extension(5, STAPLE)))
_add13("entry-staple-of-issuer", entries=_entries(b"", extension(5, STAPLE)))
_add13("entry-staple-empty", entries=_entries(extension(5, b"\1\0\0\0")))
_add13("entry-staple-of-another-type", entries=_entries(extension(5, b"\2\0\0\1x")))
_add13("entry-staple-twice", entries=_entries(extension(5, STAPLE) * 2))
_add13("entry-timestamps", entries=_entries(extension(18, TIMESTAMPS)))
_add13("entry-timestamps-of-issuer", entries=_entries(b"", extension(18, TIMESTAMPS)))
_add13("entry-unknown", entries=_entries(extension(0x1234)))
_add13("entry-server-name", entries=_entries(extension(0)))
_add13("certificate-context", context=b"x")
_add13("scheme-of-p384", scheme=0x0503)
_add13("scheme-of-rsa", scheme=0x0804)
_add13("scheme-unknown", scheme=0x9999)
_add13("scheme-sha1", scheme=0x0203)


# TLS 1.3: messages
def _without(kind: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda messages: [m for m in messages if m[0] != kind]


def _request(content: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda messages: [messages[0], message(13, content), *messages[1:]]


_SCHEMES = extension(13, b"\0\2\4\3")
_add13("messages-without-certificate", change=_without(11))
_add13("messages-without-verify", change=_without(ord("v")))
_add13("messages-reversed", change=lambda m: [m[1], m[0], m[2]])
_add13("messages-certificate-twice", change=lambda m: [m[0], m[1], *m[1:]])
_add13("messages-hello-request", change=lambda m: [message(0, b""), *m])
_add13("messages-certificate-empty", change=lambda m: [m[0], message(11, b"\0\0\0\0"), m[2]])
_add13("messages-unknown", change=lambda m: [*m, message(99, b"")])
_add13("messages-extensions-cut", change=lambda m: [message(8, b"\0\7abc"), *m[1:]])
_add13("messages-extensions-and-more", change=lambda m: [message(8, b"\0\0x"), *m[1:]])
_add13("request-wished", change=_request(b"\0" + vector(2, _SCHEMES)))
_add13("request-without-schemes", change=_request(b"\0\0\0"))
_add13("request-with-context", change=_request(b"\1x" + vector(2, _SCHEMES)))
_add13("request-with-unknown", change=_request(b"\0" + vector(2, _SCHEMES + extension(0x1234))))
_add13(
    "request-twice",
    change=lambda m: _request(b"\0" + vector(2, _SCHEMES))(
        _request(b"\0" + vector(2, _SCHEMES))(m)
    ),
)
_add13("finished-and-more", with_finished=message(4, b""))
_add13("finished-and-garbage", with_finished=b"x")


# TLS 1.3: records of the handshake
def _sized(size: int, padding: int = 0) -> Callable[[list[bytes]], list[tuple[bytes, int]]]:
    def wrap(messages: list[bytes]) -> list[tuple[bytes, int]]:
        data = b"".join(messages)
        return [(data[n : n + size], padding) for n in range(0, len(data), size)]

    return wrap


_add13("records-of-one-byte", wrap=_sized(1))
_add13("records-of-three-bytes", wrap=_sized(3))
_add13("records-of-messages", wrap=lambda m: [(x, 0) for x in m if x])
_add13("records-padded", wrap=_sized(9000, 5000))
_add13("records-padded-to-the-limit", wrap=lambda m: [(b"".join(m), 16384 - len(b"".join(m)))])
_add13("records-padded-beyond", wrap=lambda m: [(b"".join(m), 16385 - len(b"".join(m)))])
_add13("records-empty-first", wrap=lambda m: [(b"", 0), (b"".join(m), 0)])
_add13("change-cipher-none", between=b"")
_add13("change-cipher-twice", between=record(CHANGE_CIPHER, b"\1") * 2)
_add13("change-cipher-40", between=record(CHANGE_CIPHER, b"\1") * 40)
_add13("change-cipher-of-two-bytes", between=record(CHANGE_CIPHER, b"\1\1"))
_add13("change-cipher-wrong", between=record(CHANGE_CIPHER, b"\2"))
_add13("between-warning", between=record(ALERT, b"\1\x5a"))
_add13("between-empty-handshake", between=record(HANDSHAKE, b""))
_add13("between-extensions-not-encrypted", between=record(HANDSHAKE, message(8, b"\0\0")))
_add13("between-data", between=record(DATA, b""))


# TLS 1.3: after the handshake
def ticket(
    lifetime: int = 7200, extensions: bytes = b"", nonce: bytes = b"1", content: bytes = b"t" * 90
) -> bytes:
    body = lifetime.to_bytes(4, "big") + b"\1\2\3\4" + vector(1, nonce) + vector(2, content)
    return message(4, body + vector(2, extensions))


for _count in (1, 2, 40, 1000):
    _add13(f"ticket-{_count}", after=[ticket(nonce=_count.to_bytes(2, "big"))] * _count)
_add13("ticket-without-life", after=[ticket(lifetime=0)])
_add13("ticket-of-a-year", after=[ticket(lifetime=31_536_000)])
_add13("ticket-with-unknown", after=[ticket(extensions=extension(0x1234))])
_add13("ticket-with-grease", after=[ticket(extensions=extension(0x2A2A, b"x"))])
_add13("ticket-with-early-data", after=[ticket(extensions=extension(42, b"\0\0\x40\0"))])
_add13("ticket-with-early-data-cut", after=[ticket(extensions=extension(42, b"\0"))])
_add13("ticket-with-extension-twice", after=[ticket(extensions=extension(42, bytes(4)) * 2)])
_add13("ticket-empty", after=[ticket(content=b"")])
_add13("ticket-without-nonce", after=[ticket(nonce=b"")])
_add13("ticket-of-60-kilobytes", after=[ticket(content=b"t" * 15_000)])
_add13("ticket-cut", after=[message(4, b"\0\0")])
_add13("ticket-and-more", after=[ticket()[:1] + vector(3, ticket()[4:] + b"x")])
_add13("after-hello-request", after=[message(0, b"")])
_add13("after-certificate-request", after=[message(13, b"\1x" + vector(2, _SCHEMES))])
_add13("after-unknown", after=[message(99, b"")])
_add13("after-empty", after=[b""])
_add13("after-finished", after=[message(20, bytes(32))])
_add13("after-key-update-malformed", after=[message(24, b"\2")])
_add13("after-key-update-cut", after=[message(24, b"")])


def _hello_only(then: bytes) -> Callable[[str], Handler]:
    """Send a ServerHello of TLS 1.3 for a client that offers the group, and then some bytes."""

    def build(host: str) -> Handler:
        def talk(sock: socket.socket, site: Site) -> None:
            hello = client_hello(sock)
            kinds = extension(43, b"\3\4") + extension(51, b"\0\x1d" + vector(2, b"\7" * 32))
            session = hello[43 : 44 + hello[43]]
            body = b"\3\3" + bytes(range(32)) + session + b"\x13\1\0" + vector(2, kinds)
            assert offered(hello)
            sock.sendall(record(HANDSHAKE, message(2, body)) + then)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass

        return talk

    return build


for _name, _then in {
    "close": b"",
    "alert-40": record(ALERT, b"\2\x28"),
    "alert-112": record(ALERT, b"\2\x70"),
    "warning-0": record(ALERT, b"\1\0"),
    "garbage": record(DATA, bytes(60)),
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}.items():
    GROUP.add(f"hello-then-{_name}-version-1.3", _hello_only(_then), relative=True)
