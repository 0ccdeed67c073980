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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from inventory import der as encoding
from inventory.certificate_extensions import extension_fields, extensions_one_by_one
from inventory.certificate_fields import (
    PARSE_ERRORS,
    FieldReader,
    date_of,
    key_of,
    name_der,
    readable_name,
    signature_hash,
)
from inventory.distinguished_names import name_text, normalised
from inventory.repairs import algorithms_differ, repaired

# Bytes. Certificates with a thousand names have about 40 KB; a larger one costs only memory.
MAX_DER = 131_072
_BEGIN = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")


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
        tolerated: The object identifiers of extensions that browsers read, and other programs do
            not.
        invalid_extensions: The object identifiers of extensions because of which browsers refuse
            all extensions: listed twice, or with a critical flag that is not in DER.
        constrains_policies: Whether it has policy constraints or inhibits anyPolicy.
        repaired: Whether ``parsed`` is a copy that the library can read
            (:mod:`inventory.repairs`). Its signature and its bytes are not those of ``der``.
        well_formed: Whether version, dates and the names of subject and issuer can be read.
        key_readable: Whether the public key can be read.
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
    tolerated: frozenset[str] = frozenset()
    invalid_extensions: frozenset[str] = frozenset()
    constrains_policies: bool = False
    repaired: bool = False
    well_formed: bool = True
    key_readable: bool = True

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes, for caches that are bounded by bytes."""
        # The parsed certificate refers to the DER. A name takes about 120 bytes as a string.
        return 2 * len(self.der) + 120 * (len(self.dns_names) + len(self.ip_names))

    # Parsing of names costs more than all other fields together, and a repeated scan does not need
    # them. They are parsed on first use.

    @cached_property
    def subject(self) -> str:
        """The subject as text (RFC 4514)."""
        return name_text(self.subject_der)

    @cached_property
    def issuer(self) -> str:
        """The issuer as text (RFC 4514)."""
        return name_text(self.issuer_der)

    @cached_property
    def subject_der(self) -> bytes:
        """The subject in DER; empty if it cannot be encoded."""
        return name_der(self.parsed, "subject")

    @cached_property
    def issuer_der(self) -> bytes:
        """The issuer in DER; empty if it cannot be encoded."""
        return name_der(self.parsed, "issuer")

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
        """Whether subject and issuer are the same name (RFC 5280 6.1)."""
        return bool(self.subject_der) and self.subject_key == self.issuer_key

    @property
    def names(self) -> tuple[str, ...]:
        """The DNS names and IP addresses of the subject alternative name."""
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

    # Only the DER is sent between processes: a parsed certificate of the library cannot be pickled.
    def __reduce__(self) -> tuple[Callable[[bytes], Certificate], tuple[bytes]]:
        return parse, (self.der,)


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
    reader = FieldReader()
    parsed = reader.read("certificate", lambda: x509.load_der_x509_certificate(der), None)
    # Only if the library refuses the whole, so that a good certificate costs nothing more.
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
    reader = FieldReader()
    try:
        parsed = x509.load_der_x509_certificate(repair.der)
    except PARSE_ERRORS:
        return None
    reader.problems += repair.problems
    reader.problems += [f"the extension {oid} cannot be read" for oid in sorted(repair.invalid)]
    # The hash and the DER are those of the original, by which everything else refers to it.
    made = _read(der, hashlib.sha256(der).hexdigest(), parsed, reader)
    return replace(
        made,
        repaired=True,
        invalid_extensions=made.invalid_extensions | repair.invalid,
    )


def _read(der: bytes, sha256: str, parsed: x509.Certificate, reader: FieldReader) -> Certificate:
    """Read the fields of a parsed certificate one by one."""
    known = len(reader.problems)
    # Subject, issuer and version are read only to collect their problems.
    read = reader.read
    read("subject", lambda: readable_name(parsed, "subject"), None)
    read("issuer", lambda: readable_name(parsed, "issuer"), None)
    version = read("version", lambda: parsed.version, None)
    dates = (
        read("dates", lambda: date_of(parsed, "not_valid_before_utc"), None),
        read("dates", lambda: date_of(parsed, "not_valid_after_utc"), None),
    )
    well_formed = len(reader.problems) == known
    known = len(reader.problems)
    key, bits = read("public key", lambda: key_of(parsed), ("unknown", 0))
    key_readable = len(reader.problems) == known
    fields: dict[str, Any] = {}
    try:
        fields = read("extensions", partial(extension_fields, parsed.extensions, reader), fields)
        # RFC 5280 4.1.2.9: only version 3 has extensions, and browsers enforce it.
        if version is x509.Version.v1 and len(parsed.extensions):
            reader.problems.append("a certificate of version 1 has extensions")
            well_formed = False
    except PARSE_ERRORS:
        fields = read(
            "extensions",
            partial(extensions_one_by_one, parsed.public_bytes(Encoding.DER), reader),
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
        signature=read("signature algorithm", lambda: signature_hash(parsed), ""),
        well_formed=well_formed,
        key_readable=key_readable,
        problems=tuple(reader.problems),
        **fields,
    )


def from_pem(data: bytes) -> list[Certificate]:
    """Return all certificates of a PEM file, including unreadable ones.

    Raises:
        ValueError: The file has no PEM certificate.
    """
    blocks = list(_pem_blocks(data))
    # A file without a certificate is usually the wrong file, so it is an error and not an empty
    # list.
    if not blocks:
        raise ValueError("it contains no PEM certificate")
    return [parse(_decoded(block, trusted)) for block, trusted in blocks]


def _pem_blocks(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the base64 of each PEM block, and whether it has the trust settings of OpenSSL.

    In linear time: one expression for a whole block would search to the end of a hostile file from
    each BEGIN that has no END.
    """
    position = 0
    while (begin := _BEGIN.search(data, position)) is not None:
        end = data.find(b"-----END", begin.end())
        if end < 0:
            return
        yield data[begin.end() : end], begin[1] == b"TRUSTED "
        position = end


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
            # A CA has a few certificates for one key; the limit is against hostile bundles.
            for c in pkcs7.load_der_pkcs7_certificates(data)[:20]
        ]
    except PARSE_ERRORS:
        return []


def issuer_name(issuer: str | None) -> str:
    """Return the common name of a stored distinguished name, else its organisation."""
    # The name may have the same attribute several times. Reversed, the first one wins.
    parts = dict(p.split("=", 1) for p in reversed((issuer or "").split(", ")) if "=" in p)
    return parts.get("CN") or parts.get("O") or issuer or ""


def organisation(issuer: str) -> str:
    """Return the organisation of a stored distinguished name.

    Without an organisation, it is the common name; without both, it is empty.
    """
    # The last attribute of a kind is overwritten by the first one.
    parts = dict(p.split("=", 1) for p in reversed(issuer.split(", ")) if "=" in p)
    return parts.get("O") or parts.get("CN") or ""
