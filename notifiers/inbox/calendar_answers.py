"""The answer of a calendar program to an invitation (RFC 5546 3.2.3). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from icalendar import Calendar

from inventory.text import printable

_STATES = ("ACCEPTED", "DECLINED", "TENTATIVE")
MAX_EVENTS = 20  # our invitation has one
_NO_PERSON = ("ROOM", "RESOURCE", "GROUP")


@dataclass(frozen=True, slots=True)
class CalendarAnswer:
    """An answer to an invitation.

    Attributes:
        uid: The identifier of the entry.
        sequence: The version of the entry that was answered.
        status: ACCEPTED, DECLINED, TENTATIVE, or OTHER (such as a proposal of another time).
        comment: The text of the answer.
    """

    uid: str
    sequence: int
    status: str
    comment: str = ""


def calendar_answer(text: str, method: str = "") -> CalendarAnswer | None:
    """Return the answer in a calendar file; None if the file is no answer.

    Args:
        method: The method that the mail names for the file (RFC 6047 2.4), which counts if the file
            names none.

    Raises:
        ValueError: The file is not valid.
    """
    try:
        calendar: Any = Calendar.from_ical(text)
    except (OSError, AttributeError, LookupError, TypeError) as error:
        # icalendar opens the zone that the file names, and "Europe" is a folder of zones; a list of
        # zones and other values of the wrong kind raise what they raise.
        raise ValueError("the calendar file cannot be read") from error
    method = str(calendar.get("METHOD", method)).upper()
    # A client may attach any calendar file; only these methods answer an invitation.
    if method not in ("REPLY", "COUNTER", "DECLINECOUNTER"):
        return None
    events = calendar.walk("VEVENT")[:MAX_EVENTS]
    if not events:
        return None
    event = events[0]
    # An answer with several entries is one answer only if they agree.
    attendees = [a for e in events for a in _listed(e.get("ATTENDEE", []))]
    # A room or a device is booked by a program (RFC 5545 3.2.3).
    if any(str(a.params.get("CUTYPE", "")).upper() in _NO_PERSON for a in attendees if _is_one(a)):
        attendees = []
    states = {str(a.params.get("PARTSTAT", "")).upper() for a in attendees if _is_one(a)}
    # One person answers. If the file has several answers, staff decide what it means.
    status = states.pop() if len(states) == 1 and method == "REPLY" else "OTHER"
    return CalendarAnswer(
        printable(str(event.get("UID", "")), 200),
        _number(event.get("SEQUENCE", 0)),
        status if status in _STATES else "OTHER",
        printable(" ".join(str(event.get("COMMENT", "")).split()), 500),
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_one(attendee: Any) -> bool:
    return hasattr(attendee, "params")


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        # No version of an entry has this number, so that the answer matches none.
        return -1
