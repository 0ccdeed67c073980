"""A CSR or certificate in the text of a mail, web form, page, program or editor. Pure and bounded.

pem_text.py reads PEM and base64 that stand in a file as they are. Here are the packagings that
change the text itself. They are tried only if the plain text contains nothing, so that a file that
can be read is never read in another way.

Sources of the forms: RFC 2045 (mail), the URL standard (web forms), RFC 8259 (JSON escapes). None
of them is parsed in full, because what remains must still be base64 of a whole DER value.
"""

from __future__ import annotations

import base64
import contextlib
import html
import quopri
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.errors import MessageError

from certmgr.x509.pem_text import with_plain_armour

# A larger text was not written for one certificate, and each form costs a pass over it.
MAX_TEXT = 1024 * 1024
MAX_MAIL_PARTS = 50
MAX_RUNS = 20
_MAIL_HEADER = re.compile(rb"(?im)^(content-type|content-transfer-encoding|received|from):")
_LINE_TAG = re.compile(rb"(?i)<(?:/?(?:p|div|li|tr|pre|h\d)\b|br\b)[^<>]*>")
_TAG = re.compile(rb"<[^<>]*>")
_ESCAPE = re.compile(rb"\\u00([0-7][0-9a-fA-F])|\\x([0-7][0-9a-fA-F])")
_CONCATENATION = re.compile(rb"[\"']\s*(?:[+.&]\s*_?\s*[\"']?|[\"'])")
_RTF = re.compile(rb"\\[a-z]{1,20}-?[0-9]{0,9} ?|[{}]")
# "KM> " of mail programs, "12: ", "12\t" and "12 | " of editors.
_PREFIX = re.compile(rb"(?m)^[ \t]*(?:[\w.]{0,12}>|[0-9]{1,5}(?:[ \t]*[:|.)]|\t))[ \t]*")
_NUMBER = re.compile(rb"(?m)^[ \t]*[0-9]{1,5}[ \t]+(?=\S)")
# An offset and up to 32 bytes, as xxd, hexdump, od and certutil print them; letters may follow.
_DUMP_LINE = re.compile(
    rb"(?im)^[ \t]*[0-9a-f]{4,8}:?[ \t]+((?:[0-9a-f]{2}(?:[ -]?[0-9a-f]{2}){0,15})"
    rb"(?: {2}(?:[0-9a-f]{2} ){0,15}[0-9a-f]{2}(?= *\|))?)"
)
# "M" and a letter of A-I is the base64 of 30 and a length, which a SEQUENCE begins with.
_DER_LINE = re.compile(rb"(?<![A-Za-z0-9+/_-])M[A-I][A-Za-z0-9+/_-]{38,}={0,2}")
# The base64 of "-----".
_PEM_LINE = re.compile(rb"(?<![A-Za-z0-9+/_-])LS0tLS[A-Za-z0-9+/_-]{38,}={0,2}")
_NEXT_LINE = re.compile(rb"\s+(?!--)([A-Za-z0-9+/_-]+={0,2})(?=\s|\Z)")
_DUMP = re.compile(rb"[ \t\r\n]*0{4,8}:?[ \t]+30[ ]?8[123]")
_HEXADECIMAL = re.compile(rb"(?:0[xX])?30:?8[123]")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def other_forms(data: bytes) -> Iterator[list[bytes]]:
    """Yield what the text may be without its packaging; the most likely form first.

    Each form is a list of PEM texts and DER values that stand in it. A form is often garbage: the
    caller must parse it, verify the signature of a CSR, and use one form only. A later one may
    differ from it by a removed character.
    """
    if len(data) > MAX_TEXT:
        return
    seen: set[bytes] = set()
    for sent in _as_sent(data):
        for written in _as_written(sent):
            if written in seen:
                continue
            seen.add(written)
            text = with_plain_armour(written)
            yield ([text] if b"-----BEGIN " in text else []) + list(_base64_values(text))


