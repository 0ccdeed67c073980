"""Certificates that CA libraries refuse to create, assembled from parts of real certificates."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.demo.authority import Authority, IssuedCertificate, name
from certmgr.demo.servers import ConnectionHandler, Server
from tests.clock import clock

_SIGNATURE_OIDS = {
    "sha1": bytes.fromhex("06072a8648ce3d0401"),
    "sha256": bytes.fromhex("06082a8648ce3d040302"),
}


def tlv(tag: int, content: bytes) -> bytes:
    """Return one DER value (tag, length, content)."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def content(der: bytes) -> bytes:
    """Return the content of one DER value."""
    return der[2:] if der[1] < 128 else der[2 + (der[1] & 0x7F) :]


def sign(tbs: bytes, key: Any, digest: str = "sha256") -> bytes:
    """Return a certificate: a TBSCertificate signed with an EC key."""
    algorithm = hashes.SHA1() if digest == "sha1" else hashes.SHA256()
    signature = key.sign(tbs, ec.ECDSA(algorithm))
    return tlv(0x30, tbs + tlv(0x30, _SIGNATURE_OIDS[digest]) + tlv(0x03, b"\0" + signature))


@dataclass(frozen=True, slots=True)
class _Pair(IssuedCertificate):
    """A leaf that was assembled by hand."""


def resigned(issued: IssuedCertificate, authority: Authority, digest: str) -> IssuedCertificate:
    """Return the same leaf with another signature algorithm.

    cryptography does not sign certificates with SHA-1.
    """
    tbs = issued.certificate.tbs_certificate_bytes
    body = content(tbs).replace(
        tlv(0x30, _SIGNATURE_OIDS["sha256"]), tlv(0x30, _SIGNATURE_OIDS[digest]), 1
    )
    leaf = x509.load_der_x509_certificate(sign(tlv(0x30, body), authority.key, digest))
    return IssuedCertificate(leaf, issued.key, (leaf,))


def ca_leaf(authority: Authority, host: str) -> IssuedCertificate:
    """Return a leaf with the CA flag."""
    from datetime import timedelta

    now = clock().replace(microsecond=0)
    key: Any = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(name(host))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    return IssuedCertificate(leaf, key, (leaf,))


def record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    """Return a message as TLS records of at most 16 KB."""
    parts = [body[i : i + 16_000] for i in range(0, len(body), 16_000)] or [b""]
    return b"".join(
        bytes([kind]) + version.to_bytes(2, "big") + len(p).to_bytes(2, "big") + p for p in parts
    )


def message(kind: int, body: bytes) -> bytes:
    """Return a TLS handshake message."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def server_hello() -> bytes:
    """Return a TLS 1.2 ServerHello for ECDHE-ECDSA-AES128-GCM-SHA256."""
    return message(
        2, b"\x03\x03" + b"\x11" * 32 + b"\0" + b"\xc0\x2b" + b"\0" + b"\0\x04\0\x17\0\0"
    )


def certificate_message(chain: list[bytes]) -> bytes:
    """Return a TLS 1.2 Certificate message with any bytes as certificates."""
    listed = b"".join(len(c).to_bytes(3, "big") + c for c in chain)
    return message(11, len(listed).to_bytes(3, "big") + listed)


def raw_server(_authority: Authority, *chain: bytes) -> Server:
    """Start a server that sends TLS 1.2 up to the Certificate message, and then waits."""
    return Server(raw_chain(*chain))


def raw_chain(*chain: bytes) -> ConnectionHandler:
    """Return a handler that sends TLS 1.2 up to the Certificate message, and then waits."""

    def talk(sock: socket.socket) -> None:
        sock.recv(8192)
        sock.sendall(record(22, server_hello()) + record(22, certificate_message(list(chain))))
        while sock.recv(4096):
            pass

    return talk
