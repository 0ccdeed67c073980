"""What an inbound mail is: reply, bounce, automatic mail, receipt or answer to an invitation. Pure.

Mail is hostile. Headers come first, since they alone decide about most mail; the body of a mail
with too many parts is not parsed. :mod:`notifiers.inbox.process` limits the time.

Only a person's reply is consent. Whatever may be the work of a program is ``uncertain``: staff read
its text, and it acknowledges nothing.
"""

from __future__ import annotations

import email.policy
import hashlib
import re
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser

from flufl.bounce import all_failures

from inventory.text import printable
from inventory.vocabulary import InboundKind
from notifiers.inbox.automatic import (
    ambiguous_headers,
    automatic_headers,
    automatic_subject,
    behind_reply,
    calendar_subject,
    changed_subject,
    doubtful,
    empty_return_path,
    receipt_subject,
    sender,
)
from notifiers.inbox.calendar_answers import CalendarAnswer, calendar_answer
from notifiers.inbox.mail_parts import (
    MAX_TEXT,
    body_text,
    head_of,
    header,
    marks_in,
    own_parts,
    own_words,
    quoted_marks,
    references_in,
    returned_marks,
    source_text,
    subject_of,
    text_of,
    without_quotes,
    written_text,
)
from notifiers.inbox.report_words import (
    ACTIONS,
    failure_subject,
    refused,
    reported_action,
    reported_kind,
    returned_subject,
    tried_again,
)

# Bytes of a mail that are read. What follows are attachments, which change nothing.
MAX_MAIL = 512 * 1024
# Mails of people have up to five parts inside each other.
MAX_MULTIPARTS = 20
_CALENDAR_TYPES = ("text/calendar", "application/ics", "text/x-vcalendar")
MAX_CALENDARS = 5
_REPORTS = ("message/delivery-status", "message/global-delivery-status")
_RECEIPTS = (
    "message/disposition-notification",
    "message/global-disposition-notification",
)
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_DAEMONS = re.compile(
    r"^(?:mailer-daemon|postmaster|mail-daemon|mmdf|mail\.daemon|mdaemon|notes_router"
    r"|mail[._-]?delivery[._-]?(?:sub)?system)(?:[+._-].*)?@"
    # Exchange Online: the address of the system mailbox of an organisation.
    r"|^microsoftexchange[0-9a-f]{20,}@"
)
# A receipt that a program sent without a person (RFC 8098 3.2.6.1).
_DELETED = re.compile(r"(?i)automatic-action\s*/[^;]*;\s*deleted")
# What flufl.bounce takes for a warning although nothing is tried again.
_NOT_TRIED_AGAIN = re.compile(r"(?i)\b(?:has not been delivered|was (?:blocked|rejected) by)\b")


@dataclass(frozen=True, slots=True)
class InboundMail:
    """A parsed mail.

    Attributes:
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

    kind: InboundKind
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
        message = BytesHeaderParser(policy=email.policy.compat32).parsebytes(head_of(raw))
        subject = subject_of(message)
        automatic = automatic_headers(message) or automatic_subject(subject)
        return InboundMail(
            InboundKind.AUTOMATIC if automatic else InboundKind.UNCERTAIN,
            key,
            # Mail programs return the message id of the notice in one of these headers.
            marks_in(f"{header(message, 'References')} {header(message, 'In-Reply-To')}"),
            sender=printable(sender(message), 320),
            subject=subject,
        )
    # As in parse_whole(): a mail that cannot be read is shown to staff.
    except Exception as error:
        return InboundMail(InboundKind.UNCERTAIN, key, text=f"unreadable: {type(error).__name__}")


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
    parts = own_parts(message)
    text = text_of(parts)
    shown = " ".join(without_quotes(text).split())
    # Staff would otherwise see an empty answer.
    if not shown and message.get_content_type() in _ENCRYPTED:
        shown = "its text is encrypted, or signed in a form that is not read"
    read = replace(
        head,
        text=printable(shown, MAX_TEXT),
        references=references_in(text),
    )
    # The most certain evidence first: a standard report states itself what it is.
    for classify in (_report, _receipt, _plain_bounce, _other_report, _calendar):
        found = classify(message, parts, raw, read)
        if found is not None:
            return found
    # After the reports, since those are automatic mail too.
    if head.kind is InboundKind.AUTOMATIC:
        # A person may answer an automatic reply, whose subject their program keeps behind "Re:".
        answered = behind_reply(head.subject) and not automatic_headers(message)
        words = " ".join(written_text(text).split())
        person = answered and words and words != " ".join(text.split()) and not doubtful("", words)
        return replace(read, kind=InboundKind.UNCERTAIN) if person else read
    if receipt_subject(head.subject):
        return replace(read, kind=InboundKind.RECEIPT)
    by_person = _by_person(message, read, text)
    return replace(read, kind=InboundKind.REPLY if by_person else InboundKind.UNCERTAIN)


def _by_person(message: Message, read: InboundMail, text: str) -> bool:
    """Return whether nothing in a mail is a sign of a program."""
    # The answer of a calendar without its file states a decision that cannot be attributed.
    if calendar_subject(read.subject) or ambiguous_headers(message):
        return False
    words = printable(" ".join(own_words(text).split()), MAX_TEXT)
    # An empty text may be a mail program's mistake, a receipt in a form that is not known, or a
    # gateway that returns the notice.
    return bool(words) and not (doubtful(read.subject, words) or changed_subject(read.subject))


def _report(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify a delivery report (RFC 3464, RFC 6533 for internationalized mail)."""
    report = next((p for p in parts if p.get_content_type() in _REPORTS), None)
    if report is None:
        return None
    text = source_text(report)
    did, code = reported_action(text)
    # "failed" is final, whatever its status: 4.4.7 is the status of a queue that gave up.
    if did == "failed" or (did not in ACTIONS and code.startswith("5")):
        kind = InboundKind.BOUNCE
    elif did == "delayed" or (did not in ACTIONS and code.startswith("4")):
        kind = InboundKind.DELAY
    # Success reports are requested by some servers for all mail; they change nothing.
    elif did in ACTIONS:
        kind = InboundKind.RECEIPT
    # Gmail and some filters leave the report empty, and state the failure in the text alone.
    else:
        return None
    reason = re.search(r"^diagnostic-code\s*:\s*(.{1,300})", text, re.I | re.M)
    shown = f"{did} {code}".strip() + (f": {reason[1].strip()}" if reason else "")
    marks = returned_marks(message) or quoted_marks(raw, parts)
    return replace(read, kind=kind, marks=marks, text=printable(shown, 400), status=code)


