"""The parts, texts and marks of an inbound mail. Pure.

Every size is bounded, because the mail is hostile.
"""

from __future__ import annotations

import contextlib
import re
from email.header import decode_header, make_header
from email.message import Message
from itertools import islice
from typing import cast

from inventory.text import printable
from notifiers.channels.results import MARK_HEADER

MAX_HEADERS = 64 * 1024
MAX_PARTS = 50
# Characters. Staff read the beginning, and the whole mail stays in the mailbox.
MAX_TEXT = 2000
_PART_BYTES = 20_000
_MARK = re.compile(r"\b(\d{1,18}\.[0-9a-f]{20})\b")
_REFERENCE = re.compile(r"\bCM-[2-9A-HJ-NP-Z]{6}\b")
# The line above a copy of the original message: Outlook, Thunderbird, Gmail, Apple Mail.
_ORIGINAL = re.compile(
    r"\s*(?:-{3,}|_{5,}|\**(?:from|von|de|da|van|od|från|fra|lähettäjä|от|від|kimden|发件人|差出人)"
    r"\**\s*[:：]|.{0,250}\b(?:wrote|schrieb|(?:a\s)?écrit|escribió|ha scritto|escreveu|schreef"
    r"|napisał|napísal|napsal|skrev|kirjoitti|írta|a scris|написал|пише|пишет|написав|έγραψε|yazdı)"
    r"\b.{0,80}:\s*$)",
    re.IGNORECASE,
)
# The same line in any other language: it names the sender with the address, and ends with a colon.
_ATTRIBUTION = re.compile(r".{0,200}<[^<>\s@]{1,64}@[^<>\s@]{1,255}>.{0,80}[:：]\s*$")
# Outlook writes the headers of the original message in the language of its user.
_HEADER = re.compile(r"\s*\**[^\s:：<>@\[\]*][^:：<>@\[\]*]{0,30}\**\s?[:：]\**\s*\S")
# Marks of the direction of writing, which Hebrew and Arabic mail programs put around addresses.
_DIRECTIONS = dict.fromkeys(
    map(ord, "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
# What mail programs of telephones write below each mail.
_DEVICE = re.compile(
    r"\s*(?:sent from (?:my|yahoo|outlook|mail for)|get outlook for|von mein\w+ .{1,40} gesendet"
    r"|gesendet (?:von|mit) |envoyé (?:de|depuis) |enviado (?:desde|do|de) |inviato da"
    r"|verzonden (?:vanaf|met|via) |wysłane z |odesláno z |skickat från |sendt fra |lähetetty "
    r"|отправлено с|надіслано з|odoslané z|trimis de pe |iphone\S*から送信|发自我的).{0,80}\s*$",
    re.IGNORECASE,
)
_SIGNED_BY_PGP = re.compile(
    r"(?m)^-----BEGIN PGP SIGNED MESSAGE-----\s*\n(?:Hash:.{0,100}\n)?"
    r"|^-----BEGIN PGP SIGNATURE-----[A-Za-z0-9+/=:.() \r\n-]{0,5000}-----END PGP SIGNATURE-----"
)
_RAW_MARK = re.compile(rb"X-Certmgr-Notice:\s*(\d{1,18}\.[0-9a-f]{20})\b", re.IGNORECASE)
_COPIES = (
    "text/rfc822-headers",
    "message/rfc822",
    "message/global",
    "message/global-headers",
)


def head_of(raw: bytes) -> bytes:
    """Return the headers of a mail, at most :data:`MAX_HEADERS` bytes."""
    end = re.search(rb"\r?\n\r?\n", raw[:MAX_HEADERS])
    return raw[: end.end() if end else MAX_HEADERS]


def own_parts(message: Message) -> list[Message]:
    """Return the parts of a mail, without those of mails that are attached to it.

    The kind of an attached mail is no sign of what the person means who attached it.
    """
    parts: list[Message] = []
    waiting = [message]
    while waiting and len(parts) < MAX_PARTS:
        part = waiting.pop(0)
        parts.append(part)
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting = [*cast("list[Message]", part.get_payload()), *waiting]
    return parts


def _all_parts(message: Message) -> list[Message]:
    return list(islice(message.walk(), MAX_PARTS))


def header(part: Message, name: str) -> str:
    """Return a header as it was sent; empty if the part does not have it."""
    return str(part.get(name, ""))[:2000]


def subject_of(message: Message) -> str:
    """Return the decoded subject, without control characters."""
    text = header(message, "Subject")
    with contextlib.suppress(ValueError, LookupError):
        text = str(make_header(decode_header(text)))
    return printable(" ".join(text.split()), 300)


def returned_marks(message: Message) -> tuple[str, ...]:
    """Return the marks in the returned copy of the sent mail, or of its headers."""
    parts = _all_parts(message)
    copies = (p for p in parts if p.get_content_type() in _COPIES or p.get(MARK_HEADER) is not None)
    return marks_in(" ".join(f"{header(p, MARK_HEADER)} {source_text(p)}" for p in copies))


def raw_marks(raw: bytes) -> tuple[str, ...]:
    """Return the marks in the header of the notice anywhere: bounces quote it as plain text."""
    return tuple(dict.fromkeys(m.decode() for m in _RAW_MARK.findall(raw)))[:10]


def quoted_marks(raw: bytes, parts: list[Message]) -> tuple[str, ...]:
    """Return the marks in the header of a notice that is quoted as plain text, also encoded."""
    if found := raw_marks(raw):
        return found
    # A bounce in Russian or Chinese is encoded as a whole, with the notice in it.
    texts = (body_text(p) for p in parts if p.get_content_maintype() == "text")
    return raw_marks(" ".join(texts).encode("ascii", "replace"))


def source_text(part: Message) -> str:
    """Return the content of a part that has headers as its content."""
    if part.is_multipart():
        inner = part.get_payload()
        assert isinstance(inner, list)
        text = "\n".join(str(p)[:_PART_BYTES] for p in inner[:20])[:_PART_BYTES]
        # Some gateways encode the report (against RFC 3464 2.1), and the parser has split the code.
        decoded = Message()
        decoded["Content-Transfer-Encoding"] = header(part, "Content-Transfer-Encoding")
        decoded.set_payload(text)
        return body_text(decoded, _PART_BYTES)
    return body_text(part, _PART_BYTES)


def body_text(part: Message, limit: int = _PART_BYTES) -> str:
    """Return the decoded content of a part, at most ``limit`` bytes of it."""
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    charset = part.get_content_charset() or "utf-8"
    try:
        # The charset is named by the mail, so it may be unknown or wrong.
        return payload[:limit].decode(charset, "replace")
    except (LookupError, ValueError):
        return payload[:limit].decode("utf-8", "replace")


def text_of(parts: list[Message]) -> str:
    """Return the text of a mail; that of its HTML if it has no other."""
    plain = next((body_text(p) for p in parts if p.get_content_type() == "text/plain"), "")
    if plain.strip():
        # The lines that a signature of PGP puts around a text are no part of an original message.
        return _SIGNED_BY_PGP.sub("", plain)
    html = next((body_text(p) for p in parts if p.get_content_type() == "text/html"), "")
    html = re.sub(r"(?is)<(script|style)\b.{0,20000}?</\1>", " ", html)
    # One line stands for the quoted mail, so that words below it count as an answer.
    html = re.sub(r"(?is)<(blockquote)\b.{0,20000}?</\1>", "\n>\n", html)
    # The line above a quoted mail would otherwise be one with the answer.
    html = re.sub(r"(?i)<(?:br|/?p|/?div|/tr|/li|hr)\b[^<>]{0,2000}>", "\n", html)
    return re.sub(r"<[^<>]{0,2000}>", " ", html).replace("&nbsp;", " ")


def marks_in(text: str) -> tuple[str, ...]:
    """Return the marks of notices in a text, at most 10."""
    # A hostile mail may list thousands of guessed marks; each costs a query.
    return tuple(dict.fromkeys(_MARK.findall(text)))[:10]


def references_in(text: str) -> tuple[str, ...]:
    """Return the references that the writer named."""
    return tuple(dict.fromkeys(_REFERENCE.findall(written_text(text).upper())))[:50]


def written_text(text: str) -> str:
    """Return the text above the copy of an original message."""
    lines = without_quotes(text).splitlines()
    # Many programs put the whole message below an answer, and that names all references.
    end = next((n for n in range(len(lines)) if _begins_copy(lines, n)), len(lines))
    return "\n".join(lines[:end])


def _begins_copy(lines: list[str], number: int) -> bool:
    """Return whether a copy of an original message begins at a line."""
    if _is_attribution(lines[number]):
        return True
    # The first header names the sender, and the subject of a notice has its reference.
    head = [x for x in lines[number : number + 8] if x.strip()][:3]
    return (
        len(head) == 3
        and all(_HEADER.match(x[:300]) for x in head)
        and ("@" in head[0] or any("[CM-" in x for x in head))
    )


def _is_attribution(line: str) -> bool:
    bare = line[:500].translate(_DIRECTIONS)
    return _ORIGINAL.match(bare[:300]) is not None or _ATTRIBUTION.match(bare) is not None


def own_words(text: str) -> str:
    """Return what a person wrote above the notice, or below it if its lines are marked as quoted.

    It is empty if a program returned the notice alone. Below a copy whose lines are not marked,
    words of a person cannot be distinguished from those of the notice.
    """
    lines = written_text(text).splitlines()
    if not "".join(lines).strip() and any(
        line.lstrip().startswith(">") for line in text.splitlines()[:400]
    ):
        lines = [x for x in without_quotes(text).splitlines() if not _is_attribution(x)]
    return "\n".join(line for line in lines if not _DEVICE.match(line[:300]))


def without_quotes(text: str) -> str:
    """Return the text without quoted lines."""
    # The quoted notice asks to confirm, so its words must not count as those of the client.
    lines = [line for line in text.splitlines()[:400] if not line.lstrip().startswith(">")]
    return "\n".join(lines)[: 2 * MAX_TEXT]
