"""Parsing of X.509 certificates into :class:`Certificate`. Pure.

Each field and each extension is read separately, so that a malformed one affects only its fields.
Parsing raises more than ValueError (TypeError, UnsupportedAlgorithm, InvalidVersion,
DuplicateExtension, UnsupportedGeneralNameType). All errors become :attr:`Certificate.problems`, and
the DER is kept.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from ipaddress import ip_address
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
    PublicKeyAlgorithmOID,
    SignatureAlgorithmOID,
)

from inventory import der as encoding
from inventory.distinguished_names import is_name, name_text, normalised
from inventory.repairs import algorithms_differ, repaired

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
        parsed: The parsed certificate; None if it cannot be parsed. It may be a repaired copy.
        problems: Why fields are missing. Empty for a well-formed certificate.
        dns_names: dNSNames in lower case, in the order of the SAN.
        ip_names: Addresses of the SAN, as text.
        has_san: Whether the certificate has a SAN.
        key: Type and size of the key, such as "EC P-256" or "RSA 2048".
        signature: Hash of the signature in lower case ("sha256"), or its OID if it has no hash.
        constrains_names: Whether it has name constraints.
        key_usage: The uses of the key that it allows, such as "digital_signature"; None without key
            usage.
        server_auth: Whether it may authenticate a server (serverAuth or anyExtendedKeyUsage); None
            without extended key usage.
        criticals: The object identifiers of its critical extensions.
        scts: (log id in hexadecimal, timestamp) of the embedded SCTs.
        issuer_urls: URLs of the issuer's certificate (AIA).
        crl_urls: HTTP URLs of revocation lists that the issuer signs for all reasons.
        must_staple: Whether it requires a stapled OCSP response (RFC 7633).
        has_responder: Whether it names an OCSP responder (AIA).
        extensions_readable: Whether its names can be read: there is no SAN, or it can be parsed.
        unreadable: The object identifiers of extensions that cannot be parsed or are empty.
        invalid_extensions: The object identifiers of extensions because of which browsers refuse
            all extensions: listed twice, or with a critical flag that is not in DER.
        constrains_policies: Whether it has policy constraints or inhibits anyPolicy.
        repaired: Whether ``parsed`` is a copy that the library can read
            (:mod:`inventory.repairs`). Its signature and its bytes are not those of ``der``.
        well_formed: Whether version, dates, key and the names of subject and issuer can be read.
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
    key_usage: frozenset[str] | None = None
    server_auth: bool | None = None
    criticals: frozenset[str] = frozenset()
    scts: tuple[tuple[str, datetime], ...] = ()
    issuer_urls: tuple[str, ...] = ()
    crl_urls: tuple[str, ...] = ()
    must_staple: bool = False
    has_responder: bool = False
    extensions_readable: bool = True
    unreadable: frozenset[str] = frozenset()
    invalid_extensions: frozenset[str] = frozenset()
    constrains_policies: bool = False
    repaired: bool = False
    well_formed: bool = True

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes, for caches that are bounded by bytes."""
        # The parsed certificate refers to the DER. A name takes about 120 bytes as a string.
        return 2 * len(self.der) + 120 * (len(self.dns_names) + len(self.ip_names))

    # Parsing of names costs more than all other fields together, and a repeated scan does not need
    # them. They are parsed on first use.

    @cached_property
    def subject(self) -> str:
        return name_text(self.subject_der)

    @cached_property
    def issuer(self) -> str:
        return name_text(self.issuer_der)

    @cached_property
    def subject_der(self) -> bytes:
        return _name_der(self.parsed, "subject")

    @cached_property
    def issuer_der(self) -> bytes:
        return _name_der(self.parsed, "issuer")

    @cached_property
    def subject_key(self) -> bytes:
        """The subject in the form in which names are compared (RFC 5280 7.1)."""
        return normalised(self.subject_der)

    @cached_property
    def issuer_key(self) -> bytes:
        """The issuer in the form in which names are compared (RFC 5280 7.1)."""
        return normalised(self.issuer_der)

    @cached_property
    def algorithms_differ(self) -> bool:
        """Whether it names two different signature algorithms (RFC 5280 4.1.1.2)."""
        return algorithms_differ(self.der)

    @property
    def self_issued(self) -> bool:
        return bool(self.subject_der) and self.subject_key == self.issuer_key

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


