"""Situations of TLS records: how a server cuts, wraps and interrupts its handshake."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

from OpenSSL import SSL

from tests.certmgr.browser.pki import leaf, rsa_issuer, rsa_root, trusts
from tests.certmgr.browser.serving import (
    Handler,
    Options,
    Site,
    certificate_wished,
    client_hello,
    context,
    page,
    reset_on_close,
    serves,
    tls,
)
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("records")

_1_2, _1_3 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
# Maps a flight of the server (its number, and its bytes) to what is sent.
Change = Callable[[int, bytes], Iterator[bytes]]


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the head and the content of each record."""
    while len(data) >= 5:
        end = 5 + int.from_bytes(data[3:5], "big")
        yield data[:5], data[5:end]
        data = data[end:]


def _record(kind: int, content: bytes, version: bytes = b"\3\3") -> bytes:
    return bytes([kind]) + version + len(content).to_bytes(2, "big") + content


def _alert(level: int, number: int) -> bytes:
    return _record(21, bytes([level, number]))


def changed(change: Change, **options: Any) -> Callable[[str], Handler]:
    """Serve a page over TLS whose bytes are changed on their way to the client."""

    def build(host: str) -> Handler:
        made = context(leaf(host), Options(**options))
        answer = page()

        def talk(sock: socket.socket, site: Site) -> None:
            connection = SSL.Connection(made, None)
            connection.set_accept_state()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            flights = 0

            def send() -> None:
                nonlocal flights
                data = b""
                with contextlib.suppress(SSL.WantReadError):
                    while True:
                        data += connection.bio_read(65536)
                if data:
                    for part in change(flights, data):
                        sock.sendall(part)
                    flights += 1

            answered = False
            while True:
                try:
                    connection.do_handshake()
                    request = connection.recv(65536)
                except SSL.WantReadError:
                    send()
                    data = sock.recv(65536)
                    if not data:
                        return
                    connection.bio_write(data)
                    continue
                if request and not answered:
                    answered = True
                    send()
                    connection.sendall(answer(site, "/"))
                    connection.shutdown()
                    send()
                    # Closing with unread bytes would reset the connection.
                    while sock.recv(65536):
                        pass
                    return

        return talk

    return build


def _add(name: str, change: Change, *, relative: bool = True, **options: Any) -> None:
    GROUP.add(name, changed(change, **options), relative=relative)


def _first(before: bytes) -> Change:
    """Send bytes before the first flight."""

    def change(flight: int, data: bytes) -> Iterator[bytes]:
        yield (before if flight == 0 else b"") + data

    return change


def _cut_handshake(size: int) -> Change:
    """Divide the handshake messages that are not encrypted into records of a size."""

    def change(flight: int, data: bytes) -> Iterator[bytes]:
        for head, content in _records(data):
            if head[0] == 22 and flight == 0:
                for n in range(0, len(content), size):
                    yield _record(22, content[n : n + size])
            else:
                yield head + content

    return change


def _cut_stream(size: int) -> Change:
    """Send a few bytes at a time."""

    def change(flight: int, data: bytes) -> Iterator[bytes]:
        for n in range(0, min(len(data), 400 * size), size):
            yield data[n : n + size]
        yield data[400 * size :]

    return change


def _joined(flight: int, data: bytes) -> Iterator[bytes]:
    """Put the handshake messages of one flight into one record."""
    if flight:
        yield data
        return
    parts, rest = b"", b""
    for head, content in _records(data):
        if head[0] == 22 and not rest:
            parts += content
        else:
            rest += head + content
    yield _record(22, parts) + rest


def _end(after: int, last: bytes = b"") -> Change:
    """Send the first flights, then some bytes, and then nothing more."""

    def change(flight: int, data: bytes) -> Iterator[bytes]:
        if flight < after:
            yield data
        elif flight == after and last:
            yield last

    return change


