"""The outline of DER-encoded certificates. Pure.

The certificate library refuses all extensions if one of them is malformed. These functions split a
certificate into its parts, so that each part can be read separately. They check lengths only, never
recurse, and read at most :data:`MAX_EXTENSIONS` extensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

SEQUENCE = 0x30
MAX_EXTENSIONS = 64
MAX_CACHED = 16_384  # bytes of a certificate whose outline is kept; a hostile one has more
_BOOLEAN, _INTEGER, BIT_STRING, _OCTET_STRING, _OID = 1, 2, 3, 4, 6
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3


class Element(NamedTuple):
    """One DER value.

    Attributes:
        tag: The identifier, one byte.
        content: The content without tag and length.
        encoded: The whole value.
    """

    tag: int
    content: bytes
    encoded: bytes


class Span(NamedTuple):
    """The position of one DER value.

    Attributes:
        tag: The identifier, one byte.
        start: Where the value begins.
        content: Where its content begins.
        end: Where it ends.
    """

    tag: int
    start: int
    content: int
    end: int


def spans(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Span]:
    """Yield the positions of the values that follow each other in a part of ``data``.

    Nothing is copied, so that a large value costs no memory.

    Raises:
        ValueError: A length is wrong, or a tag has several bytes.
    """
    length = len(data) if end is None else end
    while start < length:
        tag, body = data[start], start + 2
        # Certificates have no tag above 30, so a tag of several bytes is refused instead of parsed.
        if length < body or tag & 0x1F == 0x1F:
            raise ValueError("a value is truncated")
        size = data[start + 1]
        if size >= 0x80:
            count = size & 0x7F
            # DER has no indefinite length, and 4 bytes are enough for every certificate.
            if not 1 <= count <= 4 or length < body + count:
                raise ValueError("a length cannot be read")
            size, body = int.from_bytes(data[body : body + count], "big"), body + count
        # The length comes from the certificate: without this check, slices would silently be short.
        if length < body + size:
            raise ValueError("a value is truncated")
        yield Span(tag, start, body, body + size)
        start = body + size


def elements(data: bytes) -> Iterator[Element]:
    """Yield the values that follow each other in ``data``.

    Raises:
        ValueError: A length is wrong, or a tag has several bytes.
    """
    for tag, start, content, end in spans(data):
        yield Element(tag, data[content:end], data[start:end])


def encode(tag: int, content: bytes) -> bytes:
    """Return one DER value."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def only(data: bytes, tag: int) -> bytes:
    """Return the content of the one value of this tag, which is all of ``data``.

    Raises:
        ValueError: It is something else.
    """
    found = list(elements(data))
    if len(found) != 1 or found[0].tag != tag:
        raise ValueError("another kind of value is expected")
    return found[0].content


class Outline(NamedTuple):
    """The parts of a certificate.

    Attributes:
        body: The part that is signed (TBSCertificate), encoded.
        fields: The fields before the extensions, encoded.
        extensions: The encoded extensions, as they are listed.
        signature: The signature algorithm and the signature, encoded.
    """

    body: bytes
    fields: tuple[bytes, ...]
    extensions: tuple[bytes, ...]
    signature: tuple[bytes, ...]

    @property
    def has_version(self) -> bool:
        """Whether it names its version; without, it is version 1."""
        return self.fields[0][0] == _VERSION

    @property
    def _first(self) -> int:
        """The position of the serial number: an explicit version precedes it."""
        return 1 if self.has_version else 0

    @property
    def algorithms(self) -> tuple[bytes, bytes]:
        """The signature algorithm in the signed part, and the one next to the signature."""
        return self.fields[self._first + 1], self.signature[0]

    @property
    def issuer(self) -> bytes:
        """The Name of the issuer, encoded."""
        return self.fields[self._first + 2]

    @property
    def validity(self) -> bytes:
        """The two dates, encoded."""
        return self.fields[self._first + 3]

    @property
    def subject(self) -> bytes:
        """The Name of the subject, encoded."""
        return self.fields[self._first + 4]

    @property
    def key(self) -> bytes:
        """The public key (SubjectPublicKeyInfo), encoded."""
        return self.fields[self._first + 5]

    def with_fields(self, **changes: bytes) -> Outline:
        """Return a copy with other fields: algorithm, issuer, validity, subject or key."""
        names = ("algorithm", "issuer", "validity", "subject", "key")
        fields = list(self.fields)
        for name, value in changes.items():
            fields[self._first + 1 + names.index(name)] = value
        return self._replace(fields=tuple(fields))

    def signed_part(self, *extensions: bytes) -> bytes:
        """Return the fields with extensions (TBSCertificate), encoded."""
        listed = encode(_EXTENSIONS, encode(SEQUENCE, b"".join(extensions))) if extensions else b""
        return encode(SEQUENCE, b"".join(self.fields) + listed)

    def with_extensions(self, *extensions: bytes) -> bytes:
        """Return the certificate with other extensions. Its signature is wrong then."""
        return encode(SEQUENCE, self.signed_part(*extensions) + b"".join(self.signature))


