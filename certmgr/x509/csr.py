"""Certificate signing requests: create them with our key, or check those of a client. Pure."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from certmgr.x509.names import name_covers
from certmgr.x509.pem_text import (
    as_bytes_of_text,
    bare_base64,
    decode_body,
    file_kind,
    pem_blocks,
    with_plain_armour,
)
from certmgr.x509.signatures import verifies
from certmgr.x509.text_forms import other_forms
from inventory import der
from inventory.certificate_fields import PARSE_ERRORS, describe_key
from inventory.errors import InvalidName, UsageError
from inventory.names import as_ip, certificate_name, display
from inventory.text import printable

# A CSR with a thousand names has about 40 KB.
MAX_CSR = 65_536
GOOD_KEYS = ("EC P-256", "EC P-384", "RSA 2048", "RSA 3072", "RSA 4096")
# Problems that do not prevent a certificate for all names; every other problem refuses the CSR.
REMARKS = frozenset({"csr-extra", "csr-outdated", "csr-key-sent", "csr-names-ordered"})
_OUTDATED = ("md5", "sha1")
_SAN = ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string
_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"  # RFC 2985 5.4.2
_MICROSOFT_EXTENSIONS = "1.3.6.1.4.1.311.2.1.14"  # szOID_CERT_EXTENSIONS
_DNS_NAME = 0x82  # tag of a dNSName (RFC 5280 4.2.1.6)
_MAX_NAMES = 1000
_CHANGED: tuple[str, dict[str, str]] = ("csr-signature", {})
# The object identifier 1.2.840.113549.1.1.10 (RFC 4055 1.2) with its tag and length.
_RSA_PSS = bytes.fromhex("06092a864886f70d01010a")


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
    # A vendor would refuse it only after the purchase.
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

    Attributes:
        pem: The CSR with the usual PEM lines.
        key: The key in words, such as ``RSA 2048``.
        spki: SHA-256 of the public key.
        names: The requested names, in A-labels.
        problems: A (code, values) pair per problem or remark; see notifiers/wording/cases.py.
    """

    pem: str
    key: str
    spki: str
    names: tuple[str, ...]
    problems: tuple[tuple[str, dict[str, str]], ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a problem prevents the use of the CSR."""
        return any(code not in REMARKS for code, _ in self.problems)


def read(data: bytes, names: Sequence[str], ordered: Sequence[str] = ()) -> SigningRequest:
    """Parse a CSR and check it.

    The file may be PEM with either label, DER, or base64 without PEM lines, in UTF-8 or UTF-16,
    with text around it.

    Args:
        names: The names that it must request.
        ordered: Names that are entered at the vendor in addition to those of the CSR.

    Raises:
        UsageError: The data is not a CSR.
    """
    if len(data) > MAX_CSR:
        raise UsageError(
            "The file is too large for a CSR", f"{len(data):,} bytes, the limit is {MAX_CSR:,}"
        )
    request, key_sent = _find_in_any_form(data)
    try:
        public_key = request.public_key()
        key = describe_key(public_key)[0]
        # Public CAs refuse a key that is restricted to RSA-PSS (Baseline Requirements 7.1.3.1.1).
        if _RSA_PSS in request.tbs_certrequest_bytes and _restricted_to_pss(request):
            key = key.replace("RSA", "RSA-PSS", 1)
        pem, fingerprint = request.public_bytes(Encoding.PEM).decode(), spki(public_key)
        signature_problem = _signature_problem(request)
    except PARSE_ERRORS:
        raise _unreadable() from None
    requested = _requested_names(request)
    problems: list[tuple[str, dict[str, str]]] = []
    if signature_problem is not None:
        problems.append(signature_problem)
    if key not in GOOD_KEYS:
        problems.append(("csr-key", {"key": key}))
    problems += _name_problems(requested, names, ordered)
    if key_sent:
        problems.append(("csr-key-sent", {}))
    return SigningRequest(pem, key, fingerprint, tuple(requested), tuple(problems))


class _NoCsrFound(UsageError):
    """Nothing in the text can be read as a CSR, so that its other forms are tried."""


def _not_a_csr(why: str, action: str) -> UsageError:
    return UsageError("The file is not a CSR", why, action)


def _unreadable(
    why: str = "it cannot be read as one",
    action: str = "Export it as PEM (-----BEGIN CERTIFICATE REQUEST-----).",
) -> _NoCsrFound:
    return _NoCsrFound("The file is not a CSR", why, action)


def _find_in_any_form(data: bytes) -> tuple[x509.CertificateSigningRequest, bool]:
    """Return the one CSR of a file, and whether a private key was sent with it.

    Raises:
        UsageError: The file has no CSR or several.
    """
    text = as_bytes_of_text(data)
    try:
        return _find(with_plain_armour(text))
    except _NoCsrFound as refused:
        for value in itertools.chain.from_iterable(other_forms(text)):
            with contextlib.suppress(_NoCsrFound, *PARSE_ERRORS):
                request, key_sent = _find(value)
                # A guessed form is only believed if the signature shows that no letter is wrong.
                if _signature_problem(request) != _CHANGED:
                    return request, key_sent
        raise refused from None


def _find(data: bytes) -> tuple[x509.CertificateSigningRequest, bool]:
    """Return the one CSR of a file whose text is plain.

    Raises:
        _NoCsrFound: It may stand in another form in the text.
        UsageError: The file has several CSRs, or is something else.
    """
    blocks = list(pem_blocks(data))
    labels = [label for label, _ in blocks]
    key_sent = any(label.endswith(b"PRIVATE KEY") for label in labels)
    # Both labels are in use: "CERTIFICATE REQUEST" (RFC 7468) and "NEW CERTIFICATE REQUEST" of old
    # tools.
    bodies = [body for label, body in blocks if label.endswith(b"CERTIFICATE REQUEST")]
    found = list(dict.fromkeys(decode_body(b) if b is not None else None for b in bodies))
    if len(found) > 1:
        raise UsageError(
            f"The file contains {len(found)} CSRs", "one is read at a time", "Send one per file."
        )
    if found:
        if found[0] is None:
            raise _unreadable(
                "its block is incomplete or damaged",
                "Copy it from the line BEGIN to the line END, or attach the file.",
            )
        return _parsed(found[0]), key_sent
    if any(b"CERTIFICATE" in label for label in labels):
        raise _not_a_csr(
            "it is a certificate", "Send the CSR, which is the request for the certificate."
        )
    if key_sent:
        raise _not_a_csr(
            "it is a private key", "Create a new key, keep it secret, and send only its CSR."
        )
    if any(label.endswith(b"PUBLIC KEY") for label in labels):
        raise _not_a_csr("it is a public key", "Send the CSR, which was created with the key.")
    # Some forms show the base64 alone, and a file may end with a line end after the DER.
    content = data if data[:1] == b"\x30" and not data[:40].isascii() else bare_base64(data)
    if not content:
        known = file_kind(data)
        raise _unreadable(
            f"it is {known}" if known else "it contains neither PEM, DER nor base64 of a CSR"
        )
    with contextlib.suppress(ValueError):
        return _parsed(next(der.elements(content)).encoded), False
    raise _unreadable("it is incomplete or damaged", "Copy or attach the whole file.")


def _parsed(encoded: bytes) -> x509.CertificateSigningRequest:
    try:
        return x509.load_der_x509_csr(encoded)
    except PARSE_ERRORS:
        raise _unreadable() from None


def _restricted_to_pss(request: x509.CertificateSigningRequest) -> bool:
    """Return whether the algorithm of the public key is RSASSA-PSS, which the library hides."""
    # Version, subject, key (RFC 2986 4.1).
    fields = _content(request.tbs_certrequest_bytes)
    return _content(fields[2].encoded)[0].content.startswith(_RSA_PSS)


def _signature_problem(
    request: x509.CertificateSigningRequest,
) -> tuple[str, dict[str, str]] | None:
    """Return the problem of the signature, which proves that the sender has the private key.

    The certificate library verifies no signature with MD5 or SHA-1, which IIS and old devices use.
    Such a signature proves the same: the hash of the CSR does not reach the certificate.
    """
    if request.is_signature_valid:
        return None
    try:
        digest = request.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    if (
        digest is not None
        and digest.name in _OUTDATED
        and verifies(request.public_key(), request.signature, request.tbs_certrequest_bytes, digest)
    ):
        return "csr-outdated", {"hash": {"md5": "MD5", "sha1": "SHA-1"}[digest.name]}
    return _CHANGED


def _name_problems(
    requested: Sequence[str], names: Sequence[str], ordered: Sequence[str]
) -> list[tuple[str, dict[str, str]]]:
    problems: list[tuple[str, dict[str, str]]] = []
    missing = [n for n in names if not any(name_covers(r, n) for r in requested)]
    entered = [n for n in missing if n in ordered]
    missing = [n for n in missing if n not in ordered]
    # Extra names are a problem too: the certificate would cover hosts that were not agreed. A
    # wildcard that covers an agreed name is needed for it.
    extra = [r for r in requested if not any(name_covers(r, n) for n in names)]
    for code, affected in (
        ("csr-names", missing),
        ("csr-names-ordered", entered),
        ("csr-extra", extra[:10]),
    ):
        if affected:
            problems.append((code, {"names": ", ".join(display(n) for n in affected)}))
    return problems


def _requested_names(request: x509.CertificateSigningRequest) -> list[str]:
    """Return the DNS names and addresses of the SAN, and the common name, which CAs add to it."""
    names: list[str] = []
    try:
        san = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += san.get_values_for_type(x509.DNSName)
        names += [str(a) for a in san.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        pass
    except PARSE_ERRORS:
        # One malformed extension, or a U-label in the SAN, must not hide the names.
        names += _raw_dns_names(request)
    with contextlib.suppress(*PARSE_ERRORS):
        names += [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return list(dict.fromkeys(_a_labels(n) for n in names))[:_MAX_NAMES]


def _a_labels(name: str) -> str:
    """Return a name as certificates have it, or as it is written if it is not a name."""
    try:
        return certificate_name(name)
    except InvalidName:
        return printable(name.lower(), 253)


def _raw_dns_names(request: x509.CertificateSigningRequest) -> list[str]:
    names: list[str] = []
    try:
        attributes = list(request.attributes)
    except PARSE_ERRORS:
        # One attribute with several values makes all of them unreadable.
        return names
    for attribute in attributes:
        oid = attribute.oid.dotted_string
        if oid not in (_EXTENSION_REQUEST, _MICROSOFT_EXTENSIONS):
            continue
        with contextlib.suppress(ValueError):
            # The value is the list of extensions (RFC 2985 5.4.2).
            for extension in _content(attribute.value):
                found, _, value = der.extension_parts(extension.encoded)
                if found == _SAN:
                    names += [
                        e.content.decode("utf-8") for e in _content(value) if e.tag == _DNS_NAME
                    ]
    return names


def _content(encoded: bytes) -> list[der.Element]:
    """Return the elements of a SEQUENCE."""
    outer = next(der.elements(encoded), None)
    if outer is None or outer.tag != der.SEQUENCE:
        raise ValueError("it is not a sequence")
    # Attributes of a hostile CSR are bounded by the size of the file.
    return list(der.elements(outer.content))
