"""Copies of a path that OpenSSL can validate, if browsers read more of it than OpenSSL does. Pure.

OpenSSL refuses a date with a second 60, an RSA algorithm without its NULL parameters, an anchor of
version 3 without basic constraints, critical application policies, and extensions that it cannot
parse. Browsers accept the first four, and ignore some of these extensions. The copies differ in
these details, in their keys and in their signatures, which are made with one key of this process.
So the constraints of the path (dates, basic constraints, names, purposes) can be validated as
usual. The original signatures must be verified separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from inventory import der
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, parse

_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
# Basic constraints of a CA, critical.
_IS_CA = bytes.fromhex("300f0603551d130101ff040530030101ff")
_BASIC_CONSTRAINTS = ExtensionOID.BASIC_CONSTRAINTS.dotted_string
# Extensions that constrain a path. Without one of them, the copy of a refused path is accepted.
_CONSTRAINING = frozenset(
    oid.dotted_string
    for oid in (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
    )
)
# Browsers' own rules are applied to these (certmgr/x509/name_constraints.py).
_NAMES = frozenset(
    {
        ExtensionOID.NAME_CONSTRAINTS.dotted_string,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string,
    }
)
# Of Microsoft. Whether they may be critical is a rule of certmgr/checks/browser_rules.py.
APPLICATION_POLICIES = "1.3.6.1.4.1.311.21.10"
# They would name the keys of the originals.
_KEY_IDENTIFIERS = frozenset(
    {
        ExtensionOID.SUBJECT_KEY_IDENTIFIER.dotted_string,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER.dotted_string,
    }
)


def needs_copies(path: Sequence[Certificate]) -> bool:
    """Return whether browsers may accept a path that OpenSSL cannot read."""
    return (
        any(c.repaired or c.constrains_names or c.tolerated for c in path)
        or any(c.unreadable - _CONSTRAINING for c in path)
        or any(APPLICATION_POLICIES in c.criticals for c in path)
        or _lacks_basic_constraints(path[-1])
        or any(_lacks_null(c) for c in path)
    )


def copies(path: Sequence[Certificate]) -> list[Certificate] | None:
    """Return copies of a path that ends at an anchor of the administrator.

    Args:
        path: Leaf first, anchor last.

    Returns:
        The copies in the same order; None if a signature of the path is wrong, or if a certificate
        cannot be copied.
    """
    if not all(issued_by(child, issuer) for child, issuer in pairwise(path)):
        return None
    try:
        made = [_copy(c, is_anchor=position == len(path) - 1) for position, c in enumerate(path)]
    except ValueError:
        return None
    return made if all(c.parsed is not None for c in made) else None


def _parts(certificate: Certificate) -> der.Outline:
    if certificate.parsed is None:
        raise ValueError("the certificate cannot be read")
    return der.outline(certificate.parsed.public_bytes(Encoding.DER))


def _lacks_null(certificate: Certificate) -> bool:
    try:
        inside, outside = der.outline(certificate.der).algorithms
    except ValueError:
        return False
    return inside != outside


def _lacks_basic_constraints(anchor: Certificate) -> bool:
    try:
        listed = {der.extension_parts(e)[0] for e in _parts(anchor).extensions}
    except ValueError:
        return False
    return _BASIC_CONSTRAINTS not in listed


def _copy(certificate: Certificate, *, is_anchor: bool) -> Certificate:
    key, public = _key()
    parts = _parts(certificate).with_fields(
        algorithm=_ECDSA_SHA256,
        issuer=certificate.issuer_key,
        subject=certificate.subject_key,
        key=public,
    )
    # Which unreadable extension matters is a rule of certmgr/checks/browser_rules.py.
    left_out = _KEY_IDENTIFIERS | _NAMES | (certificate.unreadable - _CONSTRAINING)
    # Browsers take them for processed if there is an extended key usage.
    if certificate.server_auth is not None:
        left_out |= {APPLICATION_POLICIES}
    extensions = [e for e in parts.extensions if der.extension_parts(e)[0] not in left_out]
    # Version 1 has no extensions, and OpenSSL accepts such an anchor.
    if is_anchor and parts.has_version and _lacks_basic_constraints(certificate):
        extensions.append(_IS_CA)
    body = parts.signed_part(*extensions)
    signature = der.encode(der.BIT_STRING, b"\0" + key.sign(body, ec.ECDSA(hashes.SHA256())))
    return parse(der.encode(der.SEQUENCE, body + _ECDSA_SHA256 + signature))


@cache
def _key() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """Return the key of the copies, and its SubjectPublicKeyInfo. No key of a user is involved."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
