"""Situations of the handshake: versions, suites, groups, signatures, ALPN, alerts, resets."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

from tests.certmgr.browser.pki import Leaf, leaf, rsa_issuer, rsa_root, trusts
from tests.certmgr.browser.serving import (
    Handler,
    Site,
    after_hello,
    banner,
    client_hello,
    page,
    refuses,
    reset,
    reset_at_request,
    reset_on_close,
    serves,
    tls,
)
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("handshakes")
_add = GROUP.add

_1_0, _1_1, _1_2, _1_3 = (
    SSL.TLS1_VERSION,
    SSL.TLS1_1_VERSION,
    SSL.TLS1_2_VERSION,
    SSL.TLS1_3_VERSION,
)


def _ec(name: str, **options: Any) -> None:
    """Add a server with a P-256 leaf."""
    _add(name, lambda host: tls(leaf(host), **options))


def _rsa(name: str, **options: Any) -> None:
    """Add a server with an RSA leaf."""

    def build(host: str) -> Trusted:
        made = leaf(host, issuer=rsa_issuer(), kind="rsa2048 leaf")
        return Trusted(tls(made, **options), trusts(rsa_root()))

    _add(name, build)


# Versions
_ec("version-1.0-only", lowest=_1_0, highest=_1_0)
_ec("version-1.1-only", lowest=_1_1, highest=_1_1)
_ec("version-1.2-only", lowest=_1_2, highest=_1_2)
_ec("version-1.3-only", lowest=_1_3, highest=_1_3)
_ec("version-1.0-to-1.2", lowest=_1_0, highest=_1_2)
_rsa("rsa-version-1.0-only", lowest=_1_0, highest=_1_0)
_rsa("rsa-version-1.2-only", lowest=_1_2, highest=_1_2)
_rsa("rsa-version-1.3-only", lowest=_1_3, highest=_1_3)

# Suites of TLS 1.2
for _suite in (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-CCM",
):
    _ec(f"suite-{_suite}".lower(), highest=_1_2, ciphers=_suite.encode())
for _suite in (
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA384",
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "AES256-SHA256",
    "DHE-RSA-AES128-GCM-SHA256",
    "CAMELLIA128-SHA",
):
    _rsa(f"suite-{_suite}".lower(), highest=_1_2, ciphers=_suite.encode())

# Groups
for _group in (
    "X25519",
    "P-256",
    "P-384",
    "P-521",
    "X448",
    "X25519MLKEM768",
    "SecP256r1MLKEM768",
    "SecP384r1MLKEM1024",
    "MLKEM768",
    "MLKEM1024",
    "ffdhe2048",
):
    _ec(f"group-{_group}".lower(), lowest=_1_3, groups=_group.encode())
for _group in ("X25519", "P-256", "P-384", "P-521"):
    _ec(f"group-{_group}-version-1.2".lower(), highest=_1_2, groups=_group.encode())
_ec("group-p-521-then-p-256", groups=b"P-521:P-256")

# Signatures of the handshake
_rsa("signature-sha1-only", highest=_1_2, signatures=b"RSA+SHA1")
_rsa("signature-pkcs1-sha256-only", highest=_1_2, signatures=b"RSA+SHA256")
_rsa("signature-pkcs1-sha512-only", highest=_1_2, signatures=b"RSA+SHA512")
_rsa("signature-pkcs1-sha224-only", highest=_1_2, signatures=b"RSA+SHA224")
_rsa("signature-pss-sha256-only", signatures=b"RSA-PSS+SHA256")
_rsa("signature-pss-sha512-only", signatures=b"RSA-PSS+SHA512")
_ec("signature-ecdsa-sha1-only", highest=_1_2, signatures=b"ECDSA+SHA1")
_ec("signature-ecdsa-sha256-only", highest=_1_2, signatures=b"ECDSA+SHA256")
_ec("signature-ecdsa-sha512-only", highest=_1_2, signatures=b"ECDSA+SHA512")


# ALPN
def _needs_alpn(host: str) -> Handler:
    """Answer only to clients that negotiate HTTP/1.1 by ALPN."""
    answer = page()

    def talk(connection: SSL.Connection, site: Site) -> None:
        if connection.get_alpn_proto_negotiated() == b"http/1.1" and connection.recv(65536):
            connection.sendall(answer(site, "/"))
            connection.shutdown()

    return tls(leaf(host), talk=talk, alpn=(b"http/1.1",))


_add("alpn-needed", _needs_alpn)
_ec("alpn-ignored", alpn=None)
_ec("alpn-http-1.1", alpn=(b"http/1.1",))
_ec("alpn-unknown-protocol", alpn=(b"spdy/3",))

# Client certificates
_ec("client-certificate-needed", client_certificate=True)
_ec("client-certificate-needed-version-1.2", client_certificate=True, highest=_1_2)

# Alerts instead of a ServerHello
for _number, _name in {
    10: "unexpected-message",
    20: "bad-record-mac",
    40: "handshake-failure",
    42: "bad-certificate",
    47: "illegal-parameter",
    49: "access-denied",
    50: "decode-error",
    70: "protocol-version",
    71: "insufficient-security",
    80: "internal-error",
    86: "inappropriate-fallback",
    90: "user-canceled",
    109: "missing-extension",
    112: "unrecognized-name",
    116: "certificate-required",
    120: "no-application-protocol",
}.items():
    _add(f"alert-{_name}", refuses(_number))


# Connections that end, and other protocols
def _reset_at_once(sock: socket.socket, site: Site) -> None:
    reset_on_close(sock)


def _reset_large_hello(host: str) -> Handler:
    """Reset a ClientHello of more than 1,400 bytes, as some middleboxes do."""
    serve = tls(leaf(host))

    def talk(sock: socket.socket, site: Site) -> None:
        head = b""
        while len(head) < 5:
            head = sock.recv(5, socket.MSG_PEEK)
            if not head:
                return
        if int.from_bytes(head[3:5], "big") > 1400:
            reset(sock, site)
        else:
            serve(sock, site)

    return talk


def _close_after_handshake(connection: SSL.Connection, site: Site) -> None:
    connection.recv(65536)


_BAD_RECORD = bytes([23, 3, 3, 0, 32]) + bytes(32)


def _write(data: bytes) -> Callable[[SSL.Connection, Site], None]:
    """Answer the request with bytes that are not encrypted."""

    def talk(connection: SSL.Connection, site: Site) -> None:
        connection.recv(65536)
        os.write(connection.fileno(), data)
        connection.sock_shutdown(socket.SHUT_WR)
        with contextlib.suppress(SSL.Error):
            while connection.recv(65536):
                pass

    return talk


def _stall_in_certificate(sock: socket.socket, site: Site) -> None:
    """Close in the middle of a record."""
    client_hello(sock)
    sock.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x00\x50")


_add("reset-at-once", lambda host: _reset_at_once)
_add("reset-after-hello", lambda host: reset)
_add("reset-large-hello", _reset_large_hello)
_add("close-after-hello", lambda host: after_hello(b""))
_add("close-in-record", lambda host: _stall_in_certificate)
_add("close-after-handshake", lambda host: tls(leaf(host), talk=_close_after_handshake))
_add("reset-after-handshake", serves(talk=reset_at_request))
# Records after the handshake that no key fits, or that are not TLS.
_add("garbage-after-handshake", lambda host: tls(leaf(host), talk=_write(b"HTTP/1.1 400 Bad\r\n")))
_add("bad-record-after-handshake", lambda host: tls(leaf(host), talk=_write(_BAD_RECORD)))
_add("refused", lambda host: None)
_add(
    "http-400",
    lambda host: after_hello(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
)
_add("ssh", lambda host: banner(b"SSH-2.0-OpenSSH_9.9\r\n"))
_add("smtp", lambda host: banner(b"220 mail.example.test ESMTP\r\n"))
_add("random-bytes", lambda host: after_hello(bytes(range(7, 200))))
_add("zero-bytes", lambda host: after_hello(bytes(64)))
_add("record-of-version-9", lambda host: after_hello(b"\x16\x09\x09\x00\x04\x02\x00\x00\x00"))
_add("record-too-large", lambda host: after_hello(b"\x16\x03\x03\xff\xff" + bytes(70000)))


def _large_chain(host: str, count: int) -> Leaf:
    made = leaf(host)
    return made.sent_with(*made.chain[1:], *[made.chain[1]] * count)


_add("chain-of-40-kilobytes", lambda host: _large_chain(host, 85))
_add("chain-of-150-kilobytes", lambda host: _large_chain(host, 330))


def _server_hello(version: bytes) -> bytes:
    """Return a ServerHello of an old version, with a suite of RSA key exchange."""
    body = version + bytes(32) + b"\0\0\x2f\0"
    record = b"\2" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\0" + len(record).to_bytes(2, "big") + record


_add("version-ssl-3-hello", lambda host: after_hello(_server_hello(b"\3\0")), relative=True)
_add("version-unknown-hello", lambda host: after_hello(_server_hello(b"\3\x09")), relative=True)
