"""What an inbound mail is: reply, bounce, automatic mail, receipt or answer to an invitation. Pure.

Mail is hostile. Headers come first, since they alone decide about most mail; the body of a mail
with too many parts is not parsed. :mod:`notifiers.inbox.process` limits the time.

Only a person's reply is consent. Whatever may be the work of a program is ``uncertain``: staff read
its text, and it acknowledges nothing.
"""

from __future__ import annotations

import contextlib
import email.policy
import hashlib
import re
from dataclasses import dataclass, replace
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from itertools import islice
from typing import cast

from flufl.bounce import all_failures

from inventory.text import printable
from notifiers.channels.results import MARK_HEADER
from notifiers.inbox.automatic import (
    ambiguous_headers,
    automatic_headers,
    automatic_subject,
    calendar_subject,
    changed_subject,
    doubtful,
    empty_return_path,
    receipt_subject,
    sender,
)
from notifiers.inbox.calendar_answers import CalendarAnswer, calendar_answer

# Bytes of a mail that are read. What follows are attachments, which change nothing.
MAX_MAIL = 512 * 1024
MAX_HEADERS = 64 * 1024
# Mails of people have up to five parts inside each other.
MAX_MULTIPARTS = 20
_CALENDAR_TYPES = ("text/calendar", "application/ics", "text/x-vcalendar")
MAX_CALENDARS = 5
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
_RAW_MARK = re.compile(rb"X-Certmgr-Notice:\s*(\d{1,18}\.[0-9a-f]{20})\b", re.IGNORECASE)
_REPORTS = ("message/delivery-status", "message/global-delivery-status")
_RECEIPTS = (
    "message/disposition-notification",
    "message/global-disposition-notification",
)
_COPIES = (
    "text/rfc822-headers",
    "message/rfc822",
    "message/global",
    "message/global-headers",
)
_DAEMONS = re.compile(
    r"^(?:mailer-daemon|postmaster|mail-daemon|mmdf|mail\.daemon)(?:[+._-].*)?@"
    # Exchange Online: the address of the system mailbox of an organisation.
    r"|^microsoftexchange[0-9a-f]{20,}@"
)
# What flufl.bounce takes for a warning although nothing is tried again.
_NOT_TRIED_AGAIN = re.compile(r"(?i)\b(?:has not been delivered|was (?:blocked|rejected) by)\b")


@dataclass(frozen=True, slots=True)
class InboundMail:
    """A parsed mail.

    Attributes:
        kind: reply, bounce, delay (a report of a temporary failure), automatic, receipt (of reading
            or delivery), accepted or declined (an answer to an invitation), or uncertain.
        message_id: A hash of the content. With the Message-ID, an attacker could block another mail
            by using its id.
        marks: The marks of notices, from headers and parts that only a reader of the notice can
            return.
        text: The text for staff, without quoted lines.
        status: The status code of a report (RFC 3463).
        sender: The address in From.
        subject: The subject.
        answer: The answer to an invitation.
        references: The references of tickets that the writer named, without quoted text.
    """

    kind: str
    message_id: str
    marks: tuple[str, ...] = ()
    text: str = ""
    status: str = ""
    sender: str = ""
    subject: str = ""
    answer: CalendarAnswer | None = None
    references: tuple[str, ...] = ()


def parse(raw: bytes) -> InboundMail:
    """Parse a mail. Never raises."""
    return parse_whole(raw, parse_head(raw))


def parse_whole(raw: bytes, head: InboundMail) -> InboundMail:
    """Parse a mail whose headers are parsed. Never raises: then the headers stand alone."""
    try:
        return _parse_body(raw, head)
    # The mail parser fails in many ways on hostile mail, and all of them mean the same.
    except Exception as error:
        return replace(head, text=f"its text is unreadable: {type(error).__name__}")


def mail_key(raw: bytes) -> str:
    """Return the identifier of a mail: a hash of its content."""
    return f"<{hashlib.sha256(raw).hexdigest()}>"


def parse_head(raw: bytes) -> InboundMail:
    """Parse only the headers. Never raises.

    The result stands if the body cannot be parsed: an automatic mail is automatic, and any other
    mail is uncertain.
    """
    key = mail_key(raw)
    try:
        message = BytesHeaderParser(policy=email.policy.compat32).parsebytes(_head_of(raw))
        subject = _subject(message)
        automatic = automatic_headers(message) or automatic_subject(subject)
        return InboundMail(
            "automatic" if automatic else "uncertain",
            key,
            # Mail programs return the message id of the notice in one of these headers.
            _marks(f"{_header(message, 'References')} {_header(message, 'In-Reply-To')}"),
            sender=printable(sender(message), 320),
            subject=subject,
        )
    # As in parse_whole(): a mail that cannot be read is shown to staff.
    except Exception as error:
        return InboundMail("uncertain", key, text=f"unreadable: {type(error).__name__}")


