"""Parsing of X.509 certificates into :class:`Certificate`. Pure.

Each field is read separately, so that a malformed extension affects only its fields. Parsing raises
more than ValueError (TypeError, UnsupportedAlgorithm, InvalidVersion, DuplicateExtension,
UnsupportedGeneralNameType). All errors become :attr:`Certificate.problems`, and the DER is kept.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
    NameOID,
)

from inventory.text import printable

# A serial number of zero or below is reported as a problem here, not as a warning on a terminal.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)

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
MAX_DER = 131_072  # bytes
# Limits for hostile certificates; the rest is ignored.
MAX_NAMES = 10_000
MAX_URL = 500
MAX_CRL_URLS = 4
_T = TypeVar("_T")
_D = TypeVar("_D")


@dataclass(frozen=True, eq=False)
class Certificate:
    """The fields of a certificate. Two certificates are equal if their SHA-256 is equal.

    Attributes:
        der: The certificate in DER.
        sha256: Fingerprint in hexadecimal.
        parsed: The parsed certificate; None if it cannot be parsed.
        problems: Why fields are missing. Empty for a well-formed certificate.
        dns_names: dNSNames in lower case, in the order of the SAN.
        ip_names: Addresses of the SAN, as text.
        has_san: Whether the certificate has a SAN.
        key: Type and size of the key, such as "EC P-256" or "RSA 2048".
        signature: Hash of the signature in lower case ("sha256"), or its OID if it has no hash.
        constrains_names: Whether it has name constraints.
        server_auth: Whether it may authenticate a server; None without extended key usage.
        scts: (log id in hexadecimal, timestamp) of the embedded SCTs.
        issuer_urls: URLs of the issuer's certificate (AIA).
        crl_urls: HTTP URLs of revocation lists that the issuer signs for all reasons.
        must_staple: Whether it requires a stapled OCSP response (RFC 7633).
        has_responder: Whether it names an OCSP responder (AIA).
        extensions_readable: Whether the extensions can be parsed.
    """

    der: bytes
    sha256: str
    parsed: x509.Certificate | None
    problems: tuple[str, ...]
    serial: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    dns_names: tuple[str, ...] = ()
    ip_names: tuple[str, ...] = ()
    has_san: bool = False
    key: str = ""
    key_bits: int = 0
    signature: str = ""
    is_ca: bool = False
    constrains_names: bool = False
    server_auth: bool | None = None
    scts: tuple[tuple[str, datetime], ...] = ()
    issuer_urls: tuple[str, ...] = ()
    crl_urls: tuple[str, ...] = ()
    must_staple: bool = False
    has_responder: bool = False
    extensions_readable: bool = True

    # Parsing of names costs more than all other fields together, and a repeated scan does not need
    # them. They are parsed on first use.

    @cached_property
    def subject(self) -> str:
        return _name_text(self.parsed, "subject")

    @cached_property
    def issuer(self) -> str:
        return _name_text(self.parsed, "issuer")

    @cached_property
    def subject_der(self) -> bytes:
        return _name_der(self.parsed, "subject")

    @cached_property
    def issuer_der(self) -> bytes:
        return _name_der(self.parsed, "issuer")

    @property
    def self_issued(self) -> bool:
        return bool(self.subject_der) and self.subject_der == self.issuer_der

    @property
    def names(self) -> tuple[str, ...]:
        return self.dns_names + self.ip_names

    @property
    def key_type(self) -> str:
        """The type of the key, such as "EC" or "RSA".

        A server with several certificates chooses between them by this type.
        """
        return self.key.partition(" ")[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __reduce__(self) -> tuple[Callable[[bytes], Certificate], tuple[bytes]]:
        return parse, (self.der,)


_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_SHORT = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.COUNTRY_NAME: "C",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.LOCALITY_NAME: "L",
}


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
    return "unknown", 0


def _name(parsed: x509.Certificate | None, which: str) -> x509.Name:
    if parsed is None:
        return x509.Name([])
    try:
        return parsed.subject if which == "subject" else parsed.issuer
    except PARSE_ERRORS:
        return x509.Name([])


def _name_der(parsed: x509.Certificate | None, which: str) -> bytes:
    try:
        return _name(parsed, which).public_bytes()
    except PARSE_ERRORS:
        return b""


def _name_text(parsed: x509.Certificate | None, which: str) -> str:
    parts = []
    for attribute in _name(parsed, which):
        value = attribute.value
        text = value if isinstance(value, str) else value.hex()
        parts.append(
            f"{_SHORT.get(attribute.oid, attribute.oid.dotted_string)}={printable(text, 120)}"
        )
        # A hostile name may have thousands of attributes.
        if len(parts) == 12:
            parts.append("...")
            break
    return ", ".join(parts)


class _Reader:
    """Reads separate fields, and collects the reason of each failure."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, field: str, function: Callable[[], _T], default: _D) -> _T | _D:
        try:
            return function()
        except PARSE_ERRORS as error:
            self.problems.append(f"{field}: {type(error).__name__}: {printable(str(error), 120)}")
            return default


