"""Certificate policies of a path (RFC 5280 6.1), for visitors that accept every policy. Pure.

Neither verifier can process them for browsers: one ignores them, and the other one has no setting
that accepts every policy. A browser accepts every policy, so a path is refused only if a CA
requires one that the whole path has, and there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from inventory import der
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate

NO_POLICY = "the chain lacks a certificate policy that its CA requires"
_ANY = "2.5.29.32.0"
_MAPPINGS = "2.5.29.33"
_OID = 0x06


def policies_valid(path: Sequence[Certificate], *, own: bool) -> bool:
    """Return whether a path has the policies that its CAs require.

    Args:
        path: Leaf first, anchor last.
        own: Whether the anchor is the administrator's, whose constraints Chrome enforces too
            (RFC 5937 3.2).
    """
    # Nearly all paths: without a constraint any set of policies is valid.
    if not any(c.constrains_policies for c in path):
        return True
    below = list(reversed(path[:-1]))
    # RFC 5280 6.1.2 (d) to (f): the initial values, which no path is long enough to use up.
    explicit = mapping = any_policy = len(below) + 1
    if own and _constraints(path[-1])[0] is not None:
        explicit = 0
    valid: set[str] | None = {_ANY}
    for position, certificate in enumerate(below):
        last = position == len(below) - 1
        # Self-issued certificates of a key change do not count (RFC 5280 6.1.4 (h)).
        self_issued = certificate.self_issued and not last
        valid = _kept(valid, certificate, accepts_any=any_policy > 0 or self_issued)
        if not last:
            if explicit == 0 and not valid:
                return False
            valid = _mapped(valid, certificate, allowed=mapping > 0)
        if not self_issued:
            explicit, mapping, any_policy = (max(0, n - 1) for n in (explicit, mapping, any_policy))
        required, no_mapping, no_any = _constraints(certificate)
        if last:
            # Of the leaf, only an immediate requirement counts (RFC 5280 6.1.5 (b)).
            explicit = 0 if required == 0 else explicit
        else:
            # A certificate can only tighten what the ones above it require.
            explicit = min(explicit, explicit if required is None else required)
            mapping = min(mapping, mapping if no_mapping is None else no_mapping)
            any_policy = min(any_policy, any_policy if no_any is None else no_any)
    return explicit > 0 or bool(valid)


def _kept(valid: set[str] | None, certificate: Certificate, *, accepts_any: bool) -> set[str]:
    """Return the policies that are still valid with one more certificate."""
    if not valid:
        return set()
    listed = _policies(certificate)
    kept = {p for p in listed if p != _ANY and (p in valid or _ANY in valid)}
    return kept | valid if _ANY in listed and accepts_any else kept


def _mapped(valid: set[str], certificate: Certificate, *, allowed: bool) -> set[str]:
    """Return the policies that the next certificate may name, after policy mappings."""
    pairs = [(a, b) for a, b in _mappings(certificate) if a in valid or _ANY in valid]
    rest = valid - {a for a, _ in pairs}
    return rest | {b for _, b in pairs} if allowed else rest


def _extensions(certificate: Certificate) -> list[tuple[str, bytes]]:
    try:
        listed = der.outline(certificate.der).extensions
        parts = [der.extension_parts(e) for e in listed]
    except ValueError:
        return []
    return [(oid, value) for oid, _, value in parts]


def _policies(certificate: Certificate) -> set[str]:
    try:
        for oid, value in _extensions(certificate):
            if oid == x509.CertificatePolicies.oid.dotted_string:
                return {_first_oid(p.content) for p in der.elements(der.only(value, der.SEQUENCE))}
    except ValueError:
        pass
    return set()


def _mappings(certificate: Certificate) -> list[tuple[str, str]]:
    pairs = []
    try:
        for oid, value in _extensions(certificate):
            if oid == _MAPPINGS:
                for pair in der.elements(der.only(value, der.SEQUENCE)):
                    issuer, subject = (der.dotted(e.content) for e in der.elements(pair.content))
                    pairs.append((issuer, subject))
    except ValueError:
        return []
    return pairs


def _first_oid(content: bytes) -> str:
    first = next(der.elements(content))
    if first.tag != _OID:
        raise ValueError("a policy cannot be read")
    return der.dotted(first.content)


def _constraints(certificate: Certificate) -> tuple[int | None, int | None, int | None]:
    """Return requireExplicitPolicy, inhibitPolicyMapping and inhibitAnyPolicy; None if absent."""
    required = no_mapping = no_any = None
    try:
        extensions = certificate.parsed.extensions if certificate.parsed is not None else ()
        for extension in extensions:
            if isinstance(extension.value, x509.PolicyConstraints):
                required = extension.value.require_explicit_policy
                no_mapping = extension.value.inhibit_policy_mapping
            elif isinstance(extension.value, x509.InhibitAnyPolicy):
                no_any = extension.value.skip_certs
    except PARSE_ERRORS:
        pass
    return required, no_mapping, no_any
