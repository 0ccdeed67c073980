"""Extensions of a certificate, each read separately into its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
)

from inventory import der as encoding
from inventory.certificate_fields import PARSE_ERRORS, FieldReader

# Limits for hostile certificates; the rest is ignored.
MAX_NAMES = 10_000


MAX_URL = 500


MAX_CRL_URLS = 4


_SAN = ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string


_BASIC_CONSTRAINTS = ExtensionOID.BASIC_CONSTRAINTS.dotted_string


_KEY_USAGE = ExtensionOID.KEY_USAGE.dotted_string


_NAME_CONSTRAINTS = ExtensionOID.NAME_CONSTRAINTS.dotted_string


_POLICIES = ExtensionOID.CERTIFICATE_POLICIES.dotted_string


_EMPTY_POLICIES = "a list of certificate policies or of their qualifiers is empty"


MAX_PATH_LENGTH = 255  # browsers read one byte


# Without encipher_only and decipher_only, which raise an error unless key_agreement is set.
KEY_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def extensions_one_by_one(der: bytes, reader: FieldReader) -> dict[str, Any]:
    """Return the fields of those extensions that can be read, if some cannot.

    The certificate library reads all of them or none, so each is read in a copy of the certificate
    that has no other.
    """
    fields: dict[str, Any] = {}
    unreadable: set[str] = set()
    tolerated: set[str] = set()
    criticals: set[str] = set()
    seen: set[str] = set()
    repeated: set[str] = set()
    parts = encoding.outline(der)
    for encoded in parts.extensions:
        oid, critical, value = encoding.extension_parts(encoded)
        # RFC 5280 4.2: an extension must not be listed twice. Browsers refuse the certificate.
        if oid in seen:
            reader.problems.append(f"the extension {oid} is listed twice")
            repeated.add(oid)
            continue
        seen.add(oid)
        if critical:
            criticals.add(oid)
        try:
            # The copy has a wrong signature, which parsing does not check.
            copy = x509.load_der_x509_certificate(parts.with_extensions(encoded))
            one = extension_fields(copy.extensions, reader)
        except PARSE_ERRORS:
            read = _tolerant_fields(oid, value, critical=critical)
            (unreadable if read is None else tolerated).add(oid)
            one = read or {}
            reader.problems.append(f"the extension {oid} cannot be read")
        unreadable |= one.pop("unreadable", frozenset())
        fields |= one
    # Last, so that what was collected over all extensions wins over the value of a single one.
    return fields | {
        "criticals": frozenset(criticals),
        "unreadable": frozenset(unreadable),
        "tolerated": frozenset(tolerated),
        "invalid_extensions": frozenset(repeated),
        "extensions_readable": _SAN not in unreadable,
    }


def raw_key_usage(der: bytes) -> frozenset[str] | None:
    """Return the key usage of a certificate that cannot be parsed; None if none can be read."""
    try:
        for encoded in encoding.outline(der).extensions:
            oid, _, value = encoding.extension_parts(encoded)
            bits = encoding.key_usage_bits(value) if oid == _KEY_USAGE else None
            if bits is not None:
                return _key_uses(bits)
    except ValueError:
        pass
    return None


def _key_uses(bits: tuple[bool, ...]) -> frozenset[str]:
    return frozenset(use for use, bit in zip(KEY_USES, bits, strict=False) if bit)


def _tolerant_fields(oid: str, value: bytes, *, critical: bool) -> dict[str, Any] | None:
    """Return the fields of an extension that browsers accept and the library does not, or None."""
    if oid == _KEY_USAGE and (bits := encoding.key_usage_bits(value)) is not None:
        # The library refuses decipherOnly without keyAgreement.
        return {"key_usage": _key_uses(bits)}
    if oid == _POLICIES and not critical and encoding.is_certificate_policies(value):
        return {}
    if oid == _NAME_CONSTRAINTS and encoding.is_sequence(value):
        # Browsers read any ASCII text as a constraint, such as "*.example.com".
        return {"constrains_names": True}
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
        # Four bytes are IPv4 and sixteen IPv6 (RFC 5280 4.2.1.6); the lengths were checked.
        "ip_names": tuple(str(ip_address(a)) for a in addresses),
    }


def extension_fields(extensions: x509.Extensions, reader: FieldReader) -> dict[str, Any]:
    """Return the fields of :class:`inventory.certificates.Certificate` that extensions have.

    Extensions without a field are left out, whether they are known or not.
    """
    fields: dict[str, Any] = {
        "criticals": frozenset(e.oid.dotted_string for e in extensions if e.critical)
    }
    unreadable: set[str] = set()
    for extension in extensions:
        if (read := _READERS.get(extension.oid)) is not None:
            one = read(extension.value, reader)
            unreadable |= one.pop("unreadable", frozenset())
            fields |= one
    return fields | {"unreadable": frozenset(unreadable)}


def _subject_alternative_names(
    value: x509.SubjectAlternativeName, reader: FieldReader
) -> dict[str, Any]:
    fields: dict[str, Any] = {"has_san": True}
    # Browsers refuse the whole certificate, but the readable names show what it was meant for.
    if unusable := _unusable_names(value):
        reader.problems.append(unusable)
        fields |= {"unreadable": frozenset({_SAN}), "extensions_readable": False}
    fields["dns_names"] = reader.read("SAN", partial(_dns_names, value), ())
    fields["ip_names"] = reader.read("SAN", partial(_ip_names, value), ())
    return fields


def _extended_key_usage(value: x509.ExtendedKeyUsage, _reader: FieldReader) -> dict[str, Any]:
    # RFC 5280 4.2.1.12: anyExtendedKeyUsage permits each use, and verifiers accept it.
    return {
        "server_auth": ExtendedKeyUsageOID.SERVER_AUTH in value
        or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in value
    }


def _policies(value: x509.CertificatePolicies, reader: FieldReader) -> dict[str, Any]:
    # RFC 5280 4.2.1.4: a policy must not appear more than once, and browsers enforce it.
    policies = [p.policy_identifier for p in value]
    empty = not policies or any(p.policy_qualifiers == [] for p in value)
    if not empty and len(set(policies)) == len(policies):
        return {}
    reader.problems.append(_EMPTY_POLICIES if empty else "a certificate policy is listed twice")
    return {"unreadable": frozenset({ExtensionOID.CERTIFICATE_POLICIES.dotted_string})}


def _basic_constraints(value: x509.BasicConstraints, reader: FieldReader) -> dict[str, Any]:
    fields: dict[str, Any] = {"is_ca": bool(value.ca)}
    if (value.path_length or 0) > MAX_PATH_LENGTH:
        reader.problems.append("the path length is too large")
        fields["unreadable"] = frozenset({_BASIC_CONSTRAINTS})
    return fields


def _authority_information(
    value: x509.AuthorityInformationAccess, reader: FieldReader
) -> dict[str, Any]:
    # RFC 5280 4.2.2.1: at least one entry, and browsers enforce it.
    if not list(value):
        reader.problems.append("the authority information access is empty")
        return {"unreadable": frozenset({ExtensionOID.AUTHORITY_INFORMATION_ACCESS.dotted_string})}
    return {
        "issuer_urls": tuple(
            d.access_location.value[:MAX_URL]
            # Each URL may be fetched, so their number is limited.
            for d in list(value)[:8]
            if d.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(d.access_location, x509.UniformResourceIdentifier)
        ),
        "has_responder": any(d.access_method == AuthorityInformationAccessOID.OCSP for d in value),
    }


# How the value of each extension becomes fields. What is in none of them is not judged.
_READERS: Mapping[x509.ObjectIdentifier, Callable[[Any, FieldReader], dict[str, Any]]] = {
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: _subject_alternative_names,
    ExtensionOID.BASIC_CONSTRAINTS: _basic_constraints,
    ExtensionOID.NAME_CONSTRAINTS: lambda _value, _: {"constrains_names": True},
    ExtensionOID.POLICY_CONSTRAINTS: lambda _value, _: {"constrains_policies": True},
    ExtensionOID.INHIBIT_ANY_POLICY: lambda _value, _: {"constrains_policies": True},
    ExtensionOID.KEY_USAGE: lambda value, _: {
        "key_usage": frozenset(u for u in KEY_USES if getattr(value, u))
    },
    ExtensionOID.EXTENDED_KEY_USAGE: _extended_key_usage,
    ExtensionOID.CERTIFICATE_POLICIES: _policies,
    ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS: lambda value, reader: {
        "scts": reader.read("SCT list", partial(_scts, value), ())
    },
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: _authority_information,
    ExtensionOID.CRL_DISTRIBUTION_POINTS: lambda value, reader: {
        "crl_urls": reader.read("CRL distribution points", partial(_crl_urls, value), ())
    },
    ExtensionOID.TLS_FEATURE: lambda value, _: {
        "must_staple": x509.TLSFeatureType.status_request in value
    },
}


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
    # Certificates have two or three. More cost memory and prove nothing further.
    return tuple((s.log_id.hex(), s.timestamp.replace(tzinfo=UTC)) for s in list(value)[:50])


def _ip_names(value: x509.SubjectAlternativeName) -> tuple[str, ...]:
    # As text, because stored names are compared as texts.
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
    # DNS names are compared without case (RFC 4343), and stored in lower case.
    return tuple(n.lower() for n in value.get_values_for_type(x509.DNSName)[:MAX_NAMES])