def _extension_fields(extensions: x509.Extensions, reader: _Reader) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for extension in extensions:
        oid, value = extension.oid, extension.value
        if oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
            fields["has_san"] = True
            fields["dns_names"] = reader.read("SAN", partial(_dns_names, value), ())
            fields["ip_names"] = reader.read("SAN", partial(_ip_names, value), ())
        elif oid == ExtensionOID.BASIC_CONSTRAINTS:
            fields["is_ca"] = bool(value.ca)
        elif oid == ExtensionOID.NAME_CONSTRAINTS:
            fields["constrains_names"] = True
        elif oid == ExtensionOID.EXTENDED_KEY_USAGE:
            fields["server_auth"] = ExtendedKeyUsageOID.SERVER_AUTH in value
        elif oid == ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS:
            fields["scts"] = reader.read("SCT list", partial(_scts, value), ())
        elif oid == ExtensionOID.AUTHORITY_INFORMATION_ACCESS:
            fields["issuer_urls"] = tuple(
                d.access_location.value[:500]
                # Each URL may be fetched, so their number is limited.
                for d in list(value)[:8]
                if d.access_method == AuthorityInformationAccessOID.CA_ISSUERS
                and isinstance(d.access_location, x509.UniformResourceIdentifier)
            )
            fields["has_responder"] = any(
                d.access_method == AuthorityInformationAccessOID.OCSP for d in value
            )
        elif oid == ExtensionOID.CRL_DISTRIBUTION_POINTS:
            fields["crl_urls"] = reader.read(
                "CRL distribution points", partial(_crl_urls, value), ()
            )
        elif oid == ExtensionOID.TLS_FEATURE:
            fields["must_staple"] = x509.TLSFeatureType.status_request in value
    return fields


def _crl_urls(value: x509.CRLDistributionPoints) -> tuple[str, ...]:
    # Other points list only some reasons, or are signed by another CA.
    points = [p for p in list(value)[:8] if p.crl_issuer is None and p.reasons is None]
    names = [
        n.value
        for p in points
        for n in list(p.full_name or ())[:8]
        if isinstance(n, x509.UniformResourceIdentifier)
    ]
    return tuple(
        dict.fromkeys(n for n in names if n.lower().startswith("http://") and len(n) <= MAX_URL)
    )[:MAX_CRL_URLS]


def _scts(
    value: x509.PrecertificateSignedCertificateTimestamps,
) -> tuple[tuple[str, datetime], ...]:
    return tuple((s.log_id.hex(), s.timestamp.replace(tzinfo=UTC)) for s in list(value)[:50])


def _ip_names(value: x509.SubjectAlternativeName) -> tuple[str, ...]:
    return tuple(str(a) for a in value.get_values_for_type(x509.IPAddress)[:MAX_NAMES])


def _dns_names(value: x509.SubjectAlternativeName) -> tuple[str, ...]:
    return tuple(n.lower() for n in value.get_values_for_type(x509.DNSName)[:MAX_NAMES])


