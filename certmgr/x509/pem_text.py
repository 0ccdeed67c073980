"""PEM and base64 in the forms in which people and programs send it. Pure and bounded.

Sources of the forms: RFC 7468 (labels, explanatory text around the blocks), RFC 1421 (headers in a
block), Windows (UTF-16 text), mail programs (quote marks, typographic dashes, lost line ends).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

MAX_BLOCKS = 2000
MAX_BODY = 1024 * 1024
# Typographic dashes, which word processors and mail programs write instead of hyphens.
_DASHES = str.maketrans(dict.fromkeys("‐‑‒−", "-") | {"\u2013": "--"})
_EM_DASH = "\u2014"
_ARMOUR = re.compile(
    rb"[>|\s]*-{2,12}[ \t]*(BEGIN|END|begin|end)[ \t]+([A-Za-z0-9#][A-Za-z0-9# ]*?)[ \t]*-+"
)
_MAX_ARMOUR = 120
# Characters in the encoding of a URL, of JSON, of quoted-printable and of HTML.
_ENCODED = re.compile(rb"%[0-9a-fA-F]{2}|\\[ux][0-9a-fA-F]|=3[dD]|&[a-zA-Z]{2,10};")
# What files begin with that clients send by mistake, and what they are.
_MAGIC = (
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"\xfe\xed\xfe\xed", "a Java keystore: export it as PKCS#12 with keytool -importkeystore"),
    (b"\xce\xce\xce\xce", "a Java keystore: export it as PKCS#12 with keytool -importkeystore"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it first"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"PuTTY-User-Key-File", "a key of PuTTY, which is for SSH"),
    (b"ssh-", "a public key for SSH"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
# Labels of blocks that are no certificate, CSR or key of a server, and what they are.
_OTHER_BLOCKS = {
    b"X509 CRL": "a revocation list",
    b"PUBLIC KEY": "a public key",
    b"RSA PUBLIC KEY": "a public key",
    b"DH PARAMETERS": "Diffie-Hellman parameters",
    b"EC PARAMETERS": "parameters of an EC key",
    b"PGP PUBLIC KEY BLOCK": "a key for PGP",
    b"PGP SIGNED MESSAGE": "a signature of PGP",
    b"PGP SIGNATURE": "a signature of PGP",
}
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def as_bytes_of_text(data: bytes) -> bytes:
    """Return UTF-16, UTF-32 and UTF-8 with a mark as ASCII-compatible bytes; other data unchanged.

    Windows tools save PEM as UTF-16, with or without a byte order mark.
    """
    if data[:3] == b"\xef\xbb\xbf":
        return data[3:]
    encoding = ""
    # The mark of UTF-32 begins with that of UTF-16.
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        encoding = "utf-32"
    elif data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif len(data) >= 12 and data[1:4] == data[5:8] == data[9:12] == b"\0\0\0":
        encoding = "utf-32-le"
    # Text without a mark: every second byte of ASCII text is zero, which no DER begins with.
    elif len(data) >= 8 and data[1:8:2] == b"\0\0\0\0" and 0 not in data[0:8:2]:
        encoding = "utf-16-le"
    elif len(data) >= 8 and data[0:8:2] == b"\0\0\0\0" and 0 not in data[1:8:2]:
        encoding = "utf-16-be"
    return data.decode(encoding, "replace").encode("utf-8") if encoding else data


def with_plain_armour(data: bytes) -> bytes:
    """Return text whose BEGIN and END lines have exactly five hyphens.

    Mail programs quote lines and replace hyphens; JSON and shells write line ends as ``\\n``.
    """
    if b"BEGIN" not in data and b"begin" not in data:
        return data
    if b"\\n" in data:
        data = data.replace(b"\\r", b"").replace(b"\\n", b"\n")
    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        if len(line) <= _MAX_ARMOUR and (b"BEGIN" in line.upper() or b"END" in line.upper()):
            text = line.decode("utf-8", "replace").replace(_EM_DASH, "---").translate(_DASHES)
            match = _ARMOUR.fullmatch(text.encode("utf-8").rstrip())
            if match is not None:
                lines[number] = b"-----" + match[1].upper() + b" " + match[2].upper() + b"-----"
    return b"\n".join(lines)


def pem_blocks(data: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield (label, body) of each PEM block in linear time; the body of an incomplete one is None.

    The number of blocks and the length of a body are bounded.
    """
    position = 0
    for _ in range(MAX_BLOCKS):
        start = data.find(b"-----BEGIN ", position)
        if start < 0:
            return
        stop = data.find(b"-----", start + 11, start + 60)
        position = start + 11
        label = data[start + 11 : max(stop, 0)]
        # A label is a part of one line (RFC 7468 3).
        if stop < 0 or b"\n" in label:
            continue
        end = data.find(b"-----END ", stop, stop + MAX_BODY)
        # A BEGIN before the END belongs to the next block: this one is incomplete.
        following = data.find(b"-----BEGIN ", stop, stop + MAX_BODY)
        if end >= 0 and not 0 <= following < end:
            position = end
            yield label, data[stop + 5 : end]
        else:
            yield label, None


