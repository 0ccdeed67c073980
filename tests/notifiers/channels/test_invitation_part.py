"""Invitations have the structure that Outlook, Gmail and Thunderbird document."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from icalendar import Calendar

from notifiers.calendar import CalendarWindow, invitation
from notifiers.channels.invitation_part import with_invitation

START = datetime(2026, 11, 26, 9, tzinfo=UTC)


def composed(*files: str) -> str:
    """Return a mail as apprise composes it: alternatives of the text, and attachments."""
    mail = EmailMessage()
    mail["Subject"] = "Installation"
    mail.set_content("The window is on 26 November: Grüße.\n")
    mail.add_alternative("<p>The window is on 26 November: Grüße.</p>\n", subtype="html")
    for number, text in enumerate(files):
        mail.add_attachment(
            text.encode(), "text", "calendar", filename=f"window-{number}.ics", cte="base64"
        )
    return mail.as_string()


def window(sequence: int = 0, *, cancelled: bool = False) -> str:
    agreed = CalendarWindow(
        "cm-aaaaaa-window@certmgr", sequence, START, START + timedelta(hours=1), cancelled
    )
    return invitation(agreed, "Installation", "Text", "us@p.example", "owner@c.example", START)


@pytest.mark.parametrize(
    ("text", "method", "sequence"),
    [
        (window(), "REQUEST", 0),
        (window(3), "REQUEST", 3),
        (window(4, cancelled=True), "CANCEL", 4),
    ],
)
def test_invitation_is_the_last_alternative_of_the_text(
    text: str, method: str, sequence: int
) -> None:
    """RFC 2046 5.1.4: the last alternative is the richest one that a program should show."""
    mail = message_from_bytes(with_invitation(composed(text)).encode(), policy=default)
    assert mail.get_content_type() == "multipart/mixed"
    texts, attached = mail.iter_parts()
    assert [p.get_content_type() for p in texts.iter_parts()] == [
        "text/plain",
        "text/html",
        "text/calendar",
    ]
    part = list(texts.iter_parts())[-1]
    parameters = part["Content-Type"].params
    assert (parameters["method"], parameters["charset"]) == (method, "utf-8")
    calendar = Calendar.from_ical(part.get_content())
    assert str(calendar["METHOD"]) == method, "the parameter and the property must agree"
    (event,) = calendar.walk("VEVENT")
    assert int(str(event["SEQUENCE"])) == sequence
    assert str(event["UID"]) == "cm-aaaaaa-window@certmgr"
    assert str(event["ORGANIZER"]) == "mailto:us@p.example"
    assert event["ATTENDEE"].params["RSVP"] == ("FALSE" if method == "CANCEL" else "TRUE")
    assert (attached.get_content_type(), attached.get_filename()) == (
        "application/ics",
        "window-0.ics",
    )
    assert attached.get_content() == text.encode()


@pytest.mark.parametrize("cancelled", [False, True])
def test_lines_of_an_invitation_are_those_of_rfc_5545_and_5546(cancelled: bool) -> None:
    """Read without a library of calendars. Programs refuse a file over a single line."""
    agreed = CalendarWindow("cm-aaaaaa-window@certmgr", 2, START, START + timedelta(hours=1))
    agreed = replace(agreed, cancelled=cancelled)
    text = 'Größe, "quoted"; \\ ' + "日本語" * 40 + "\nBEGIN:VALARM\nsecond line"
    written = invitation(agreed, "A, b; c", text, "us@p.example", "owner@c.example", START)
    lines = written.encode().split(b"\r\n")
    assert lines.pop() == b"" and not any(b"\n" in x or b"\r" in x for x in lines)
    # Lines are folded after 75 bytes, and never within a character (RFC 5545 3.1).
    assert all(len(x) <= 75 and x.decode() for x in lines)
    unfolded = written.replace("\r\n ", "").split("\r\n")
    names = [re.split("[;:]", x)[0] for x in unfolded if x]
    assert names[0] == "BEGIN" and names.count("BEGIN") == 2, "text begins no component"
    once = ("METHOD", "PRODID", "VERSION", "UID", "DTSTAMP", "DTSTART", "DTEND", "SEQUENCE")
    assert all(names.count(n) == 1 for n in (*once, "STATUS", "ORGANIZER", "ATTENDEE"))
    values = dict(x.split(":", 1) for x in unfolded if x)
    assert values["METHOD"] == ("CANCEL" if cancelled else "REQUEST")
    assert values["STATUS"] == ("CANCELLED" if cancelled else "CONFIRMED")
    assert values["SUMMARY"] == r"A\, b\; c"
    assert values["DESCRIPTION"].endswith(r"\nBEGIN:VALARM\nsecond line")
    # In UTC, so that no time zone has to be defined.
    assert (values["DTSTART"], values["DTEND"]) == ("20261126T090000Z", "20261126T100000Z")


def test_only_one_invitation_is_offered_per_mail() -> None:
    mail = message_from_bytes(with_invitation(composed(window(), window(1))).encode())
    types = [p.get_content_type() for p in mail.walk()]
    assert types.count("text/calendar") == 2, "one alternative, one attachment"
    assert types.count("application/ics") == 1


def test_mail_without_a_calendar_is_unchanged() -> None:
    raw = composed()
    assert with_invitation(raw) == raw