def _signature(parsed: x509.Certificate) -> str:
    # Ed25519 and Ed448 have no separate hash.
    algorithm = parsed.signature_hash_algorithm
    return algorithm.name if algorithm is not None else parsed.signature_algorithm_oid.dotted_string


def parse(der: bytes) -> Certificate:
    """Parse a certificate.

    The content never raises an error. An unreadable certificate has ``parsed`` None and the reason
    in ``problems``.
    """
    sha256 = hashlib.sha256(der).hexdigest()
    # The hash still covers the whole input.
    if len(der) > MAX_DER:
        return Certificate(
            der[:MAX_DER],
            sha256,
            None,
            (f"size: {len(der)} bytes, the limit is {MAX_DER}",),
            extensions_readable=False,
        )
    reader = _Reader()
    parsed = reader.read("certificate", lambda: x509.load_der_x509_certificate(der), None)
    if parsed is None:
        return Certificate(der, sha256, None, tuple(reader.problems), extensions_readable=False)
    # Subject, issuer and version are read only to collect their problems.
    read = reader.read
    read("subject", lambda: parsed.subject, None)
    read("issuer", lambda: parsed.issuer, None)
    key, bits = read("public key", lambda: describe_key(parsed.public_key()), ("unknown", 0))
    extensions = read("extensions", lambda: parsed.extensions, None)
    fields: dict[str, Any] = {}
    if extensions is not None:
        fields = read("extensions", partial(_extension_fields, extensions, reader), fields)
    read("version", lambda: parsed.version, None)
    return Certificate(
        der=der,
        sha256=sha256,
        parsed=parsed,
        serial=read("serial", lambda: f"{parsed.serial_number:x}", ""),
        not_before=read("dates", lambda: parsed.not_valid_before_utc, None),
        not_after=read("dates", lambda: parsed.not_valid_after_utc, None),
        key=key,
        key_bits=bits,
        signature=read("signature algorithm", lambda: _signature(parsed), ""),
        extensions_readable=extensions is not None,
        problems=tuple(reader.problems),
        **fields,
    )


def from_pem(data: bytes) -> list[Certificate]:
    """Return all certificates of a PEM file, including unreadable ones.

    Raises:
        ValueError: The file has no PEM certificate.
    """
    blocks = re.findall(
        rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----(.*?)-----END", data, re.DOTALL
    )
    if not blocks:
        raise ValueError("it contains no PEM certificate")
    return [parse(base64.b64decode(b"".join(block.split()), validate=False)) for block in blocks]


def from_pkcs7(data: bytes) -> list[Certificate]:
    """Return the certificates of a PKCS#7 bundle in DER; an empty list if it is not a bundle.

    RFC 5280 4.2.2.1 allows such a bundle at an AIA URL.
    """
    try:
        return [
            parse(c.public_bytes(Encoding.DER))
            for c in pkcs7.load_der_pkcs7_certificates(data)[:20]
        ]
    except PARSE_ERRORS:
        return []


def issued_by(child: Certificate, issuer: Certificate) -> bool:
    """Return whether ``issuer`` issued ``child``: the name matches, and the signature verifies."""
    # Comparing names first avoids most signature checks.
    if child.parsed is None or issuer.parsed is None or child.issuer_der != issuer.subject_der:
        return False
    try:
        child.parsed.verify_directly_issued_by(issuer.parsed)
    except (*PARSE_ERRORS, InvalidSignature):
        return False
    return True


def self_signed(certificate: Certificate) -> bool:
    """Return whether the signature verifies with the key of the certificate itself."""
    return issued_by(certificate, certificate)


def organisation(issuer: str) -> str:
    """Return the organisation of a stored distinguished name.

    Without an organisation, it is the common name; without both, it is empty.
    """
    # The last attribute of a kind is overwritten by the first one.
    parts = dict(p.split("=", 1) for p in reversed(issuer.split(", ")) if "=" in p)
    return parts.get("O") or parts.get("CN") or ""
