"""Compose an announcement to many clients. Pure, except for reading templates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from notifiers.pipeline.message import MAX_SUBJECT, Message, Sender, long_date, one_line, signature
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.rendering import Templates
from notifiers.wording.catalogue import language
from notifiers.wording.notice import NoticePhrases as N


@dataclass(frozen=True, slots=True)
class Announcement:
    """The content of an announcement to one client.

    Attributes:
        at: The day from which the rule holds.
        lines: The state of each of the client's sites, as translated text.
    """

    title: str
    at: date | None
    text: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WithdrawnAnnouncement:
    """An announcement that no client should get any more.

    Attributes:
        reason: Why, for staff.
    """

    reason: str


def announcement_message(
    template: str,
    person: Person,
    announcement: Announcement,
    sender: Sender,
    templates: Templates,
    manager: str | None,
    reference: str,
) -> Message:
    """Return the announcement to one contact, rendered with a template."""
    reader = language(person.language, person.zone)
    title = one_line(reader(announcement.title), 200)
    # The title is the provider's text: as one line, it cannot add headers to the mail.
    subject = one_line(reader(N.announcement_title).format(title=title), MAX_SUBJECT)
    message = {
        "language": reader.code,
        "subject": subject,
        "greeting": reader(N.greeting).format(name=one_line(person.name, 100)),
        "lead": (
            subject
            if announcement.at is None
            else f"{subject}. "
            + reader(N.announcement_from).format(date=long_date(announcement.at, reader))
        ),
        "text": one_line(reader(announcement.text), 4000),
        "lines": list(announcement.lines),
        **signature(reader, sender, manager, reference),
    }
    return Message(
        f"[{reference}] {subject}",
        templates.render(template, reader.code, "txt", message, reader),
        templates.render(template, reader.code, "html", message, reader),
        None,
        reference,
    )
