"""Verification of a signature over bytes, by the type of the key. Pure."""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from inventory.certificate_fields import PARSE_ERRORS


def verifies(key: Any, signature: bytes, data: bytes, digest: Any) -> bool:
    """Return whether the key verifies the signature. RSA means PKCS #1 v1.5.

    A key of another type verifies nothing.

    Args:
        digest: The hash of the signature algorithm; None for Ed25519 and Ed448.
    """

    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(digest))
        elif isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            key.verify(signature, data)
        else:
            return False
    except (*PARSE_ERRORS, InvalidSignature):
        return False
    return True