def _name_der(parsed: x509.Certificate | None, which: str) -> bytes:
    if parsed is None:
        return b""
    try:
        name: x509.Name = getattr(parsed, which)
        return name.public_bytes()
    except PARSE_ERRORS:
        return _raw_name(parsed, which)


def _raw_name(parsed: x509.Certificate, which: str) -> bytes:
    """Return a name that the library refuses, as it is encoded; empty if there is none."""
    try:
        parts = encoding.outline(parsed.public_bytes(Encoding.DER))
    except PARSE_ERRORS:
        return b""
    return parts.subject if which == "subject" else parts.issuer


def _readable_name(parsed: x509.Certificate, which: str) -> x509.Name | None:
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


class _Reader:
    """Reads separate fields, and collects the reason of each failure."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, field: str, function: Callable[[], _T], default: _D) -> _T | _D:
        try:
            return function()
        except PARSE_ERRORS as error:
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


_SAN = ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string
_BASIC_CONSTRAINTS = ExtensionOID.BASIC_CONSTRAINTS.dotted_string
_KEY_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def _extensions_one_by_one(der: bytes, reader: _Reader) -> dict[str, Any]:
    """Return the fields of those extensions that can be read, if some cannot.

    The certificate library reads all of them or none, so each is read in a copy of the certificate
    that has no other.
    """
    fields: dict[str, Any] = {}
    unreadable: set[str] = set()
    criticals: set[str] = set()
    seen: set[str] = set()
    repeated: set[str] = set()
    parts = encoding.outline(der)
    for encoded in parts.extensions:
        oid, critical, value = encoding.extension_parts(encoded)
        if oid in seen:
            reader.problems.append(f"the extension {oid} is listed twice")
            repeated.add(oid)
            continue
        seen.add(oid)
        if critical:
            criticals.add(oid)
        try:
            copy = x509.load_der_x509_certificate(parts.with_extensions(encoded))
            one = _extension_fields(copy.extensions, reader)
        except PARSE_ERRORS:
            tolerated = _tolerant_fields(oid, value)
            if tolerated is None:
                unreadable.add(oid)
            one = tolerated or {}
            reader.problems.append(f"the extension {oid} cannot be read")
        unreadable |= one.pop("unreadable", frozenset())
        fields |= one
    return fields | {
        "criticals": frozenset(criticals),
        "unreadable": frozenset(unreadable),
        "invalid_extensions": frozenset(repeated),
        "extensions_readable": _SAN not in unreadable,
    }


def _tolerant_fields(oid: str, value: bytes) -> dict[str, Any] | None:
    """Return the fields of an extension that browsers accept and the library does not, or None."""
    if oid == _BASIC_CONSTRAINTS and (ca := encoding.is_basic_constraints(value)) is not None:
        return {"is_ca": ca}
    if oid != _SAN:
        return None
    try:
        names, addresses = encoding.general_names(value, MAX_NAMES)
    except ValueError:
        return None
    return {
        "has_san": True,
        "dns_names": tuple(names),
        "ip_names": tuple(str(ip_address(a)) for a in addresses),
    }


def _extension_fields(extensions: x509.Extensions, reader: _Reader) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "criticals": frozenset(e.oid.dotted_string for e in extensions if e.critical)
    }
    for extension in extensions:
        oid, value = extension.oid, extension.value
        if oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
            fields["has_san"] = True
            unusable = _unusable_names(value)
            if unusable:
                reader.problems.append(unusable)
                fields["unreadable"] = frozenset({_SAN})
                fields["extensions_readable"] = False
            fields["dns_names"] = reader.read("SAN", partial(_dns_names, value), ())
            fields["ip_names"] = reader.read("SAN", partial(_ip_names, value), ())
        elif oid == ExtensionOID.BASIC_CONSTRAINTS:
            fields["is_ca"] = bool(value.ca)
        elif oid == ExtensionOID.NAME_CONSTRAINTS:
            fields["constrains_names"] = True
        elif oid in (ExtensionOID.POLICY_CONSTRAINTS, ExtensionOID.INHIBIT_ANY_POLICY):
            fields["constrains_policies"] = True
        elif oid == ExtensionOID.KEY_USAGE:
            fields["key_usage"] = frozenset(u for u in _KEY_USES if getattr(value, u))
        elif oid == ExtensionOID.EXTENDED_KEY_USAGE:
            fields["server_auth"] = (
                ExtendedKeyUsageOID.SERVER_AUTH in value
                or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in value
            )
        elif oid == ExtensionOID.CERTIFICATE_POLICIES:
            # RFC 5280 4.2.1.4: a policy must not appear more than once, and browsers enforce it.
            policies = [p.policy_identifier for p in value]
            if len(set(policies)) != len(policies):
                reader.problems.append("a certificate policy is listed twice")
                fields["unreadable"] = frozenset({oid.dotted_string})
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


def _unusable_names(value: x509.SubjectAlternativeName) -> str:
    """Return why browsers refuse a SAN that the library reads; empty if they accept it."""
    names = list(value)
    if not names:
        return "the subject alternative names are empty"
    texts = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier)
    # They are IA5Strings (RFC 5280 4.2.1.6): an international name is written as A-labels.
    if any(isinstance(n, texts) and not n.value.isascii() for n in names):
        return "a subject alternative name has characters outside ASCII"
    return ""


def _dns_names(value: x509.SubjectAlternativeName) -> tuple[str, ...]:
    return tuple(n.lower() for n in value.get_values_for_type(x509.DNSName)[:MAX_NAMES])


def _key(parsed: x509.Certificate) -> tuple[str, int]:
    text, bits = describe_key(parsed.public_key())
    # The library reads a key that is restricted to RSASSA-PSS (RFC 4055 1.2) like any RSA key.
    if parsed.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        text = text.replace("RSA ", "RSA-PSS ", 1)
    return text, bits


def _signature(parsed: x509.Certificate) -> str:
    # Ed25519 and Ed448 have no separate hash.
    algorithm = parsed.signature_hash_algorithm
    return algorithm.name if algorithm is not None else parsed.signature_algorithm_oid.dotted_string


def _date(parsed: x509.Certificate, which: str) -> datetime:
    try:
        date: datetime = getattr(parsed, which)
    except ValueError:
        # GeneralizedTime has a year 0, which ``datetime`` has not.
        if b"\x18\x0f0000" not in parsed.tbs_certificate_bytes:
            raise
        return datetime.min.replace(tzinfo=UTC)
    return date


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
            well_formed=False,
        )
    reader = _Reader()
    parsed = reader.read("certificate", lambda: x509.load_der_x509_certificate(der), None)
    if parsed is None and (copy := _repaired(der)) is not None:
        return copy
    if parsed is None:
        return Certificate(
            der,
            sha256,
            None,
            tuple(reader.problems),
            extensions_readable=False,
            well_formed=False,
        )
    return _read(der, sha256, parsed, reader)


def _repaired(der: bytes) -> Certificate | None:
    """Return the certificate with the fields of a copy that the library can read, or None."""
    repair = repaired(der)
    if repair is None:
        return None
    reader = _Reader()
    try:
        parsed = x509.load_der_x509_certificate(repair.der)
    except PARSE_ERRORS:
        return None
    reader.problems += repair.problems
    reader.problems += [f"the extension {oid} cannot be read" for oid in sorted(repair.invalid)]
    made = _read(der, hashlib.sha256(der).hexdigest(), parsed, reader)
    return replace(
        made,
        repaired=True,
        invalid_extensions=made.invalid_extensions | repair.invalid,
    )


def _read(der: bytes, sha256: str, parsed: x509.Certificate, reader: _Reader) -> Certificate:
    """Read the fields of a parsed certificate one by one."""
    known = len(reader.problems)
    # Subject, issuer and version are read only to collect their problems.
    read = reader.read
    read("subject", lambda: _readable_name(parsed, "subject"), None)
    read("issuer", lambda: _readable_name(parsed, "issuer"), None)
    version = read("version", lambda: parsed.version, None)
    key, bits = read("public key", lambda: _key(parsed), ("unknown", 0))
    dates = (
        read("dates", lambda: _date(parsed, "not_valid_before_utc"), None),
        read("dates", lambda: _date(parsed, "not_valid_after_utc"), None),
    )
    well_formed = len(reader.problems) == known
    fields: dict[str, Any] = {}
    try:
        fields = read("extensions", partial(_extension_fields, parsed.extensions, reader), fields)
        # RFC 5280 4.1.2.9: only version 3 has extensions, and browsers enforce it.
        if version is x509.Version.v1 and len(parsed.extensions):
            reader.problems.append("a certificate of version 1 has extensions")
            well_formed = False
    except PARSE_ERRORS:
        fields = read(
            "extensions",
            partial(_extensions_one_by_one, parsed.public_bytes(Encoding.DER), reader),
            {"extensions_readable": False},
        )
    return Certificate(
        der=der,
        sha256=sha256,
        parsed=parsed,
        serial=read("serial", lambda: f"{parsed.serial_number:x}", ""),
        not_before=dates[0],
        not_after=dates[1],
        key=key,
        key_bits=bits,
        signature=read("signature algorithm", lambda: _signature(parsed), ""),
        well_formed=well_formed,
        problems=tuple(reader.problems),
        **fields,
    )


def from_pem(data: bytes) -> list[Certificate]:
    """Return all certificates of a PEM file, including unreadable ones.

    Raises:
        ValueError: The file has no PEM certificate.
    """
    blocks = re.findall(
        rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----(.*?)-----END", data, re.DOTALL
    )
    if not blocks:
        raise ValueError("it contains no PEM certificate")
    return [parse(_decoded(block, label == b"TRUSTED ")) for label, block in blocks]


def _decoded(block: bytes, trusted: bool) -> bytes:
    try:
        raw = base64.b64decode(b"".join(block.split()), validate=False)
        # OpenSSL appends trust settings to the certificate in a block TRUSTED CERTIFICATE.
        return next(encoding.elements(raw)).encoded if trusted else raw
    except (ValueError, StopIteration):
        return block  # it is not base64, so it will not be readable as a certificate either


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
    if child.parsed is None or issuer.parsed is None or child.issuer_key != issuer.subject_key:
        return False
    if not child.repaired:
        try:
            child.parsed.verify_directly_issued_by(issuer.parsed)
        except InvalidSignature:
            return False
        except PARSE_ERRORS:
            pass
        else:
            return True
    return _signature_verifies(child, issuer.parsed)


def _signature_verifies(child: Certificate, issuer: x509.Certificate) -> bool:
    """Return whether a signature verifies that the library does not verify by itself.

    It refuses MD5 and SHA-1, names that are written in different ways, and an RSA algorithm without
    its NULL parameters. Without them the path would end here, and the finding would be a missing
    issuer.
    """
    parsed = child.parsed
    if parsed is None or child.algorithms_differ:
        return False
    try:
        digest, key = parsed.signature_hash_algorithm, issuer.public_key()
        content, signature = encoding.outline(child.der).body, parsed.signature
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, content)
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


def organisation(issuer: str) -> str:
    """Return the organisation of a stored distinguished name.

    Without an organisation, it is the common name; without both, it is empty.
    """
    # The last attribute of a kind is overwritten by the first one.
    parts = dict(p.split("=", 1) for p in reversed(issuer.split(", ")) if "=" in p)
    return parts.get("O") or parts.get("CN") or ""
