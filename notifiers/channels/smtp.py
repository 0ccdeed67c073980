"""What a mail server replied, as values, and the delivery status that follows from it. Pure."""

from __future__ import annotations

import re
import smtplib
from dataclasses import dataclass
from enum import StrEnum

from inventory.text import printable
from notifiers.channels.results import DeliveryStatus, SendResult

# Everything that smtplib raises for a server that refuses, disconnects or does not answer.
SMTP_ERRORS = (OSError, smtplib.SMTPException)
MAX_REPLY = 1000
_ENHANCED_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\b")
_ADDRESS = re.compile(r"[^\s'\"<>{}]+@[^\s'\"<>{}:]+")


class SmtpStage(StrEnum):
    """How far an SMTP session came (RFC 5321, section 3).

    Attributes:
        SESSION: Connection, greeting, STARTTLS and login. No message was named yet.
        SENDER: MAIL FROM.
        RECIPIENT: RCPT TO.
        MESSAGE: DATA and the text of the message, or a disconnect at an unknown step.
    """

    SESSION = "session"
    SENDER = "sender"
    RECIPIENT = "recipient"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """One reply of a mail server (RFC 5321, section 4.2).

    Attributes:
        code: The reply code, 200 to 599.
        status: The enhanced status code (RFC 3463), such as 5.1.1. Empty if there was none.
        text: The text after both codes, as one printable line.
    """

    code: int
    status: str
    text: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.status, self.text) if part)


@dataclass(frozen=True, slots=True)
class SmtpFailure:
    """Why a message to one recipient was not accepted.

    Attributes:
        reply: What the server replied. None if it closed the connection or did not answer.
        problem: What happened instead of a reply. Empty if there was one.
        timed_out: The server did not answer in time.
    """

    stage: SmtpStage
    reply: SmtpReply | None = None
    problem: str = ""
    timed_out: bool = False


def reply_of(code: int, raw: bytes | str) -> SmtpReply | None:
    """Return a reply as a value.

    Args:
        raw: What follows the reply code. Each line of a longer reply repeats the enhanced status
            code; only the first one is taken as such.

    Returns:
        None if the code is not one of RFC 5321: smtplib reports -1 for a line without a code.
    """
    # A reply that is no reply proves nothing about the message.
    if not 200 <= code <= 599:
        return None
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    line = printable(" ".join(text[:MAX_REPLY].split()), MAX_REPLY)
    if (status := _ENHANCED_STATUS.match(line)) is None:
        return SmtpReply(code, "", line)
    return SmtpReply(code, status[1], line[status.end() :].strip())


def failure_of(error: Exception, stage: SmtpStage) -> SmtpFailure:
    """Return what smtplib raised as a value.

    Args:
        error: One of :data:`SMTP_ERRORS`.
        stage: The stage of the session. An error about the sender or a recipient names its own.
    """
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=recipients) if recipients:
            # Each session has one recipient.
            code, raw = next(iter(recipients.values()))
            reply, stage = reply_of(code, raw), SmtpStage.RECIPIENT
        case smtplib.SMTPSenderRefused(smtp_code=code, smtp_error=raw):
            reply, stage = reply_of(code, raw), SmtpStage.SENDER
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=raw):
            reply = reply_of(code, raw)
        case _:
            reply = None
    if reply is not None:
        return SmtpFailure(stage, reply)
    # smtplib raises a disconnect for each failure of the socket, with the failure as its context.
    timed_out = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
    return SmtpFailure(stage, None, printable(" ".join(str(error).split()), 200), timed_out)


# Servers without enhanced status codes report in words that a mailbox does not exist.
_NO_SUCH_RECIPIENT = re.compile(
    r"no such user|user unknown|unknown user|does not exist|mailbox unavailable", re.I
)
# RFC 3463, section 3.2: the mailbox, the system or the syntax of the address is bad, or the system
# accepts no mail (RFC 7505).
_BAD_ADDRESS_STATUS = re.compile(r"[45]\.1\.(?:1|2|3|6|10)")
_BAD_ADDRESS_CODES = (550, 551, 553)


def mail_result(failure: SmtpFailure) -> SendResult:
    """Return the result of a mail that was not accepted."""
    reason = _without_addresses(
        f"the server replied {failure.reply}" if failure.reply is not None else failure.problem
    )
    code = failure.reply.code if failure.reply is not None else None
    # No message was named before the first recipient, so nothing can have arrived. The server may
    # accept the next login, whatever the code was.
    if failure.stage is SmtpStage.SESSION:
        return SendResult(
            DeliveryStatus.TEMPORARY,
            f"the mail server could not be used: {reason}",
            code,
            channel_down=True,
        )
    # The server may have stored the message before the connection broke.
    if code is None:
        return SendResult(
            DeliveryStatus.UNKNOWN,
            f"the SMTP session ended without a reply: {reason}",
            channel_down=failure.timed_out,
        )
    # RFC 5321 4.2.1: 4yz is transient, and the same command may succeed later.
    if 400 <= code < 500:
        return SendResult(DeliveryStatus.TEMPORARY, reason, code)
    return SendResult(DeliveryStatus.PERMANENT, reason, code, bad_address=_is_bad_address(failure))


def _is_bad_address(failure: SmtpFailure) -> bool:
    """Return whether the server reported that the recipient does not exist."""
    reply = failure.reply
    # Only RCPT TO is about the address. A refused text proves nothing about it.
    if reply is None or failure.stage is not SmtpStage.RECIPIENT:
        return False
    # A 5.7 status is a policy (RFC 3463, section 3.8), so the address may be valid.
    if reply.status.startswith("5.7."):
        return False
    return (
        reply.code in _BAD_ADDRESS_CODES
        or _BAD_ADDRESS_STATUS.fullmatch(reply.status) is not None
        or _NO_SUCH_RECIPIENT.search(reply.text) is not None
    )


def _without_addresses(text: str) -> str:
    """Return the text without mail addresses: reasons are stored longer than contacts."""
    # Cut first: each blank-free part of a long reply would be searched from each of its characters.
    return _ADDRESS.sub("the recipient", text[:MAX_REPLY])[:200]
