"""Copies of certificates that the certificate library can read, if it refuses the original. Pure.

The library refuses a whole certificate because of details with which browsers read its other
fields. A copy without the detail shows those fields. Its signature is wrong, so that signatures are
verified over the original (:func:`inventory.certificate_signatures.issued_by`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from inventory import der as encoding

# UTCTime and GeneralizedTime with a second 60, which browsers accept (a leap second).
_LEAP_SECOND = re.compile(rb"(\x17\x0d\d{10}|\x18\x0f\d{12})60Z")
LEAP_SECOND = "a date has a second 60"
_OID, _TRUE = 0x06, b"\x01\x01\xff"
# The arc of the RSA algorithms (PKCS #1), encoded.
_PKCS1 = bytes.fromhex("2a864886f70d0101")


@dataclass(frozen=True, slots=True)
class Repair:
    """A copy of a certificate.

    Attributes:
        der: The copy.
        problems: What was changed, if browsers accept it.
        invalid: The object identifiers of the extensions whose flag is not in DER. Browsers then
            refuse all extensions.
    """

    der: bytes
    problems: tuple[str, ...] = ()
    invalid: frozenset[str] = frozenset()


def repaired(der: bytes) -> Repair | None:
    """Return a copy of a certificate without the details that the library refuses.

    Those are a second 60, a flag of an extension that is not in DER, and parameters of the
    signature algorithm. None if there is no such detail, or the outline cannot be read.
    """
    try:
        parts = encoding.outline(der)
        validity = _LEAP_SECOND.sub(rb"\g<1>59Z", parts.validity)
        extensions, invalid = [], set()
        for encoded in parts.extensions:
            oid, critical, _ = encoding.extension_parts(encoded)
            flagged = list(encoding.elements(encoding.only(encoded, encoding.SEQUENCE)))
            if len(flagged) == 3 and flagged[1].encoded != _TRUE:
                invalid.add(oid)
                encoded = encoding.encode(
                    encoding.SEQUENCE,
                    flagged[0].encoded + (_TRUE if critical else b"") + flagged[2].encoded,
                )
            extensions.append(encoded)
        algorithm = _without_parameters(parts.algorithms[0])
        outer = _without_parameters(parts.algorithms[1])
    except ValueError:
        return None
    if validity != parts.validity or invalid:
        copy = parts.with_fields(validity=validity)
    else:
        # Without another reason it may be the parameters.
        copy = parts.with_fields(algorithm=algorithm)
        copy = copy._replace(signature=(outer, parts.signature[1]))
    problems = (LEAP_SECOND,) if validity != parts.validity else ()
    return Repair(copy.with_extensions(*extensions), problems, frozenset(invalid))


def _without_parameters(algorithm: bytes) -> bytes:
    """Return an AlgorithmIdentifier with its object identifier alone."""
    parts = list(encoding.elements(encoding.only(algorithm, encoding.SEQUENCE)))
    if not parts or parts[0].tag != _OID:
        raise ValueError("an algorithm cannot be read")
    return encoding.encode(encoding.SEQUENCE, parts[0].encoded)


def algorithms_differ(der: bytes) -> bool:
    """Return whether a certificate names two different signature algorithms.

    RFC 5280 4.1.1.2 requires that both are equal. Browsers accept that one of them lacks the NULL
    parameters of RSA.
    """
    try:
        inside, outside = encoding.outline(der).algorithms
    except ValueError:
        return False
    if inside == outside:
        return False
    # RFC 4055 5: the parameters are NULL, and some programs leave them out.
    shorter, longer = sorted((inside, outside), key=len)
    same = shorter == _without_parameters(longer) and longer.endswith(b"\x05\x00")
    return not (same and _PKCS1 in shorter)
