"""Words for what a verifier objects to. Pure.

The messages of the verifying libraries are texts for programmers, so no person reads them. The
reasons are derived from error codes (X509_V_ERR of OpenSSL) and from the certificates themselves.
Each text is a fixed phrase, which notifiers/wording/values.py lists for translation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate

BROKEN_CONSTRAINT = "the chain breaks a constraint of the CA"
OUTSIDE_PROFILE = "it differs from the profile of public CAs"
PURPOSE = "a certificate of the CA may not issue certificates for servers"
NAME_CONSTRAINED = "a name of the certificate is outside the names that its CA may issue"
_WEAK = "a key or a signature of the chain is too weak"
# Error codes of X509_verify_cert (openssl/x509_vfy.h).
_CODES = {
    4: "a signature of the chain cannot be read",
    6: "a key of the chain cannot be read",
    7: "a signature of the chain is wrong",
    9: "a certificate of the CA is not valid yet",
    13: "a date of the chain cannot be read",
    14: "a date of the chain cannot be read",
    22: "the chain is too long",
    24: "a certificate of the CA may not issue certificates",
    25: "the chain is longer than its CA permits",
    26: PURPOSE,
    32: "a certificate of the CA may not issue certificates",
    34: "a critical extension of the chain is not known",
    37: "a certificate of the CA may not issue certificates",
    41: "an extension of the chain cannot be read",
    47: NAME_CONSTRAINED,
    48: NAME_CONSTRAINED,
    49: "the name constraints of the CA cannot be checked",
    51: "the name constraints of the CA cannot be checked",
    52: "the name constraints of the CA cannot be checked",
    53: "a name of the certificate cannot be checked against those that its CA may issue",
    66: _WEAK,
    67: _WEAK,
    68: _WEAK,
    79: "a certificate of the CA may not issue certificates",
}
# RFC 5280 4.1.2.5: dates before 2050 are UTCTime.
_GENERALIZED_FROM = datetime(2050, 1, 1, tzinfo=UTC)
# RFC 5280 4.1.2.2: a serial number has at most 20 bytes.
_MAX_SERIAL = 1 << 159
# The limit of the verifier that browsers' profile is checked with.
MAX_PROFILE_PATH = 8


def refusal(code: int | None) -> str:
    """Return the reason of a refusal by OpenSSL."""
    return _CODES.get(code or 0, BROKEN_CONSTRAINT)


def objections(path: Sequence[Certificate]) -> tuple[str, ...]:
    """Return what the profile of public CAs (RFC 5280, CA/Browser Forum) objects to in a path.

    Args:
        path: Leaf first, anchor last.
    """
    # A leaf that was trusted by hand. The profile of public CAs has no such case.
    if len(path) == 1:
        return ("the certificate itself is the trust anchor",)
    found = list(_of_any(path))
    found += _of_leaf(path[0])
    for ca in path[1:]:
        found += _of_ca(ca)
    if len(path) > MAX_PROFILE_PATH:
        found.append("the chain is very long")
    return tuple(dict.fromkeys(found))


def _of_any(path: Sequence[Certificate]) -> Iterator[str]:
    for certificate in path:
        if certificate.parsed is None:
            continue
        try:
            serial = certificate.parsed.serial_number
        except PARSE_ERRORS:
            continue
        # RFC 5280 4.1.2.2: positive, which some old devices violate with a serial of zero.
        if serial <= 0:
            yield "a serial number is zero or negative"
        elif serial >= _MAX_SERIAL:
            yield "a serial number is longer than 20 bytes"
        if _old_generalized_time(certificate):
            yield "a date before 2050 is written as GeneralizedTime"


def _old_generalized_time(certificate: Certificate) -> bool:
    assert certificate.parsed is not None
    body = certificate.parsed.tbs_certificate_bytes
    return any(
        date is not None
        and date < _GENERALIZED_FROM
        # Tag 24 with 15 characters; strftime does not pad a year before 1000.
        and b"\x18\x0f" + f"{date.year:04}{date:%m%d%H%M%S}Z".encode() in body
        for date in (certificate.not_before, certificate.not_after)
    )


def _extensions(
    certificate: Certificate,
) -> dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]:
    try:
        assert certificate.parsed is not None
        return {e.oid: e for e in certificate.parsed.extensions}
    except (AssertionError, *PARSE_ERRORS):
        return {}


def _of_leaf(leaf: Certificate) -> Iterator[str]:
    extensions = _extensions(leaf)
    if ExtensionOID.AUTHORITY_KEY_IDENTIFIER not in extensions:
        yield "the certificate has no authority key identifier"
    san = extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if san is not None and san.critical and leaf.subject:
        yield "its subject alternative names are critical although it has a subject"
    if san is not None and not san.critical and not leaf.subject:
        yield "its subject alternative names are not critical although it has no subject"
    usage = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if usage is not None and usage.critical:
        yield "its extended key usage is critical"
    if leaf.is_ca:
        yield "the certificate of the server is a CA certificate"
    key_usage = extensions.get(ExtensionOID.KEY_USAGE)
    if (
        key_usage is not None
        and isinstance(key_usage.value, x509.KeyUsage)
        and key_usage.value.key_cert_sign
    ):
        yield "the certificate of the server may sign certificates"
    if leaf.constrains_names:
        yield "the certificate of the server has name constraints"


def _of_ca(ca: Certificate) -> Iterator[str]:
    extensions = _extensions(ca)
    basic = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    if basic is None:
        yield "a certificate of the CA has no basic constraints (version 1, for example)"
        return
    if not basic.critical:
        yield "the basic constraints of the CA are not critical"
    if ExtensionOID.KEY_USAGE not in extensions:
        yield "a certificate of the CA has no key usage"
    if ExtensionOID.SUBJECT_KEY_IDENTIFIER not in extensions:
        yield "a certificate of the CA has no subject key identifier"
    names = extensions.get(ExtensionOID.NAME_CONSTRAINTS)
    if names is not None and isinstance(names.value, x509.NameConstraints):
        listed = [*(names.value.permitted_subtrees or ()), *(names.value.excluded_subtrees or ())]
        if any(isinstance(n, x509.DNSName) and n.value.startswith(".") for n in listed):
            yield "a name constraint begins with a dot"
        if not names.critical:
            yield "the name constraints of the CA are not critical"
    # Baseline Requirements 6.1.5: RSA and the NIST curves.
    if ca.key_type not in ("RSA", "EC"):
        yield "the key of the CA is of a kind that public CAs do not use"


def purpose_refused(path: Sequence[Certificate]) -> bool:
    """Return whether a CA of a private path may not issue certificates for servers.

    Browsers require serverAuth of each CA that has an extended key usage. Chrome requires it of an
    anchor that the user added, too.
    """
    for ca in path[1:]:
        if ca.server_auth is not False:
            continue
        usage = _extensions(ca).get(ExtensionOID.EXTENDED_KEY_USAGE)
        if usage is None or not isinstance(usage.value, x509.ExtendedKeyUsage):
            continue
        allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
        if not any(oid in usage.value for oid in allowed):
            return True
    return False