for _version, _only in (("1.2", _1_2), ("1.3", _1_3)):
    _options: dict[str, Any] = {"lowest": _only, "highest": _only}
    _add(f"cut-into-bytes-version-{_version}", _cut_stream(1), **_options)
    _add(f"cut-in-head-version-{_version}", _cut_stream(3), relative=False, **_options)
    _add(f"handshake-in-records-of-1-byte-version-{_version}", _cut_handshake(1), **_options)
    _add(f"handshake-in-records-of-100-bytes-version-{_version}", _cut_handshake(100), **_options)
    _add(f"empty-record-first-version-{_version}", _first(_record(22, b"")), **_options)
    _add(f"empty-data-first-version-{_version}", _first(_record(23, b"")), **_options)
    _add(
        f"warning-unrecognized-name-first-version-{_version}",
        _first(_alert(1, 112)),
        relative=False,
        **_options,
    )
    _add(f"warning-five-times-first-version-{_version}", _first(_alert(1, 112) * 5), **_options)
    _add(f"warning-40-times-first-version-{_version}", _first(_alert(1, 112) * 40), **_options)
    _add(f"warning-close-notify-first-version-{_version}", _first(_alert(1, 0)), **_options)
    _add(f"warning-user-canceled-first-version-{_version}", _first(_alert(1, 90)), **_options)
    _add(f"alert-of-one-byte-first-version-{_version}", _first(_record(21, b"\2")), **_options)
    _add(f"alert-of-level-3-first-version-{_version}", _first(_alert(3, 112)), **_options)
    _add(f"change-cipher-first-version-{_version}", _first(_record(20, b"\1")), **_options)
    _add(f"heartbeat-first-version-{_version}", _first(_record(24, b"\1\0\0")), **_options)
    _add(f"line-end-first-version-{_version}", _first(b"\r\n"), **_options)
    # A client of TLS 1.3 completes the handshake alone: the alert has to wait for its request.
    _last = 1 if _version == "1.2" else 2
    _add(
        f"end-after-hello-version-{_version}",
        _end(_last, _alert(2, 40)),
        relative=False,
        **_options,
    )
    for _number in (0, 42, 46, 48, 51, 80):
        _add(f"end-alert-{_number}-version-{_version}", _end(_last, _alert(2, _number)), **_options)
_add("joined-version-1.2", _joined, highest=_1_2)
_add(
    "finished-garbage-version-1.2",
    _end(1, _record(20, b"\1") + _record(22, bytes(40))),
    highest=_1_2,
)
_add("finished-without-change-cipher-version-1.2", _end(1, _record(22, bytes(40))), highest=_1_2)


# Connections that end during the handshake
def _stop(after: int, *, reset: bool) -> Callable[[str], Handler]:
    """Close or reset the connection after a flight of the server."""

    def build(host: str) -> Handler:
        made = context(leaf(host), Options(highest=_1_2))

        def talk(sock: socket.socket, site: Site) -> None:
            connection = SSL.Connection(made, None)
            connection.set_accept_state()
            for _ in range(after):
                connection.bio_write(sock.recv(65536))
                with contextlib.suppress(SSL.WantReadError):
                    connection.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    sock.sendall(connection.bio_read(65536))
            sock.recv(65536)
            if reset:
                reset_on_close(sock)

        return talk

    return build


GROUP.add("closed-after-hello-version-1.2", _stop(1, reset=False), relative=True)
GROUP.add("reset-after-hello-version-1.2", _stop(1, reset=True), relative=True)


# Renegotiation (TLS 1.2), as IIS does it to ask for a client certificate
def _renegotiating(*, certificate: bool = False, after: bool = False) -> Callable[[str], Handler]:
    answer = page()

    def build(host: str) -> Handler:
        def talk(connection: SSL.Connection, site: Site) -> None:
            connection.recv(65536)
            data = answer(site, "/")
            half = len(data) // 2 if after else 0
            connection.sendall(data[:half])
            if certificate:
                mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
                connection.set_verify(mode, lambda *_: True)
            before = connection.get_peer_finished()
            connection.renegotiate()
            connection.do_handshake()
            # The answer of the client arrives with the next reads.
            connection.setblocking(False)
            while connection.get_peer_finished() == before:
                select.select([connection], [], [])
                with contextlib.suppress(SSL.WantReadError):
                    connection.recv(65536)
            connection.setblocking(True)
            connection.sendall(data[half:])
            connection.shutdown()
            with contextlib.suppress(SSL.Error):
                while connection.recv(65536):
                    pass

        return tls(leaf(host), talk=talk, highest=_1_2)

    return build


