"""Certificate signing requests: made with our key, or the client's own one checked.

Pure but for what is handed in.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from inventory.certificates import PARSE_ERRORS, describe_key
from inventory.errors import UsageError
from inventory.names import as_ip, display
from inventory.text import printable

MAX_CSR = 65_536
GOOD_KEYS = ("EC P-256", "EC P-384", "RSA 2048", "RSA 3072", "RSA 4096")


def spki(public_key: Any) -> str:
    """SHA-256 of a public key: what a CSR and its certificate have in common."""
    return hashlib.sha256(
        public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    addresses = [(n, as_ip(n)) for n in names]
    return [x509.IPAddress(a) if a is not None else x509.DNSName(n) for n, a in addresses]


def make(
    key: Any,
    names: Sequence[str],
    bare: bool = False,
    /,
    *,
    organisation: str = "",
    locality: str = "",
    region: str = "",
    country: str = "",
) -> bytes:
    """PEM. The first name is the common name where it fits; all stand in the SAN, which is what
    counts. ``bare``: without a subject, as ACME CAs want it.
    """
    subject = []
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise UsageError(
            f"'{printable(country, 20)}' is not a country",
            "",
            "Write a code of two letters such as DE.",
        )
    for oid, value in (
        (NameOID.COUNTRY_NAME, country.upper()),
        (NameOID.STATE_OR_PROVINCE_NAME, region),
        (NameOID.LOCALITY_NAME, locality),
        (NameOID.ORGANIZATION_NAME, organisation),
        (NameOID.COMMON_NAME, names[0] if len(names[0]) <= 64 and not bare else ""),
    ):
        limit = (
            128 if oid in (NameOID.LOCALITY_NAME, NameOID.STATE_OR_PROVINCE_NAME) else 64
        )  # RFC 5280, upper bounds of X.520
        if len(value) > limit or printable(value, limit) != value:
            raise UsageError(
                f"'{printable(value, 60)}' cannot stand in a CSR",
                f"it has {len(value)} characters, or control characters; the limit is {limit}",
            )
        if value:
            subject.append(x509.NameAttribute(oid, value))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    builder = builder.add_extension(
        x509.SubjectAlternativeName(general_names(names)), critical=False
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A CSR that was read.

    ``problems``: (code, values) of what is wrong with it; see notifiers/wording/cases.py.
    """

    pem: str
    key: str
    spki: str
    names: tuple[str, ...]
    problems: tuple[tuple[str, dict[str, str]], ...] = ()


def read(data: bytes, names: Sequence[str]) -> SigningRequest:
    """``names``: those that it must ask for.

    Raises :class:`UsageError` where it is no CSR at all.
    """
    if len(data) > MAX_CSR:
        raise UsageError(
            "The file is too large for a CSR", f"{len(data):,} bytes, the limit is {MAX_CSR:,}"
        )
    try:
        request = (
            x509.load_pem_x509_csr(data) if b"-----BEGIN" in data else x509.load_der_x509_csr(data)
        )
        public, good = request.public_key(), request.is_signature_valid
        key = describe_key(public)[0]
        encoded, fingerprint = request.public_bytes(Encoding.PEM).decode(), spki(public)
    except PARSE_ERRORS as error:
        raise UsageError(
            "The file is not a CSR",
            printable(str(error), 120),
            "Export it as PEM (-----BEGIN CERTIFICATE REQUEST-----).",
        ) from None
    asked = _asked(request)
    problems: list[tuple[str, dict[str, str]]] = []
    if not good:
        problems.append(("csr-signature", {}))
    if key not in GOOD_KEYS:
        problems.append(("csr-key", {"key": key}))
    missing = [n for n in names if n not in asked]
    extra = [n for n in asked if n not in names]
    if missing:
        problems.append(("csr-names", {"names": ", ".join(display(n) for n in missing)}))
    if extra:
        problems.append(("csr-extra", {"names": ", ".join(display(n) for n in extra[:10])}))
    return SigningRequest(encoded, key, fingerprint, tuple(asked), tuple(problems))


def _asked(request: x509.CertificateSigningRequest) -> list[str]:
    """dNSNames and addresses of the SAN; the common name too, which CAs add."""
    found: list[str] = []
    try:
        san = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found += [n.lower() for n in san.get_values_for_type(x509.DNSName)]
        found += [str(a) for a in san.get_values_for_type(x509.IPAddress)]
    except (*PARSE_ERRORS, x509.ExtensionNotFound):
        pass
    with contextlib.suppress(*PARSE_ERRORS):
        found += [
            str(a.value).lower()
            for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    return [printable(n, 253) for n in dict.fromkeys(found)][:1000]
