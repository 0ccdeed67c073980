"""Certificates that the parser refuses, each with a different error."""

from __future__ import annotations

from cryptography import x509

from certmgr.demo.authority import Authority
from tests.certificates import tlv
from tests.certmgr.tls_servers import HOST

KINDS = (
    "InvalidVersion",
    "DuplicateExtension",
    "UnsupportedGeneralNameType",
    "UnsupportedAlgorithm",
    "ValueError",
    "SAN garbage",
    "empty",
    "zeros",
)


def malformed(issuer: Authority, kind: str) -> bytes:
    """Return a malformed certificate as DER. ``kind`` is one of :data:`KINDS`."""
    valid = issuer.issue(HOST)
    oid = x509.ObjectIdentifier("2.5.29.17")
    san = valid.certificate.extensions.get_extension_for_oid(oid).value.public_bytes()
    unknown_name = x509.UnrecognizedExtension(oid, tlv(0x30, tlv(0xA3, b"\x30\x00")))
    with_unknown_name = issuer.issue(HOST, san=False, extensions=[(unknown_name, False)])

    def changed(before: str, after: str) -> bytes:
        return valid.der.replace(bytes.fromhex(before), bytes.fromhex(after), 1)

    return {
        "InvalidVersion": changed("a003020102", "a003020107"),
        "DuplicateExtension": changed("0603551d25", "0603551d11"),
        "UnsupportedGeneralNameType": with_unknown_name.der,
        "UnsupportedAlgorithm": changed("06072a8648ce3d0201", "06072a8648ce3d0209"),
        "ValueError": valid.der[:-40],
        "SAN garbage": valid.der.replace(san, b"\x05" * len(san), 1),
        "empty": b"",
        "zeros": b"\0" * 500,
    }[kind]