def _parse_body(raw: bytes, head: InboundMail) -> InboundMail:
    """Parse the whole mail. Raises whatever the mail parser raises.

    Args:
        head: The result of :func:`parse_head`.
    """
    raw = raw[:MAX_MAIL]
    # The parser compares each line with the boundaries of all open parts, so depth costs time.
    if len(re.findall(rb"(?i)boundary\s*=", raw)) > MAX_MULTIPARTS:
        return replace(head, text=f"its text is not read: more than {MAX_MULTIPARTS} multiparts")
    message = BytesParser(policy=email.policy.compat32).parsebytes(raw)
    parts = _parts(message)
    text = _text(parts)
    read = replace(
        head,
        text=printable(" ".join(_without_quotes(text).split()), MAX_TEXT),
        references=_references(text),
    )
    # The most certain evidence first: a standard report states itself what it is.
    for classify in (_report, _receipt, _plain_bounce, _other_report, _calendar):
        found = classify(message, parts, raw, read)
        if found is not None:
            return found
    # After the reports, since those are automatic mail too.
    if head.kind == "automatic":
        return read
    if receipt_subject(head.subject):
        return replace(read, kind="receipt")
    return replace(read, kind="reply" if _by_person(message, read, text) else "uncertain")


def _by_person(message: Message, read: InboundMail, text: str) -> bool:
    """Return whether nothing in a mail is a sign of a program."""
    # The answer of a calendar without its file states a decision that cannot be attributed.
    if calendar_subject(read.subject) or ambiguous_headers(message):
        return False
    words = printable(" ".join(_written(text).split()), MAX_TEXT)
    # An empty text may be a mail program's mistake, or a receipt in a form that is not known. A
    # person who writes below the notice leaves its words in the text.
    return bool(read.text) and not (
        doubtful(read.subject, words or read.text) or changed_subject(read.subject)
    )


# -- kinds