def outline(der: bytes) -> Outline:
    """Return the parts of a certificate.

    Raises:
        ValueError: The certificate does not have the outline of RFC 5280 4.1.
    """
    # Several checks ask for the same certificate, and the leaves of a CA share its issuers.
    return _cached_outline(der) if len(der) <= MAX_CACHED else _outline(der)


def _outline(der: bytes) -> Outline:
    body, *signature = elements(only(der, SEQUENCE))
    # RFC 5280 4.1: Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }.
    if body.tag != SEQUENCE or [s.tag for s in signature] != [SEQUENCE, BIT_STRING]:
        raise ValueError("the certificate does not consist of three parts")
    fields = list(elements(body.content))
    tags = [f.tag for f in fields]
    first = 1 if tags[:1] == [_VERSION] else 0
    # Serial number, then signature, issuer, validity, subject and key. What follows is optional.
    if tags[first : first + 6] != [_INTEGER, *[SEQUENCE] * 5]:
        raise ValueError("a field of the certificate is missing")
    listed: tuple[bytes, ...] = ()
    if tags[-1] == _EXTENSIONS:
        encoded = elements(only(fields.pop().content, SEQUENCE))
        # Certificates have about ten extensions. Thousands are an attack on the parser.
        listed = tuple(e.encoded for e, _ in zip(encoded, range(MAX_EXTENSIONS), strict=False))
    return Outline(
        body.encoded, tuple(f.encoded for f in fields), listed, tuple(s.encoded for s in signature)
    )


_cached_outline = lru_cache(maxsize=64)(_outline)


def extension_parts(encoded: bytes) -> tuple[str, bool, bytes]:
    """Return the object identifier, the critical flag and the value of an extension.

    Raises:
        ValueError: It is not an extension (RFC 5280 4.1).
    """
    parts = list(elements(only(encoded, SEQUENCE)))
    tags = [p.tag for p in parts]
    if tags not in ([_OID, _OCTET_STRING], [_OID, _BOOLEAN, _OCTET_STRING]):
        raise ValueError("an extension cannot be read")
    # DER has one TRUE, but browsers read any other byte as TRUE as well.
    critical = len(parts) == 3 and parts[1].content not in (b"", b"\0")
    return dotted(parts[0].content), critical, parts[-1].content