def mail_parts(data: bytes) -> list[tuple[str, bytes]]:
    """Return (file name, content) of each part of a mail that was saved as a file; else [].

    The transfer encoding is removed. A mail with too many parts is not opened.
    """
    if not _MAIL_HEADER.search(data[:4096]) or data.lower().count(b"boundary=") > MAX_MAIL_PARTS:
        return []
    try:
        message = message_from_bytes(data, policy=policy.compat32)
        parts: list[tuple[str, bytes]] = []
        for part in message.walk():
            content = None if part.is_multipart() else part.get_payload(decode=True)
            if isinstance(content, bytes) and len(parts) < MAX_MAIL_PARTS:
                parts.append((str(part.get_filename() or ""), content))
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    return parts


def _as_sent(data: bytes) -> Iterator[bytes]:
    """Yield the text without what a mail or a form did to it on its way."""
    yield data
    for _, content in mail_parts(data):
        yield content
    if b"%" in data:
        yield urllib.parse.unquote_to_bytes(data.replace(b"+", b" "))
        # A script that escapes by itself leaves the "+" of base64.
        yield urllib.parse.unquote_to_bytes(data)
    if re.search(rb"=(?:3D|\r?\n|20)", data):
        yield quopri.decodestring(data)
    # The PEM file itself was encoded, as in a secret of Kubernetes or an answer in JSON.
    yield b"\n".join(_encoded_runs(data, _PEM_LINE))


def _as_written(data: bytes) -> Iterator[bytes]:
    """Yield the text without the marks of a page, a program or an editor."""
    yield data
    if b"<" in data or b"&" in data:
        text = _TAG.sub(b"", _LINE_TAG.sub(b"\n", data)).decode("utf-8", "replace")
        yield html.unescape(text).encode()
    if b"\\" in data:
        plain = _ESCAPE.sub(lambda m: bytes([int(m[1] or m[2], 16)]), data)
        plain = plain.replace(b"\\r", b"").replace(b"\\n", b"\n").replace(b"\\/", b"/")
        yield _CONCATENATION.sub(b"", plain.replace(b'\\"', b'"'))
    if b"{\\rtf" in data[:64]:
        yield _RTF.sub(b"", re.sub(rb"\\(?:par|line)\b ?", b"\n", data))
    # A line of base64 may begin with "+" too, so that only a patch loses it.
    if b"\n+-----BEGIN" in b"\n" + data:
        yield re.sub(rb"(?m)^\+", b"", data)
    if _PREFIX.search(data):
        yield _PREFIX.sub(b"", data)
    # Printed listings have the number and a blank. No line of base64 has a blank.
    if _NUMBER.search(data):
        yield _NUMBER.sub(b"", data)
    # The full-width letters and signs of input methods in East Asia.
    if not data.isascii():
        text = data.decode("utf-8", "replace")
        if (plain_text := unicodedata.normalize("NFKC", text)) != text:
            yield plain_text.encode()


def _base64_values(data: bytes) -> Iterator[bytes]:
    """Yield the DER values whose base64 or hexadecimal digits stand in a text without PEM lines.

    A run of base64 begins with that of a SEQUENCE. It ends with padding or a line that is not
    base64; the caller cuts what follows the value by its length.
    """
    compact = data.strip()
    if _HEXADECIMAL.match(compact):
        digits = re.sub(rb"^0[xX]|[\s:]", b"", compact)
        # Databases show binary columns so.
        with contextlib.suppress(ValueError):
            yield bytes.fromhex(digits.decode("ascii"))
    if _DUMP.match(data):
        digits = b"".join(m[1] for m in _DUMP_LINE.finditer(data))
        with contextlib.suppress(ValueError):
            yield bytes.fromhex(re.sub(rb"[\s-]", b"", digits).decode("ascii"))
    yield from _encoded_runs(data, _DER_LINE)


def _encoded_runs(data: bytes, first_line: re.Pattern[bytes]) -> Iterator[bytes]:
    position = 0
    for _ in range(MAX_RUNS):
        found = first_line.search(data, position)
        if found is None:
            return
        lines, position = [found[0]], found.end()
        while not lines[-1].endswith(b"="):
            following = _NEXT_LINE.match(data, position)
            if following is None:
                break
            lines.append(following[1])
            position = following.end()
        text = b"".join(lines).rstrip(b"=").translate(_URL_SAFE)
        # One digit alone has no byte. It is a letter of the text behind the run.
        text = text[:-1] if len(text) % 4 == 1 else text
        with contextlib.suppress(ValueError):
            yield base64.b64decode(text + b"=" * (-len(text) % 4))
