"""Signatures of certificates: which certificate issued which."""

from __future__ import annotations

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


def issued_by(child: Certificate, issuer: Certificate) -> bool:
    """Return whether ``issuer`` issued ``child``: the name matches, and the signature verifies."""
    # Comparing names first avoids most signature checks.
    if child.parsed is None or issuer.parsed is None or child.issuer_key != issuer.subject_key:
        return False
    # The signature of a repaired copy is wrong, so that of the original is verified below.
    if not child.repaired:
        try:
            child.parsed.verify_directly_issued_by(issuer.parsed)
        except InvalidSignature:
            return False
        # The library refuses to verify it at all, which is no result.
        except PARSE_ERRORS:
            pass
        else:
            return True
    return _signature_verifies(child, issuer.parsed)


def _signature_verifies(child: Certificate, issuer: x509.Certificate) -> bool:
    """Return whether a signature verifies that the library does not support.

    It refuses MD5 and SHA-1, names that are written in different ways, and an RSA algorithm without
    its NULL parameters. Without them the path would end here, and the finding would be a missing
    issuer.
    """
    parsed = child.parsed
    # RFC 5280 4.1.1.2 requires both to be equal; verifiers refuse it otherwise.
    if parsed is None or child.algorithms_differ:
        return False
    try:
        digest, key = parsed.signature_hash_algorithm, issuer.public_key()
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
