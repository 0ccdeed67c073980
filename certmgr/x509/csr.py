"""Certificate signing requests: create them with our key, or check those of a client. Pure."""

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
    """Return the SHA-256 of a public key, which a CSR and its certificate have in common."""
    return hashlib.sha256(
        public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """Return host names and addresses as general names."""
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
    """Return a CSR as PEM.

    The first name becomes the common name if it fits. All names are in the SAN, which is what
    counts.

    Args:
        bare: Leave the subject empty, as ACME CAs expect.

    Raises:
        UsageError: A value does not fit into a CSR.
    """
    subject = []
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise UsageError(
            f"'{printable(country, 20)}' is not a country code",
            "",
            "Write a code of two letters such as DE.",
        )
    for oid, value in (
        (NameOID.COUNTRY_NAME, country.upper()),
        (NameOID.STATE_OR_PROVINCE_NAME, region),
        (NameOID.LOCALITY_NAME, locality),
        (NameOID.ORGANIZATION_NAME, organisation),
        # X.520 limits the common name to 64 characters (RFC 5280, ub-common-name).
        (NameOID.COMMON_NAME, names[0] if len(names[0]) <= 64 and not bare else ""),
    ):
        limit = (
            128 if oid in (NameOID.LOCALITY_NAME, NameOID.STATE_OR_PROVINCE_NAME) else 64
        )  # RFC 5280, upper bounds of X.520
        if len(value) > limit or printable(value, limit) != value:
            raise UsageError(
                f"'{printable(value, 60)}' is not a valid value for a CSR",
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
    """A parsed CSR.

    ``problems`` has a (code, values) pair per problem; see notifiers/wording/cases.py.
    """

    pem: str
    key: str
    spki: str
    names: tuple[str, ...]
    problems: tuple[tuple[str, dict[str, str]], ...] = ()


def read(data: bytes, names: Sequence[str]) -> SigningRequest:
    """Parse a CSR and check it.

    Args:
        names: The names that it must request.

    Raises:
        UsageError: The data is not a CSR.
    """
    if len(data) > MAX_CSR:
        raise UsageError(
            "The file is too large for a CSR", f"{len(data):,} bytes, the limit is {MAX_CSR:,}"
        )
    try:
        request = (
            x509.load_pem_x509_csr(data) if b"-----BEGIN" in data else x509.load_der_x509_csr(data)
        )
        public_key, signature_valid = request.public_key(), request.is_signature_valid
        key = describe_key(public_key)[0]
        encoded, fingerprint = request.public_bytes(Encoding.PEM).decode(), spki(public_key)
    except PARSE_ERRORS:
        raise UsageError(
            "The file is not a CSR",
            "it cannot be read as one",
            "Export it as PEM (-----BEGIN CERTIFICATE REQUEST-----).",
        ) from None
    requested = _requested_names(request)
    problems: list[tuple[str, dict[str, str]]] = []
    # The signature proves that the sender has the private key.
    if not signature_valid:
        problems.append(("csr-signature", {}))
    if key not in GOOD_KEYS:
        problems.append(("csr-key", {"key": key}))
    missing = [n for n in names if n not in requested]
    # Extra names are a problem too: the certificate would cover hosts that were not agreed.
    extra = [n for n in requested if n not in names]
    if missing:
        problems.append(("csr-names", {"names": ", ".join(display(n) for n in missing)}))
    if extra:
        problems.append(("csr-extra", {"names": ", ".join(display(n) for n in extra[:10])}))
    return SigningRequest(encoded, key, fingerprint, tuple(requested), tuple(problems))


def _requested_names(request: x509.CertificateSigningRequest) -> list[str]:
    """Return the DNS names and addresses of the SAN, and the common name, which CAs add to it."""
    names: list[str] = []
    try:
        san = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += [n.lower() for n in san.get_values_for_type(x509.DNSName)]
        names += [str(a) for a in san.get_values_for_type(x509.IPAddress)]
    except (*PARSE_ERRORS, x509.ExtensionNotFound):
        pass
    with contextlib.suppress(*PARSE_ERRORS):
        names += [
            str(a.value).lower()
            for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    return [printable(n, 253) for n in dict.fromkeys(names)][:1000]