def dotted(content: bytes) -> str:
    """Return an object identifier as text."""
    # Seven bits per byte: a long identifier would become a number of thousands of digits.
    if not content or len(content) > 64 or content[-1] & 0x80:
        raise ValueError("an object identifier cannot be read")
    numbers, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    # X.690 8.19.4: the first two arcs share a number, and only the arc 2 has more than 40 below it.
    top = min(numbers[0] // 40, 2)
    return ".".join(str(n) for n in (top, numbers[0] - 40 * top, *numbers[1:]))


# Tags of GeneralName (RFC 5280 4.2.1.6).
_MAIL, _DNS, _DIRECTORY, _URI, _ADDRESS, _REGISTERED = 0x81, 0x82, 0xA4, 0x86, 0x87, 0x88
_OTHER, _X400, _EDI = 0xA0, 0xA3, 0xA5


def general_names(value: bytes, limit: int) -> tuple[list[str], list[bytes]]:
    """Return the dNSNames and the addresses of a SAN, and ignore names of other kinds.

    It accepts what browsers accept: kinds that the certificate library does not know (x400Address,
    ediPartyName) may be present, and text is ASCII.

    Args:
        limit: At most this many names of each kind are returned.

    Raises:
        ValueError: A name is malformed, or there is none.
    """
    names: list[str] = []
    addresses: list[bytes] = []
    count = 0
    for element in elements(only(value, SEQUENCE)):
        count += 1
        if element.tag in (_MAIL, _DNS, _URI):
            text = element.content.decode("ascii")
            # All names are checked, also beyond the limit: one malformed name makes the SAN
            # unreadable.
            if element.tag == _DNS and len(names) < limit:
                names.append(text.lower())
        elif element.tag == _ADDRESS:
            if len(element.content) not in (4, 16):
                raise ValueError("an address has a wrong length")
            if len(addresses) < limit:
                addresses.append(element.content)
        elif element.tag not in (_DIRECTORY, _REGISTERED, _OTHER, _X400, _EDI):
            raise ValueError("a name is of an unknown kind")
    # RFC 5280 4.2.1.6: GeneralNames has at least one element.
    if not count:
        raise ValueError("there is no name")
    return names, addresses


def is_basic_constraints(value: bytes) -> bool | None:
    """Return the CA flag of basic constraints as browsers read them; None if they are unreadable.

    Browsers accept an explicit FALSE, and a path length without the CA flag. They refuse a flag
    that is not in DER, and a path length above 255 or below zero.
    """
    try:
        parts = list(elements(only(value, SEQUENCE)))
    except ValueError:
        return None
    if [p.tag for p in parts] not in ([], [_BOOLEAN], [_INTEGER], [_BOOLEAN, _INTEGER]):
        return None
    ca = False
    for part in parts:
        if part.tag == _INTEGER:
            # One byte, or two if the first bit is set (a positive number).
            number = part.content.removeprefix(b"\0") if len(part.content) > 1 else part.content
            if len(number) != 1 or part.content[0] & 0x80:
                return None
        elif part.content not in (b"\0", b"\xff"):
            return None
        else:
            ca = part.content == b"\xff"
    return ca


def is_sequence(value: bytes) -> bool:
    """Return whether a value is one SEQUENCE."""
    try:
        only(value, SEQUENCE)
    except ValueError:
        return False
    return True


def key_usage_bits(value: bytes) -> tuple[bool, ...] | None:
    """Return the bits of a key usage, the first is digitalSignature; None if it is unreadable."""
    try:
        content = only(value, BIT_STRING)
    except ValueError:
        return None
    if len(content) < 2 or content[0] > 7:
        return None
    return tuple(bool(byte >> (7 - bit) & 1) for byte in content[1:3] for bit in range(8))


def is_certificate_policies(value: bytes) -> bool:
    """Return whether browsers can read certificate policies that are not critical.

    They read the policies, and ignore qualifiers that they do not know.
    """
    try:
        listed = list(elements(only(value, SEQUENCE)))
        for policy in listed:
            identifier, *rest = elements(only(policy.encoded, SEQUENCE))
            qualifiers = [q for r in rest for q in elements(only(r.encoded, SEQUENCE))]
            if identifier.tag != _OID or len(rest) > 1 or (rest and not qualifiers):
                return False
            for qualifier in qualifiers:
                kinds = list(elements(only(qualifier.encoded, SEQUENCE)))
                if len(kinds) != 2 or kinds[0].tag != _OID:
                    return False
    except ValueError:
        return False
    return bool(listed)