def decode_body(body: bytes) -> bytes | None:
    """Return the bytes of the base64 in a PEM body; None if it is not base64.

    Headers (RFC 1421) and characters that base64 does not have, such as quote marks, are ignored,
    and so are the tags of a mail in HTML.
    """
    text = re.sub(rb"<[^<>]{0,200}>", b"", body)
    # A web page writes "+" as a character reference; URLs have "-" and "_", and no padding.
    text = re.sub(rb"&#(x?)([0-9a-fA-F]{1,3});", _referenced, text)
    # The letters of another encoding would pass for base64, and change the end of a certificate.
    if _ENCODED.search(text):
        return None
    lines = [line for line in text.splitlines() if b":" not in line]
    joined = b"".join(lines)
    # A long body without "+" and "/" is in the alphabet of URLs.
    if not re.search(rb"[+/]", joined):
        joined = joined.translate(_URL_SAFE)
    bare = re.sub(rb"[^A-Za-z0-9+/]", b"", joined)
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4)) or None
    except (binascii.Error, ValueError):
        return None


def _referenced(match: re.Match[bytes]) -> bytes:
    number = int(match[2], 16 if match[1] else 10) if match[1] or match[2].isdigit() else 0
    return bytes([number]) if 32 < number < 127 else b""


def bare_base64(data: bytes) -> bytes:
    """Return DER data that was pasted as base64 without the PEM lines; else b""."""
    text = b"".join(data[: 2 * MAX_BODY].replace(b"\xc2\xa0", b" ").split())
    # "M" and a letter of A-I is the base64 of a DER sequence: 30 followed by a length.
    if not re.fullmatch(rb"M[A-I][A-Za-z0-9+/_-]{20,}={0,2}", text):
        return b""
    try:
        return base64.b64decode(text.translate(_URL_SAFE))
    except (binascii.Error, ValueError):
        return b""


def file_kind(data: bytes) -> str:
    """Return what a file of another kind is, in words; "" if it is unknown."""
    return next((what for magic, what in _MAGIC if data.startswith(magic)), "")


def block_kind(label: bytes) -> str:
    """Return what a PEM block of no use is, in words; "" for every other label."""
    return _OTHER_BLOCKS.get(label, "")


def der_around_pem(data: bytes) -> list[bytes]:
    """Return the DER before the first and behind the last PEM block, as ``cat`` joins files."""
    before = data.partition(b"-----BEGIN ")[0]
    _, end, after = data.rpartition(b"-----END ")
    parts = [before, after.partition(b"-----")[2] if end else b""]
    starts = (b"\x30\x80", b"\x30\x81", b"\x30\x82", b"\x30\x83")
    return [p for part in parts if (p := part.lstrip(b"\r\n")).startswith(starts)]
