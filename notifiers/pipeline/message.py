"""A composed message, its sender, and what all messages share. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from babel.dates import format_date

from inventory.text import printable
from notifiers.wording.catalogue import Language
from notifiers.wording.notice import NoticePhrases as N

# Characters. Mail programs cut longer subjects.
MAX_SUBJECT = 160


@dataclass(frozen=True, slots=True)
class Message:
    """A composed message.

    Attributes:
        subject: The subject of the mail, as one line.
        calendar: iCalendar files to attach.
    """

    subject: str
    text: str
    html: str
    outcome: str | None
    reference: str
    calendar: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of messages.

    Attributes:
        answer: The time within which clients get an answer, in words.
        offers: A text about offers. Empty unless the provider configured one.
        address: The mail address of the organizer of calendar entries.
    """

    provider: str
    answer: str = ""
    offers: str = ""
    address: str = "noreply@certmgr.invalid"


def one_line(text: str, limit: int) -> str:
    """Return the text without control characters and line breaks, as headers require."""
    return " ".join(printable(text, limit).split())


def signature(
    reader: Language, sender: Sender, manager: str | None, reference: str
) -> dict[str, str]:
    """Return the texts below a message, in the language of the reader."""
    provider = one_line(sender.provider, 200) or "certmgr"
    # Without an account manager, the message names the provider only.
    words = N.handler if manager else N.handler_plain
    return {
        "handler": (
            reader(words).format(
                person=one_line(manager or "", 100), provider=provider, reference=reference
            )
        ),
        # Only if the provider configured it: a promised time has to be kept.
        "answer": (
            reader(N.answer).format(time=one_line(sender.answer, 100)) if sender.answer else ""
        ),
        "thanks": reader(N.thanks),
        "provider": provider,
    }


def long_date(day: date, reader: Language) -> str:
    """Return a date such as 24 December 2026."""
    return format_date(day, "long", locale=reader.locale)
