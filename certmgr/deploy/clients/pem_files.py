"""Which keys and certificates a PEM file holds, and which file of a version has the same. Pure."""

from __future__ import annotations

import re

from certmgr.x509.bundle import CertificateBundle, build_bundle
from inventory.certificates import from_pem
from inventory.errors import CertmgrError

# The labels of PKCS#8, PKCS#1 (RSA) and SEC 1 (EC), which the clients write.
_BEGIN = re.compile(rb"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----")
_LINE_END = re.compile(rb"[ \t]*\r?\n?")


def key_in(data: bytes) -> bytes | None:
    """Return the first private key of a PEM file, without EC PARAMETERS and other blocks."""
    unclosed: set[bytes] = set()
    for begin in _BEGIN.finditer(data):
        # Without an END, no later block of this label has one: each is searched for once.
        if begin[1] in unclosed:
            continue
        mark = b"-----END " + begin[1] + b"-----"
        end = data.find(mark, begin.end())
        if end < 0:
            unclosed.add(begin[1])
            continue
        line_end = _LINE_END.match(data, end + len(mark))
        assert line_end is not None
        return data[begin.start() : line_end.end()]
    return None


def certificates_in(data: bytes) -> list[bytes]:
    """Return the certificates of a PEM file as DER; an empty list if there are none."""
    try:
        return [c.der for c in from_pem(data)]
    except ValueError:
        return []


def content_of(data: bytes, bundle: CertificateBundle) -> str:
    """Return the file of a version that holds the same key and certificates.

    Returns:
        Its name; empty if the data hold something else, such as another certificate.
    """
    key, chain, own = key_in(data), certificates_in(data), list(bundle.chain_der)
    # A file with a key must have the key of this very certificate, whatever else it holds.
    if key is not None:
        try:
            build_bundle(key, own[:1])
        except CertmgrError:
            return ""
        return {0: "privkey.pem", len(own): "combined.pem"}.get(len(chain), "") * (
            not chain or chain == own
        )
    # A certificate that was issued by a root directly has no intermediates: the chain is an empty
    # file.
    if not data.strip() and len(own) == 1:
        return "chain.pem"
    # A certificate without an issuer is its own full chain: the leaf alone is enough for both.
    # A chain of one certificate: its leaf and its full chain are the same.
    for name, wanted in (
        ("fullchain.pem", own if len(own) > 1 else None),
        ("cert.pem", own[:1]),
        ("chain.pem", own[1:]),
    ):
        if chain and chain == wanted:
            return name
    return ""
