"""Whether Chrome finds a path before it gives up. Pure.

Chrome tries the possible issuers of each certificate one after another, and ends the search after
20 steps (net/cert/cert_verify_proc_builtin.cc). Ordinary chains need three to five. A server that
sends many certificates of one name can hide the right one behind the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate

MAX_STEPS = 20
# Fewer certificates than these, of different names, need no more steps.
_FEW = 6
_MATCH, _NO_DATA, _MISMATCH = range(3)

Path = tuple[Certificate, ...]
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


def ambiguous(sent: Sequence[Certificate]) -> bool:
    """Return whether a server sends enough for a long search.

    Args:
        sent: The certificates after the leaf.
    """
    certificates = {c.sha256: c.subject_key for c in sent}
    return len(certificates) > _FEW or len(set(certificates.values())) < len(certificates)


def found_in_time(
    leaf: Certificate,
    sent: Sequence[Certificate],
    anchors: Callable[[Certificate], Sequence[Certificate]],
    accepted: Callable[[Path], bool],
) -> bool:
    """Return whether a search in Chrome's order meets an accepted path within its steps.

    A search that ends earlier without one counts as well: then its limit is not the reason.

    Args:
        leaf: The certificate of the server.
        sent: What the server sends after it, in this order.
        anchors: Maps a certificate to the anchors that have the name of its issuer.
        accepted: Returns whether browsers accept a path, leaf first and anchor last.
    """
    path, waiting = [leaf], [_candidates(leaf, sent, anchors)]
    # Each step takes the next possible issuer of the last certificate, or steps back to the one
    # before.
    for _ in range(MAX_STEPS):
        if not path:
            return True
        issuer, is_anchor = next(waiting[-1], (None, False))
        if issuer is None:
            path.pop()
            waiting.pop()
        elif is_anchor:
            if accepted((*path, issuer)):
                return True
        elif _identity(issuer) not in map(_identity, path):
            path.append(issuer)
            waiting.append(_candidates(issuer, sent, anchors))
    return not path


def _candidates(
    child: Certificate,
    sent: Sequence[Certificate],
    anchors: Callable[[Certificate], Sequence[Certificate]],
) -> Iterator[tuple[Certificate, bool]]:
    """Yield the possible issuers in Chrome's order, and whether each is an anchor."""
    trusted = {c.sha256: c for c in anchors(child)}
    named = {c.sha256: c for c in sent if c.subject_key == child.issuer_key}
    listed = sorted(
        {**trusted, **named}.values(),
        key=lambda c: (
            _rank(child, c, trusted=c.sha256 in trusted),
            not c.self_issued,
            # Later dates first.
            -(c.not_before.timestamp() if c.not_before else 0),
            -(c.not_after.timestamp() if c.not_after else 0),
        ),
    )
    return ((c, c.sha256 in trusted) for c in listed)


def _rank(child: Certificate, issuer: Certificate, *, trusted: bool) -> int:
    """Return the rank of an issuer by its trust and its key identifier; the lowest is the first."""
    match = _key_match(child, issuer)
    if match == _MISMATCH:
        return 4 if trusted else 5
    return match if trusted else 2 + match


def _key_match(child: Certificate, issuer: Certificate) -> int:
    named, own = _authority_key(child), _subject_key(issuer)
    if named is None or own is None:
        return _NO_DATA
    return _MATCH if named == own else _MISMATCH


def _authority_key(certificate: Certificate) -> bytes | None:
    extension = _extension(certificate, x509.AuthorityKeyIdentifier)
    return extension.key_identifier if extension is not None else None


def _subject_key(certificate: Certificate) -> bytes | None:
    extension = _extension(certificate, x509.SubjectKeyIdentifier)
    return extension.digest if extension is not None else None


def _extension(certificate: Certificate, kind: type[_Kind]) -> _Kind | None:
    if certificate.parsed is None:
        return None
    try:
        return certificate.parsed.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *PARSE_ERRORS):
        return None


def _identity(certificate: Certificate) -> tuple[bytes, object, bytes]:
    """Return what must not repeat in a path (RFC 4158 2.4.2): subject, names and key."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    return certificate.subject_key, names, _key(certificate)


def _key(certificate: Certificate) -> bytes:
    """Return the encoded public key; if it cannot be read, one that no other certificate has."""
    try:
        assert certificate.parsed is not None
        key = certificate.parsed.public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except PARSE_ERRORS:
        return certificate.sha256.encode()