GROUP.add("renegotiation-version-1.2", _renegotiating())
GROUP.add("renegotiation-in-page-version-1.2", _renegotiating(after=True), relative=True)
GROUP.add(
    "renegotiation-for-certificate-version-1.2", _renegotiating(certificate=True), relative=True
)


GROUP.add("certificate-wished", serves(configure=certificate_wished), relative=True)


# Suites that no browser offers
def _suite(name: str, ciphers: bytes) -> None:
    def build(host: str) -> Trusted:
        made = leaf(host, issuer=rsa_issuer(), kind="rsa2048 leaf")
        return Trusted(tls(made, highest=_1_2, ciphers=ciphers), trusts(rsa_root()))

    GROUP.add(f"suite-{name}-version-1.2", build, relative=True)


_suite("null", b"NULL-SHA256")
_suite("anonymous", b"ADH-AES128-SHA256")
_suite("aria", b"ECDHE-ARIA128-GCM-SHA256")


def _suites13(name: str, suites: bytes) -> None:
    build = serves(configure=lambda made: made.set_tls13_ciphersuites(suites), lowest=_1_3)
    GROUP.add(f"suite-{name}-version-1.3", build, relative=True)


_suites13("ccm", b"TLS_AES_128_CCM_SHA256")
_suites13("ccm-8", b"TLS_AES_128_CCM_8_SHA256")
_suites13("chacha", b"TLS_CHACHA20_POLY1305_SHA256")
_suites13("aes-256", b"TLS_AES_256_GCM_SHA384")


def _of_kind(kind: str, **options: Any) -> Callable[[str], Handler]:
    """Serve a leaf with this kind of key."""
    return lambda host: tls(leaf(host, kind=kind), **options)


# Curves of the leaf with the signatures of the handshake
for _name, _kind, _fields in (
    ("p384-sha256-version-1.2", "p384", {"highest": _1_2, "signatures": b"ECDSA+SHA256"}),
    ("p384-sha512-version-1.2", "p384", {"highest": _1_2, "signatures": b"ECDSA+SHA512"}),
    ("p256-sha384-version-1.2", "p256 leaf", {"highest": _1_2, "signatures": b"ECDSA+SHA384"}),
    ("ed25519-version-1.2", "ed25519", {"highest": _1_2}),
    ("p384-version-1.3", "p384", {"lowest": _1_3}),
    ("p521-version-1.3", "p521", {"lowest": _1_3}),
    ("p224-version-1.2", "p224", {"highest": _1_2}),
    ("secp256k1-version-1.2", "secp256k1", {"highest": _1_2}),
):
    GROUP.add(f"leaf-{_name}", _of_kind(_kind, **_fields), relative=True)


# Servers that wait, or send too much, before the handshake
def _preceded(data: bytes) -> Callable[[str], Handler]:
    def build(host: str) -> Handler:
        def talk(sock: socket.socket, site: Site) -> None:
            client_hello(sock)
            sock.sendall(data)
            while sock.recv(65536):
                pass

        return talk

    return build


GROUP.add("hello-done-first", _preceded(_record(22, b"\x0e\0\0\0")), relative=True)
GROUP.add("certificate-first", _preceded(_record(22, b"\x0b\0\0\3\0\0\0")), relative=True)
GROUP.add(
    "hello-of-16-megabytes", _preceded(_record(22, b"\2\xff\xff\xff" + bytes(90))), relative=True
)
GROUP.add("hello-too-short", _preceded(_record(22, b"\2\0\0\2\3\3")), relative=True)
GROUP.add("client-hello-returned", lambda host: _echo, relative=True)
GROUP.add("http-2-without-tls", _preceded(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])), relative=True)
GROUP.add("proxy-protocol", _preceded(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"), relative=True)
GROUP.add("quic-like", _preceded(b"\xc3\0\0\0\1" + bytes(40)), relative=True)


def _echo(sock: socket.socket, site: Site) -> None:
    sock.sendall(client_hello(sock))
    while sock.recv(65536):
        pass
