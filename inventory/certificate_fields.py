"""Fields of a parsed certificate other than its extensions, each read separately."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import (
    PublicKeyAlgorithmOID,
)

from inventory import der as encoding
from inventory.distinguished_names import is_name

# A serial number of zero or below is reported as a problem here, not as a warning on a terminal.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
# A name that is longer than X.520 permits is read, and the library warns about it.
warnings.filterwarnings("ignore", message="Attribute's length must be", category=UserWarning)
# PKCS#7 in BER, which Windows and Java write, is read, and the library warns about it.
warnings.filterwarnings("ignore", message="PKCS#7 certificates could not", category=UserWarning)

# Errors that parsing of hostile DER raises (measured with 3.16 million mutated certificates).
PARSE_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.AttributeNotFound,
    KeyError,
    IndexError,
    AttributeError,
)


_T = TypeVar("_T")


_D = TypeVar("_D")


# The names by which administrators know these curves; the library has those of SEC 2.
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def describe_key(key: object) -> tuple[str, int]:
    """Return the type and size of a public key: ("EC P-256", 256) or ("RSA 2048", 2048)."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {_CURVES.get(key.curve.name, key.curve.name)}", key.key_size
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519", 256
    if isinstance(key, ed448.Ed448PublicKey):
        return "Ed448", 448
    if isinstance(key, dsa.DSAPublicKey):
        return f"DSA {key.key_size}", key.key_size
    # A kind of key that no browser accepts; a finding reports it as such.
    return "unknown", 0


def name_der(parsed: x509.Certificate | None, which: str) -> bytes:
    """Return the DER of a name; empty if there is no certificate or the name has no DER.

    Args:
        parsed: The certificate; None if it could not be parsed.
        which: ``subject`` or ``issuer``.
    """
    if parsed is None:
        return b""
    try:
        name: x509.Name = getattr(parsed, which)
        return name.public_bytes()
    except PARSE_ERRORS:
        # Browsers show such names, and a chain is still built by their bytes.
        return _raw_name(parsed, which)


def _raw_name(parsed: x509.Certificate, which: str) -> bytes:
    """Return a name that the library refuses, as it is encoded; empty if there is none."""
    try:
        parts = encoding.outline(parsed.public_bytes(Encoding.DER))
    except PARSE_ERRORS:
        return b""
    return parts.subject if which == "subject" else parts.issuer


def readable_name(parsed: x509.Certificate, which: str) -> x509.Name | None:
    """Return a name if the library reads it, and None if only browsers do.

    Raises:
        ValueError: Browsers cannot read it either.
    """
    try:
        name: x509.Name = getattr(parsed, which)
    except PARSE_ERRORS:
        if is_name(_raw_name(parsed, which)):
            return None
        raise
    return name


class FieldReader:
    """Reads separate fields, and collects the reason of each failure."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, field: str, function: Callable[[], _T], default: _D) -> _T | _D:
        """Return the result of a function; the default, with a recorded problem, if it fails."""
        try:
            return function()
        except PARSE_ERRORS as error:
            # The field gets its default, and the reason is kept: a fault of one field hides no
            # other.
            self.problems.append(_problem(field, error))
            return default


def _problem(field: str, error: Exception) -> str:
    """Return in words why a field cannot be read. The texts of the library are for programmers."""
    match error:
        case x509.InvalidVersion():
            reason = "has a version that does not exist"
        case x509.DuplicateExtension():
            reason = f"contain {error.oid.dotted_string} twice"
        case x509.UnsupportedGeneralNameType():
            reason = "contain a name of an unknown kind"
        case UnsupportedAlgorithm():
            reason = "has an algorithm that is not known"
        case _:
            reason = "cannot be read"
    return f"the {field} {reason}"


# Keys and signatures of ML-DSA (RFC 9881) by their object identifier: the name, and the size of the
# public key in bits.
ML_DSA = {
    "2.16.840.1.101.3.4.3.17": ("ML-DSA-44", 1312 * 8),
    "2.16.840.1.101.3.4.3.18": ("ML-DSA-65", 1952 * 8),
    "2.16.840.1.101.3.4.3.19": ("ML-DSA-87", 2592 * 8),
}


def key_of(parsed: x509.Certificate) -> tuple[str, int]:
    """Return the public key in words, such as ``EC P-256``, and its size in bits."""
    if (known := ML_DSA.get(parsed.public_key_algorithm_oid.dotted_string)) is not None:
        return known
    text, bits = describe_key(parsed.public_key())
    # The library reads a key that is restricted to RSASSA-PSS (RFC 4055 1.2) like any RSA key.
    if parsed.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        text = text.replace("RSA ", "RSA-PSS ", 1)
    return text, bits


def signature_hash(parsed: x509.Certificate) -> str:
    """Return the hash of the signature, such as ``sha256``; its OID if it has none."""
    # Ed25519 and Ed448 have no separate hash.
    algorithm = parsed.signature_hash_algorithm
    return algorithm.name if algorithm is not None else parsed.signature_algorithm_oid.dotted_string


def date_of(parsed: x509.Certificate, which: str) -> datetime:
    """Return a date in UTC.

    Args:
        parsed: The certificate.
        which: The name of an attribute, such as ``not_valid_after_utc``.

    Raises:
        ValueError: It is not a date.
    """
    try:
        date: datetime = getattr(parsed, which)
    except ValueError:
        # GeneralizedTime has a year 0, which ``datetime`` has not.
        if b"\x18\x0f0000" not in parsed.tbs_certificate_bytes:
            raise
        return datetime.min.replace(tzinfo=UTC)
    return date