def _report(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify a delivery report (RFC 3464, RFC 6533 for internationalized mail)."""
    report = next((p for p in parts if p.get_content_type() in _REPORTS), None)
    if report is None:
        return None
    text = _source(report)
    actions = [a.lower() for a in re.findall(r"^action\s*:\s*([a-z]+)", text, re.I | re.M)]
    status = re.search(r"^status\s*:\s*([245]\.\d{1,3}\.\d{1,3})", text, re.I | re.M)
    code = status[1] if status else ""
    # A report may list several addresses, if the one of the notice stands for several people.
    did = next((a for a in ("failed", "delayed") if a in actions), actions[0] if actions else "")
    # "failed" is final, whatever its status: 4.4.7 is the status of a queue that gave up.
    if did == "failed" or (not did and code.startswith("5")):
        kind = "bounce"
    elif did == "delayed" or (not did and code.startswith("4")):
        kind = "delay"
    # Success reports are requested by some servers for all mail; they change nothing.
    elif did in ("delivered", "relayed", "expanded"):
        kind = "receipt"
    else:
        kind = "uncertain"
    reason = re.search(r"^diagnostic-code\s*:\s*(.{1,300})", text, re.I | re.M)
    shown = f"{did} {code}".strip() + (f": {reason[1].strip()}" if reason else "")
    marks = _returned_marks(message) or _raw_marks(raw)
    return replace(read, kind=kind, marks=marks, text=printable(shown, 400), status=code)


def _receipt(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify a disposition notification (RFC 8098): displayed, deleted unread, and others."""
    notification = next((p for p in parts if p.get_content_type() in _RECEIPTS), None)
    if notification is None:
        return None
    what = re.search(r"^disposition:\s*(.{1,200})", _source(notification), re.I | re.M)
    # A receipt usually has In-Reply-To; some programs return the original headers instead.
    marks = read.marks or _returned_marks(message) or _raw_marks(raw)
    shown = what[1].strip() if what else "receipt"
    return replace(read, kind="receipt", marks=marks, text=printable(shown, 300))


def _plain_bounce(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify a bounce without a report: Exim, qmail, Exchange, Gmail and others."""
    # A person may forward a bounce with the notice in it, so the sender must be a mail system.
    if not (
        empty_return_path(message)
        or _DAEMONS.match(sender(message))
        or message.get("X-Failed-Recipients") is not None
    ):
        return None
    # flufl.bounce knows the formats of many mail servers.
    temporary, permanent = all_failures(message)
    failed = message.get("X-Failed-Recipients") is not None
    marks = _returned_marks(message) or _raw_marks(raw)
    # Warnings of Exim carry the same header as its bounces.
    if temporary and not permanent:
        final = _NOT_TRIED_AGAIN.search(read.text) is not None
        return replace(read, kind="uncertain" if final else "delay", marks=marks)
    if permanent or failed:
        return replace(read, kind="bounce", marks=marks)
    # A mail system wrote it, but what it reports is unknown: staff read it.
    if _DAEMONS.match(sender(message)):
        return replace(read, kind="uncertain", marks=marks or read.marks)
    return None


def _other_report(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify a report of another kind, such as a complaint about abuse (RFC 5965)."""
    if message.get_content_type() != "multipart/report" and not any(
        p.get_content_type() == "message/feedback-report" for p in parts
    ):
        return None
    return replace(read, kind="uncertain", marks=read.marks or _returned_marks(message))


def _calendar(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify the answer of a calendar to an invitation (RFC 5546 3.2.3)."""
    # Thunderbird and older programs send the answer as an attached file.
    files = [p for p in parts if _is_calendar(p)][:MAX_CALENDARS]
    answers = (calendar_answer(_body(p, 100_000), str(p.get_param("method") or "")) for p in files)
    answer = next((a for a in answers if a is not None), None)
    if answer is None:
        return None
    # A mailbox that accepts by rules, such as that of a room, is not a person who agrees.
    if message.get("X-MS-Exchange-Generated-Message-Source") is not None:
        answer = replace(answer, status="OTHER")
    # TENTATIVE and proposals of another time are no decision; staff read them.
    kinds = {"ACCEPTED": "accepted", "DECLINED": "declined"}
    shown = f"{answer.status.lower()}: {answer.comment or read.text}".rstrip(": ")
    return replace(
        read,
        kind=kinds.get(answer.status, "uncertain"),
        text=printable(shown, MAX_TEXT),
        answer=answer,
    )


def _is_calendar(part: Message) -> bool:
    return part.get_content_type() in _CALENDAR_TYPES or (
        str(part.get_filename() or "")[:1000].lower().endswith(".ics")
    )


# -- parts


def _head_of(raw: bytes) -> bytes:
    end = re.search(rb"\r?\n\r?\n", raw[:MAX_HEADERS])
    return raw[: end.end() if end else MAX_HEADERS]


def _parts(message: Message) -> list[Message]:
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


def _header(part: Message, name: str) -> str:
    return str(part.get(name, ""))[:2000]


def _subject(message: Message) -> str:
    text = _header(message, "Subject")
    with contextlib.suppress(ValueError, LookupError):
        text = str(make_header(decode_header(text)))
    return printable(" ".join(text.split()), 300)


def _returned_marks(message: Message) -> tuple[str, ...]:
    """Return the marks in the returned copy of the sent mail, or of its headers."""
    parts = _all_parts(message)
    copies = (p for p in parts if p.get_content_type() in _COPIES or p.get(MARK_HEADER) is not None)
    return _marks(" ".join(f"{_header(p, MARK_HEADER)} {_source(p)}" for p in copies))


def _raw_marks(raw: bytes) -> tuple[str, ...]:
    """Return the marks in the header of the notice anywhere: bounces quote it as plain text."""
    return tuple(dict.fromkeys(m.decode() for m in _RAW_MARK.findall(raw)))[:10]


def _source(part: Message) -> str:
    """Return the content of a part that has headers as its content."""
    if part.is_multipart():
        inner = part.get_payload()
        assert isinstance(inner, list)
        text = "\n".join(str(p)[:_PART_BYTES] for p in inner[:20])[:_PART_BYTES]
        # Some gateways encode the report (against RFC 3464 2.1), and the parser has split the code.
        decoded = Message()
        decoded["Content-Transfer-Encoding"] = _header(part, "Content-Transfer-Encoding")
        decoded.set_payload(text)
        return _body(decoded, _PART_BYTES)
    return _body(part, _PART_BYTES)


def _body(part: Message, limit: int = _PART_BYTES) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    charset = part.get_content_charset() or "utf-8"
    try:
        # The charset is named by the mail, so it may be unknown or wrong.
        return payload[:limit].decode(charset, "replace")
    except (LookupError, ValueError):
        return payload[:limit].decode("utf-8", "replace")


def _text(parts: list[Message]) -> str:
    """Return the text of a mail; that of its HTML if it has no other."""
    plain = next((_body(p) for p in parts if p.get_content_type() == "text/plain"), "")
    if plain.strip():
        return plain
    html = next((_body(p) for p in parts if p.get_content_type() == "text/html"), "")
    html = re.sub(r"(?is)<(script|style|blockquote)\b.{0,20000}?</\1>", " ", html)
    return re.sub(r"<[^<>]{0,2000}>", " ", html).replace("&nbsp;", " ")


def _marks(text: str) -> tuple[str, ...]:
    # A hostile mail may list thousands of guessed marks; each costs a query.
    return tuple(dict.fromkeys(_MARK.findall(text)))[:10]


def _references(text: str) -> tuple[str, ...]:
    """Return the references that the writer named."""
    return tuple(dict.fromkeys(_REFERENCE.findall(_written(text).upper())))[:50]


def _written(text: str) -> str:
    """Return the text above the copy of an original message."""
    written = []
    for line in _without_quotes(text).splitlines():
        # Many programs put the whole message below an answer, and that names all references.
        if _ORIGINAL.match(line[:300]):
            break
        written.append(line)
    return "\n".join(written)


def _without_quotes(text: str) -> str:
    """Return the text without quoted lines."""
    # The quoted notice asks to confirm, so its words must not count as those of the client.
    lines = [line for line in text.splitlines()[:400] if not line.lstrip().startswith(">")]
    return "\n".join(lines)[: 2 * MAX_TEXT]
