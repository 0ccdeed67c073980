"""Files with the CA certificates that the administrator trusts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from certmgr.x509.pem_text import as_bytes_of_text, decode_body, pem_blocks
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate, from_pem, parse
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular

_MAX_FILE = 16_000_000  # bytes; bundles of whole systems have less than one
_ADVICE = "Use a file with PEM certificates, one certificate in DER, or a chain in PKCS#7."
_PKCS7 = (b"PKCS7", b"PKCS #7 SIGNED DATA", b"CMS")  # RFC 7468 8 and 9; Netscape


def read_anchors(path: str) -> list[Certificate]:
    """Read the certificates of a file: PEM, also as UTF-16; one in DER; PKCS#7 in PEM or DER.

    Windows exports a CA with those above it as PKCS#7 (.p7b).

    Raises:
        UsageError: The file cannot be read, or has no certificate.
    """
    try:
        data = read_regular(Path(path), _MAX_FILE)
    except CertmgrError as error:
        raise UsageError(
            f"The CA file {path} cannot be read", error.why, "Use the path of a readable file."
        ) from None
    if len(data) > _MAX_FILE:
        raise UsageError(
            f"The CA file {path} cannot be used",
            f"it is larger than {_MAX_FILE} bytes",
            "Use a file with the CA certificates that you need.",
        )
    anchors = list(_certificates(as_bytes_of_text(data)))
    if not any(c.parsed is not None for c in anchors):
        raise UsageError(
            f"The CA file {path} cannot be used", "it has no certificate that can be read", _ADVICE
        )
    return anchors


def _certificates(data: bytes) -> Iterator[Certificate]:
    if b"-----BEGIN" not in data:
        one = parse(data)
        yield from [one] if one.parsed is not None else _of_pkcs7(data)
        return
    for label, body in pem_blocks(data):
        if label in _PKCS7 and body is not None:
            yield from _of_pkcs7(decode_body(body) or b"")
    try:
        yield from from_pem(data)
    except ValueError:
        # The file has other blocks alone.
        return


def _of_pkcs7(data: bytes) -> Iterator[Certificate]:
    try:
        listed = pkcs7.load_der_pkcs7_certificates(data)
    except PARSE_ERRORS:
        return
    for certificate in listed:
        yield parse(certificate.public_bytes(Encoding.DER))
