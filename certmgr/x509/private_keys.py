"""Private keys from files, read at a bounded cost. Pure.

The cryptography library tests whether the factors of an RSA key are primes: 5 seconds of CPU for
8,192 bits, and about eight times as much for each doubling. Keys come from clients, vendors and
other programs, so certmgr leaves that test out. It computes whether the parts of the key belong
together, and makes a signature, which a key with a wrong factor cannot.
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InternalError, InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
)

from inventory.certificate_signatures import MAX_MODULUS_BITS


def load_pem(data: bytes, password: bytes | None = None) -> Any:
    """Return a private key in PEM.

    Raises:
        TypeError: It is encrypted and no password was given, or the other way round.
        ValueError: It is no key, its parts do not belong together, or it is too long.
        UnsupportedAlgorithm: The library does not know its algorithm.
    """
    return intact(load_pem_private_key(data, password, unsafe_skip_rsa_key_validation=True))


def load_der(data: bytes) -> Any:
    """Return a private key in DER that is not encrypted. See :func:`load_pem` for the errors."""
    return intact(load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True))


def intact(key: Any) -> Any:
    """Return a private key that was loaded without a test. See :func:`load_pem` for the errors."""
    if not isinstance(key, rsa.RSAPrivateKey):
        return key
    # OpenSSL verifies no longer signatures, and a computation with them has no bound.
    if key.key_size > MAX_MODULUS_BITS:
        raise ValueError("the modulus is too long")
    # OpenSSL signs with a key of which a part is wrong, and other programs that get it do not.
    if not _belong_together(key.private_numbers()):
        raise ValueError("its parts do not belong together")
    data, scheme, digest = b"certmgr", padding.PKCS1v15(), hashes.SHA256()
    try:
        key.public_key().verify(key.sign(data, scheme, digest), data, scheme, digest)
    except (InvalidSignature, InternalError) as error:
        raise ValueError("it cannot sign") from error
    return key


def _belong_together(private: rsa.RSAPrivateNumbers) -> bool:
    """Return whether the equations of RFC 8017 3.2 hold."""
    public = private.public_numbers
    factors = ((private.p, private.dmp1), (private.q, private.dmq1))
    return (
        private.p * private.q == public.n
        and all(f > 1 and (public.e * private.d - 1) % (f - 1) == 0 for f, _ in factors)
        and all((public.e * exponent - 1) % (f - 1) == 0 for f, exponent in factors)
        and (private.iqmp * private.q - 1) % private.p == 0
    )
