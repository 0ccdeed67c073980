"""Name constraints (RFC 5280 4.2.1.10), as BoringSSL applies them. Pure.

OpenSSL decides on private paths, and differs from browsers here: it accepts a wildcard of which a
part is excluded, ignores minimum and maximum, and refuses a constraint that ends with a dot. So
browsers' own rules are applied to these paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography.x509.oid import ExtensionOID

from inventory import der
from inventory.certificates import Certificate
from inventory.distinguished_names import normalised

_CONSTRAINTS = ExtensionOID.NAME_CONSTRAINTS.dotted_string
_SAN = ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string
_PERMITTED, _EXCLUDED = 0xA0, 0xA1
# Tags of GeneralName (RFC 5280 4.2.1.6).
_MAIL, _DNS, _DIRECTORY, _ADDRESS = 0x81, 0x82, 0xA4, 0x87
# Names of these kinds are not compared: with a constraint of their kind, each of them is refused.
_NOT_COMPARED = frozenset({0xA0, 0xA3, 0xA5, 0x86, 0x88})
_TEXTS = frozenset({_MAIL, _DNS, 0x86})
# The work is the product of names and constraints. BoringSSL bounds it too.
MAX_COMPARISONS = 250_000


@dataclass(slots=True)
class _Constraints:
    """The subtrees of one certificate: (tag, value) of each."""

    permitted: list[tuple[int, bytes]] = field(default_factory=list)
    excluded: list[tuple[int, bytes]] = field(default_factory=list)


def readable(certificate: Certificate) -> bool:
    """Return whether browsers can read the name constraints of a certificate."""
    if not certificate.constrains_names:
        return True
    try:
        _constraints(certificate)
    except ValueError:
        return False
    return True


def permitted(path: Sequence[Certificate]) -> bool:
    """Return whether the names of a path are within the constraints of its CAs.

    Constraints that cannot be read permit everything here, because the certificate that has them
    is a separate finding.

    Args:
        path: Leaf first, anchor last.
    """
    if not any(c.constrains_names for c in path[1:]):
        return True
    below: list[Certificate] = []
    for certificate, issuer in pairwise(path):
        # RFC 5280 6.1.3 (b): a self-issued CA is exempt, so that it can change its key.
        if certificate is path[0] or not certificate.self_issued:
            below.append(certificate)
        if not issuer.constrains_names:
            continue
        try:
            constraints = _constraints(issuer)
            if not all(_permits(constraints, c) for c in below):
                return False
        except ValueError:
            continue
    return True


def _extension(certificate: Certificate, wanted: str) -> bytes | None:
    for encoded in der.outline(certificate.der).extensions:
        oid, _, value = der.extension_parts(encoded)
        if oid == wanted:
            return value
    return None


def _constraints(certificate: Certificate) -> _Constraints:
    """Return the constraints of a certificate; none without the extension.

    Raises:
        ValueError: Browsers cannot read them.
    """
    made = _Constraints()
    value = _extension(certificate, _CONSTRAINTS)
    if value is None:
        return made
    lists = list(der.elements(der.only(value, der.SEQUENCE)))
    if [e.tag for e in lists] not in ([_PERMITTED], [_EXCLUDED], [_PERMITTED, _EXCLUDED]):
        raise ValueError("name constraints cannot be read")
    for one in lists:
        target = made.permitted if one.tag == _PERMITTED else made.excluded
        for subtree in der.elements(one.content):
            # RFC 5280: minimum is zero and maximum is absent. BoringSSL reads neither.
            base, *rest = der.elements(der.only(subtree.encoded, der.SEQUENCE))
            if rest:
                raise ValueError("name constraints have a minimum or a maximum")
            if base.tag in _TEXTS:
                base.content.decode("ascii")
            if base.tag == _ADDRESS and not _is_subnet(base.content):
                raise ValueError("a constrained address cannot be read")
            target.append((base.tag, base.content))
        if not target:
            raise ValueError("a list of name constraints is empty")
    return made


def _is_subnet(value: bytes) -> bool:
    """Return whether a value is an address with a mask of leading ones (RFC 4632)."""
    if len(value) not in (8, 32):
        return False
    mask = f"{int.from_bytes(value[len(value) // 2 :]):0{len(value) * 4}b}"
    return "01" not in mask


def _permits(constraints: _Constraints, certificate: Certificate) -> bool:
    names: list[tuple[int, bytes]] = []
    san = _extension(certificate, _SAN)
    if san is not None:
        names = [(e.tag, e.content) for e in der.elements(der.only(san, der.SEQUENCE))]
    subject = certificate.subject_der
    if subject and der.only(subject, der.SEQUENCE):
        names.append((_DIRECTORY, subject))
    subtrees = len(constraints.permitted) + len(constraints.excluded)
    if len(names) * subtrees > MAX_COMPARISONS:
        return False
    constrained = {tag for tag, _ in constraints.permitted}
    for tag, name in names:
        if tag in _NOT_COMPARED:
            if tag in constrained | {t for t, _ in constraints.excluded}:
                return False
            continue
        if any(t == tag and _within(t, name, s, partly=True) for t, s in constraints.excluded):
            return False
        if tag in constrained and not any(
            t == tag and _within(t, name, s, partly=False) for t, s in constraints.permitted
        ):
            return False
    return True


def _within(tag: int, name: bytes, subtree: bytes, *, partly: bool) -> bool:
    """Return whether a name is within a subtree.

    Args:
        tag: The kind of both.
        name: The name of the certificate.
        subtree: The constraint.
        partly: Whether it is enough that a part of what a wildcard covers is within it.
    """
    if tag == _DNS:
        return _dns_within(name.lower(), subtree.lower(), partly=partly)
    if tag == _ADDRESS:
        half = len(subtree) // 2
        return len(name) == half and all(
            n & m == a & m for n, a, m in zip(name, subtree[:half], subtree[half:], strict=True)
        )
    if tag == _DIRECTORY:
        return _directory_within(name, subtree)
    return _mail_within(name.lower() if partly else name, subtree.lower() if partly else subtree)


def _dns_within(name: bytes, subtree: bytes, *, partly: bool) -> bool:
    if not subtree:
        return True
    name, subtree = name.removesuffix(b"."), subtree.removesuffix(b".")
    # "*.example.com" covers "shop.example.com", which is excluded.
    if partly and name.startswith(b"*.") and subtree.partition(b".")[2] == name[2:]:
        return True
    if not name.endswith(subtree):
        return False
    above = name[: len(name) - len(subtree)]
    # A constraint that begins with a dot permits only what is below the name.
    below = subtree.startswith(b".") or above.endswith(b".")
    return not above or (bool(subtree) and below)


def _directory_within(name: bytes, subtree: bytes) -> bool:
    """Compare the relative names in the form of RFC 5280 7.1: the constraint is a prefix."""
    # In a GeneralName the Name is explicitly tagged (a CHOICE), and the subject is not.
    relative = list(der.elements(der.only(normalised(name), der.SEQUENCE)))
    prefix = list(der.elements(der.only(normalised(subtree), der.SEQUENCE)))
    return relative[: len(prefix)] == prefix


def _mail_within(name: bytes, subtree: bytes) -> bool:
    user, at, domain = name.rpartition(b"@")
    if not at:
        return False
    if b"@" in subtree:
        wanted, _, host = subtree.rpartition(b"@")
        return wanted == user and host.lower() == domain.lower()
    if subtree.startswith(b"."):
        return domain.lower().endswith(subtree.lower())
    return domain.lower() == subtree.lower()
