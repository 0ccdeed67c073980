"""Names of subjects and issuers (RFC 5280 4.1.2.4), read from their DER. Pure.

Browsers compare names by their normalised form, so that an issuer may write the name of its CA in
another string type, in other case, or with other blanks. The certificate library compares the
structure, and refuses some names that browsers read (TeletexString in ISO 8859-1).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from inventory import der
from inventory.text import printable

_SET, _OID = 0x31, 0x06
_UTF8, _PRINTABLE, _TELETEX, _IA5, _UNIVERSAL, _BMP = 0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E
_ENCODINGS = {
    _UTF8: "utf-8",
    _PRINTABLE: "ascii",
    # Its character sets are those of T.61; certificates use ISO 8859-1 in practice.
    _TELETEX: "latin-1",
    _IA5: "ascii",
    _UNIVERSAL: "utf-32-be",
    _BMP: "utf-16-be",
}
_SHORT = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
}
# The same types, encoded.
_SHOWN = frozenset(der.encode(_OID, bytes((0x55, 4, int(o.rpartition(".")[2])))) for o in _SHORT)
# A hostile name may have thousands of attributes.
MAX_SHOWN = 12
MAX_CACHED = 4096  # bytes
_LOWER = bytes(c + 32 if 65 <= c <= 90 else c for c in range(256))


def _attributes(name: bytes) -> Iterator[list[tuple[bytes, der.Element]]]:
    """Yield the relative distinguished names: (encoded type, value) of each attribute.

    Raises:
        ValueError: It is not a Name.
    """
    for relative in der.elements(der.only(name, der.SEQUENCE)):
        if relative.tag != _SET or not relative.content:
            raise ValueError("a relative distinguished name cannot be read")
        pairs = []
        for attribute in der.elements(relative.content):
            parts = list(der.elements(attribute.content))
            if attribute.tag != der.SEQUENCE or len(parts) != 2 or parts[0].tag != _OID:
                raise ValueError("an attribute of a name cannot be read")
            pairs.append((parts[0].encoded, parts[1]))
        yield pairs


def normalised(name: bytes) -> bytes:
    """Return the form in which a Name is compared (RFC 5280 7.1, as BoringSSL implements it).

    Strings become UTF-8 in lower case (ASCII only), with one blank between words. Values of other
    types, TeletexString among them, stay as they are. A name that cannot be read is returned
    unchanged.
    """
    # Hostile names can be large, and the cache must not hold them.
    return _cached(name) if len(name) <= MAX_CACHED else _normalised_name(name)


def _normalised_name(name: bytes) -> bytes:
    try:
        return der.encode(
            der.SEQUENCE,
            b"".join(
                # X.690 11.6: DER sorts the elements of a SET, and some CAs do not.
                der.encode(_SET, b"".join(sorted(_normalised(t, v) for t, v in pairs)))
                for pairs in _attributes(name)
            ),
        )
    except ValueError:
        return name


_cached = lru_cache(maxsize=4096)(_normalised_name)


def _normalised(kind: bytes, value: der.Element) -> bytes:
    encoded = value.encoded
    if value.tag in _ENCODINGS and value.tag != _TELETEX:
        text = value.content
        if value.tag in (_UNIVERSAL, _BMP):
            # RFC 5280 7.1: the string types of one text are equal, so all become UTF-8.
            text = text.decode(_ENCODINGS[value.tag]).encode()
        words = [w for w in text.translate(_LOWER).split(b" ") if w]
        encoded = der.encode(_UTF8, b" ".join(words))
    return der.encode(der.SEQUENCE, kind + encoded)


def is_name(name: bytes) -> bool:
    """Return whether browsers can read a Name.

    Of the attributes that they show, the value must be a string of a kind that they know.
    """
    try:
        for pairs in _attributes(name):
            for kind, value in pairs:
                if value.tag in _ENCODINGS:
                    value.content.decode(_ENCODINGS[value.tag])
                # Browsers show these attributes, and refuse the certificate if they cannot.
                elif kind in _SHOWN:
                    return False
    except ValueError:
        return False
    return True


def name_text(name: bytes) -> str:
    """Return a Name as text, such as "CN=shop.example.com, O=Example"; empty if it is unreadable.

    At most :data:`MAX_SHOWN` attributes are shown.
    """
    parts: list[str] = []
    try:
        for pairs in _attributes(name):
            for kind, value in pairs:
                if len(parts) == MAX_SHOWN:
                    return ", ".join([*parts, "..."])
                dotted = der.dotted(der.only(kind, _OID))
                encoding = _ENCODINGS.get(value.tag)
                text = (
                    value.content.decode(encoding, "replace") if encoding else value.content.hex()
                )
                parts.append(f"{_SHORT.get(dotted, dotted)}={printable(text, 120)}")
    except ValueError:
        return ""
    return ", ".join(parts)
