"""Containers of certificates that the certificate library does not parse in full. Pure, bounded."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from inventory import der

# A serialized store begins with its version and "CERT" (MS-GPEF 2.2.1.1.2).
WINDOWS_STORE = b"\0\0\0\0CERT"
MAX_ELEMENTS = 2000
_END, _CERTIFICATE = 0, 32
_LISTS = {33: "a revocation list", 34: "a list of trusted certificates"}
# The object identifier 1.2.840.113549.1.12.10.1.2 with its tag and length.
_SHROUDED_KEY = bytes.fromhex("060b2a864886f70d010c0a0102")
_REVOCATION_LISTS = 0xA1  # the field [1] of SignedData (RFC 5652 5.1)


def store_elements(data: bytes) -> Iterator[tuple[bytes | None, str]]:
    """Yield (certificate, "") and (None, other content in words) of a serialized Windows store.

    (None, "") states that the store is cut. Each element has a number, an encoding, a length and a
    value; the properties of a certificate, such as its fingerprint, are left out.
    """
    position = len(WINDOWS_STORE)
    for _ in range(MAX_ELEMENTS):
        header = data[position : position + 12]
        if len(header) < 12:
            break
        number, _encoding, size = struct.unpack("<III", header)
        if number == _END:
            return
        value = data[position + 12 : position + 12 + size]
        if len(value) < size:
            break
        if number == _CERTIFICATE:
            yield value, ""
        elif number in _LISTS:
            yield None, _LISTS[number]
        position += 12 + size
    yield None, ""


def key_count(pfx: bytes) -> int:
    """Return how many encrypted private keys a PKCS#12 file states to have.

    The library returns the first one only. Keys are encrypted one by one (RFC 7292 4.2.2), and
    their identifiers are therefore readable, unless a program encrypted the whole.
    """
    return pfx.count(_SHROUDED_KEY)


def has_revocation_lists(signed: bytes) -> bool:
    """Return whether PKCS#7 data has revocation lists in addition, if it is DER."""
    try:
        _, content = der.elements(der.only(signed, der.SEQUENCE))
        fields = der.elements(der.only(content.content, der.SEQUENCE))
        return any(field.tag == _REVOCATION_LISTS for field in fields)
    except ValueError:
        return False