def _receipt(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify a disposition notification (RFC 8098): displayed, deleted unread, and others."""
    notification = next((p for p in parts if p.get_content_type() in _RECEIPTS), None)
    if notification is None:
        return None
    what = re.search(r"^disposition:\s*(.{1,200})", source_text(notification), re.I | re.M)
    # A receipt usually has In-Reply-To; some programs return the original headers instead.
    marks = read.marks or returned_marks(message) or quoted_marks(raw, parts)
    shown = what[1].strip() if what else "receipt"
    # Dovecot refuses a mail in this form, by a filter (RFC 5429 2.2) or a full mailbox.
    if _DELETED.match(shown) and refused(f"{read.subject} {read.text}"):
        return replace(read, kind=InboundKind.BOUNCE, marks=marks)
    return replace(read, kind=InboundKind.RECEIPT, marks=marks, text=printable(shown, 300))


def _plain_bounce(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify a bounce without a report: Exim, qmail, Exchange, Gmail and others."""
    # A person may forward a bounce with the notice in it, so the sender must be a mail system.
    system = bool(
        empty_return_path(message)
        or _DAEMONS.match(sender(message))
        or message.get("X-Failed-Recipients") is not None
        or any(p.get_content_type() in _REPORTS for p in parts)
    )
    # A complaint about abuse (RFC 5965) returns the notice, which was delivered.
    if any(p.get_content_type() == "message/feedback-report" for p in parts):
        return None
    # Gateways and filters send bounces from any address. Their subject is no person's, so that they
    # are no consent; they count as a bounce only if they return the notice.
    if not system and not failure_subject(read.subject):
        return None
    # flufl.bounce knows the formats of many mail servers.
    temporary, permanent = all_failures(message)
    failed = message.get("X-Failed-Recipients") is not None
    copied = marks = returned_marks(message) or quoted_marks(raw, parts)
    words = f"{read.subject} {read.text}"
    final_subject = returned_subject(read.subject)
    # A warning of Postfix has the form of its bounces.
    if tried_again(words):
        kind = InboundKind.DELAY
    # Warnings of Exim carry the same header as its bounces.
    elif temporary and not permanent and not final_subject:
        final = _NOT_TRIED_AGAIN.search(read.text) is not None
        kind = InboundKind.UNCERTAIN if final else InboundKind.DELAY
    # The subject of a returned mail is final, also with the 4.2.2 of a mailbox that stays full.
    elif permanent or failed or (temporary and copied):
        kind = InboundKind.BOUNCE
    # Other programs have an address and no sender of the envelope, as people who are absent.
    elif system and not _DAEMONS.match(sender(message)) and not (copied and final_subject):
        return None
    else:
        kind, marks = reported_kind(words), marks or read.marks
        # It returns the notice for good, whatever reason it names.
        if copied and final_subject:
            kind = InboundKind.BOUNCE
    if not system and not copied:
        kind, marks = InboundKind.UNCERTAIN, read.marks
    return replace(read, kind=kind, marks=marks)


def _other_report(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify a report of another kind, such as a complaint about abuse (RFC 5965)."""
    if message.get_content_type() != "multipart/report" and not any(
        p.get_content_type() == "message/feedback-report" for p in parts
    ):
        return None
    return replace(read, kind=InboundKind.UNCERTAIN, marks=read.marks or returned_marks(message))


def _calendar(
    message: Message, parts: list[Message], raw: bytes, read: InboundMail
) -> InboundMail | None:
    """Classify the answer of a calendar to an invitation (RFC 5546 3.2.3)."""
    # Thunderbird and older programs send the answer as an attached file.
    files = [p for p in parts if _is_calendar(p)][:MAX_CALENDARS]
    answers = (
        calendar_answer(body_text(p, 100_000), str(p.get_param("method") or "")) for p in files
    )
    answer = next((a for a in answers if a is not None), None)
    if answer is None:
        return None
    # A mailbox that accepts by rules, such as that of a room, is not a person who agrees. Google
    # and Nextcloud mark the answers of people as "auto-generated": a program sends the mail.
    replied = str(message.get("Auto-Submitted", "")).strip().lower().startswith("auto-replied")
    if replied or message.get("X-MS-Exchange-Generated-Message-Source") is not None:
        answer = replace(answer, status="OTHER")
    # TENTATIVE and proposals of another time are no decision; staff read them.
    kinds = {"ACCEPTED": InboundKind.ACCEPTED, "DECLINED": InboundKind.DECLINED}
    shown = f"{answer.status.lower()}: {answer.comment or read.text}".rstrip(": ")
    return replace(
        read,
        kind=kinds.get(answer.status, InboundKind.UNCERTAIN),
        text=printable(shown, MAX_TEXT),
        answer=answer,
    )


def _is_calendar(part: Message) -> bool:
    return part.get_content_type() in _CALENDAR_TYPES or (
        str(part.get_filename() or "")[:1000].lower().endswith(".ics")
    )
