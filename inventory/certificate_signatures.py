"""Signatures of certificates: which certificate issued which."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import (
    SignatureAlgorithmOID,
)

from inventory import der as encoding
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate

# BoringSSL, of which Chrome is made, takes no larger exponent, and OpenSSL no larger modulus. The
# exponent decides how long a verification takes: one as long as the modulus costs a hundred times
# as much, and a chain has room for a thousand verifications.
MAX_EXPONENT_BITS = 33
MAX_MODULUS_BITS = 16_384
MAX_RESULTS = 8_192  # that are remembered; each has about 300 bytes

_Verifies = Callable[[Certificate, Certificate], bool | None]


def _remembered(verifies: _Verifies) -> _Verifies:
    """Remember results by the bytes of both certificates.

    The search for a path asks several times about each pair, and a signature does not change.
    """
    results: dict[tuple[str, str], bool | None] = {}

    @wraps(verifies)
    def remembered(child: Certificate, issuer: Certificate) -> bool | None:
        pair = (child.sha256, issuer.sha256)
        if pair not in results:
            # Clearing everything is cheap compared with an eviction order.
            if len(results) >= MAX_RESULTS:
                results.clear()
            results[pair] = verifies(child, issuer)
        return results[pair]

    return remembered


def issued_by(child: Certificate, issuer: Certificate) -> bool:
    """Return whether ``issuer`` issued ``child``: the name matches, and the signature verifies."""
    # Comparing names first avoids most signature checks.
    if child.parsed is None or issuer.parsed is None or child.issuer_key != issuer.subject_key:
        return False
    # The signature of a repaired copy is wrong, so that of the original is verified below.
    if not child.repaired:
        verified = library_verifies(child, issuer)
        if verified is not None:
            return verified
    return bool(_signature_verifies(child, issuer))


@_remembered
def library_verifies(child: Certificate, issuer: Certificate) -> bool | None:
    """Return whether the library verifies that ``issuer`` issued ``child``.

    None if it refuses to verify it at all, which is no result: it does not know SHA-1, for
    example, and names that are written in different ways.
    """
    if child.parsed is None or issuer.parsed is None:
        return None
    if _is_oversized(issuer.parsed):
        return False
    try:
        child.parsed.verify_directly_issued_by(issuer.parsed)
    except InvalidSignature:
        return False
    except PARSE_ERRORS:
        return None
    return True


def _is_oversized(issuer: x509.Certificate) -> bool:
    """Return whether browsers refuse the key for its size, so that it verifies nothing."""
    try:
        key = issuer.public_key()
    except PARSE_ERRORS:
        return False
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    return oversized(key)


def oversized(key: rsa.RSAPublicKey) -> bool:
    """Return whether the exponent or the modulus is larger than browsers accept."""
    exponent = key.public_numbers().e
    return exponent.bit_length() > MAX_EXPONENT_BITS or key.key_size > MAX_MODULUS_BITS


@_remembered
def _signature_verifies(child: Certificate, issuer: Certificate) -> bool | None:
    """Return whether a signature verifies that the library does not support.

    It refuses MD5 and SHA-1, names that are written in different ways, and an RSA algorithm without
    its NULL parameters. Without them the path would end here, and the finding would be a missing
    issuer.
    """
    parsed = child.parsed
    # RFC 5280 4.1.1.2 requires both to be equal; verifiers refuse it otherwise.
    if parsed is None or issuer.parsed is None or child.algorithms_differ:
        return False
    if _is_oversized(issuer.parsed):
        return False
    try:
        digest, key = parsed.signature_hash_algorithm, issuer.parsed.public_key()
        content, signature = encoding.outline(child.der).body, parsed.signature
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, content)
        # An algorithm without a known hash cannot be verified.
        elif digest is None:
            return False
        elif isinstance(key, rsa.RSAPublicKey):
            scheme: Any = padding.PKCS1v15()
            if parsed.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
                scheme = parsed.signature_algorithm_parameters
            key.verify(signature, content, scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(digest))
        else:
            return False
    except (*PARSE_ERRORS, InvalidSignature):
        return False
    return True


def self_signed(certificate: Certificate) -> bool:
    """Return whether the signature verifies with the key of the certificate itself."""
    return issued_by(certificate, certificate)
