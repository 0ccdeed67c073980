"""Calendar entries as iCalendar (RFC 5545), and invitations with updates (RFC 5546). Pure.

Timestamps are in UTC: calendars show them in the time zone of their owner, and a change to or from
daylight saving time cannot shift them. The UID of an entry never changes; SEQUENCE counts its
updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from icalendar import Calendar, Event, vCalAddress

from inventory.text import printable

PRODUCT = "-//certmgr//certmgr//EN"


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """An agreed installation window.

    Attributes:
        uid: The permanent identifier.
        sequence: The number of changes.
    """

    uid: str
    sequence: int
    start: datetime
    end: datetime
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """An entry of a calendar. A date as its start makes it an all-day entry."""

    uid: str
    title: str
    text: str
    start: datetime | date
    end: datetime | None = None
    sequence: int = 0
    cancelled: bool = False


def _line(text: str, limit: int) -> str:
    return " ".join(printable(text, limit).split())


def _event(entry: CalendarEntry, stamp: datetime) -> Any:
    event = Event()
    event.add("uid", entry.uid)
    # RFC 5546 3.2: between two versions with one SEQUENCE, the later DTSTAMP wins.
    event.add("dtstamp", stamp.astimezone(UTC))
    # A calendar ignores an update whose SEQUENCE is lower than the known one (RFC 5546 2.1.4).
    event.add("sequence", entry.sequence)
    event.add("summary", _line(entry.title, 200))
    if entry.text:
        event.add("description", "\n".join(_line(line, 1000) for line in entry.text.splitlines()))
    if isinstance(entry.start, datetime):
        event.add("dtstart", entry.start.astimezone(UTC))
        event.add("dtend", (entry.end or entry.start + timedelta(hours=1)).astimezone(UTC))
    else:
        event.add("dtstart", entry.start)
        event.add("dtend", entry.start + timedelta(days=1))
        event.add("transp", "TRANSPARENT")  # an all-day reminder must not show as busy time
    event.add("status", "CANCELLED" if entry.cancelled else "CONFIRMED")
    return event


def _calendar(method: str | None) -> Any:
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    # Without a method, a mail program treats the file as an import and not as an invitation.
    if method:
        calendar.add("method", method)
    return calendar


def invitation(
    window: CalendarWindow, title: str, text: str, organizer: str, attendee: str, stamp: datetime
) -> str:
    """Return an invitation to attach to a mail: METHOD:REQUEST, or CANCEL.

    Args:
        organizer: A mail address.
        attendee: A mail address.
    """
    calendar = _calendar("CANCEL" if window.cancelled else "REQUEST")
    event = _event(
        CalendarEntry(
            uid=window.uid,
            title=title,
            text=text,
            start=window.start,
            end=window.end,
            sequence=window.sequence,
            cancelled=window.cancelled,
        ),
        stamp,
    )
    event.add("organizer", vCalAddress(f"mailto:{organizer}"))
    # Calendars offer "accept" and "decline" only if an answer is requested (RFC 5545 3.2.17).
    guest = vCalAddress(f"mailto:{attendee}")
    guest.params["ROLE"] = "REQ-PARTICIPANT"
    guest.params["PARTSTAT"] = "NEEDS-ACTION"
    guest.params["RSVP"] = "FALSE" if window.cancelled else "TRUE"
    event.add("attendee", guest)
    calendar.add_component(event)
    return str(calendar.to_ical().decode())


def publish(entries: Sequence[CalendarEntry], name: str, stamp: datetime) -> str:
    """Return a calendar for subscription or import."""
    calendar = _calendar("PUBLISH")
    calendar.add("x-wr-calname", _line(name, 100))
    for entry in entries:
        calendar.add_component(_event(entry, stamp))
    return str(calendar.to_ical().decode())
