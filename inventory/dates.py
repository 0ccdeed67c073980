"""Dates: parsing of those that an administrator types, and arithmetic that cannot overflow. Pure.

A certificate may have any date from the year 0 to 9999-12-31, which RFC 5280 4.1.2.5 names for a
certificate without an end. Arithmetic with such a date leaves the range of ``datetime``. So dates
of certificates are shifted and converted only with :func:`shifted` and :func:`in_zone`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from inventory.errors import UsageError
from inventory.text import printable

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
# Let's Encrypt's integration guide: renew when a third of the life is left, and half of it for
# lives below ten days.
SHORT_LIVED = timedelta(days=10)


def usual_renewal_lead(life: timedelta) -> timedelta:
    """Return how long before its end automation renews a certificate of this lifetime."""
    return life / 2 if life < SHORT_LIVED else life / 3


def shifted(timestamp: datetime, by: timedelta) -> datetime:
    """Return ``timestamp + by``; the first or last date of the calendar if it lies beyond."""
    try:
        # ``datetime`` ends at the year 9999, which RFC 5280 uses for certificates without an end.
        return timestamp + by
    except OverflowError:
        # A date beyond the calendar is as far away as its last day, for every decision.
        return LAST if by > timedelta(0) else FIRST


def in_zone(timestamp: datetime, zone: tzinfo) -> datetime:
    """Return a timestamp in a time zone; in UTC if the calendar ends in between."""
    try:
        return timestamp.astimezone(zone)
    except (OverflowError, ValueError):
        return timestamp


def minute_text(timestamp: datetime, zone: tzinfo) -> str:
    """Return a timestamp to the minute as a person reads it in a zone, with the zone's name."""
    return f"{in_zone(timestamp, zone):%Y-%m-%d %H:%M %Z}"


def parse_end(text: str, time_zone: str) -> datetime:
    """Return a date as a timestamp; a date without a time is the last second of that day.

    Args:
        text: ``2026-11-30``, ``2026-11-30T12:00`` or ``2026-11-30T12:00+01:00``.
        time_zone: Time zone of a text without an offset.

    Raises:
        UsageError: The text is not a date.
    """
    zone = ZoneInfo(time_zone)
    try:
        if len(text) == 10:
            # One second before the next midnight, because a day may have 23 or 25 hours.
            following = datetime.combine(
                date.fromisoformat(text) + timedelta(days=1), time(0), zone
            )
            return following.astimezone(UTC) - timedelta(seconds=1)
        timestamp = datetime.fromisoformat(text)
        return (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _not_a_date(text) from None


_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def parse_ahead(text: str, time_zone: str, after: datetime) -> datetime:
    """Return a date ahead as a timestamp; a time alone is its next occurrence.

    Args:
        text: A date as for :func:`parse_end`, or a time such as ``09:30``: today, or tomorrow if
            it is not later than ``after`` today.
        time_zone: Time zone of a text without an offset.
        after: The time before which a time alone does not lie.

    Raises:
        UsageError: The text is neither a date nor a time.
    """
    found = _TIME_OF_DAY.fullmatch(text.strip())
    if found is None:
        try:
            return parse_end(text, time_zone)
        except UsageError as error:
            hint = "Write 2026-11-30, 2026-11-30T12:00, or 12:00 for the next 12:00."
            raise UsageError(error.what, error.why, hint) from None
    zone = ZoneInfo(time_zone)
    clock = time(int(found[1]), int(found[2]))
    day = in_zone(after, zone).date()
    today = datetime.combine(day, clock, zone).astimezone(UTC)
    if today > after:
        return today
    return datetime.combine(day + timedelta(days=1), clock, zone).astimezone(UTC)


def _not_a_date(text: str) -> UsageError:
    return UsageError(
        f"'{printable(text, 40)}' is not a date",
        "",
        "Write 2026-11-30, or 2026-11-30T12:00+01:00.",
    )


def parse_start(text: str, time_zone: str) -> datetime:
    """Return a date as a timestamp; a date without a time is the first second of that day.

    See :func:`parse_end` for the arguments and errors.
    """
    # A text with a time is that time, for a begin as for an end.
    if len(text) != 10:
        return parse_end(text, time_zone)
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(0), ZoneInfo(time_zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _not_a_date(text) from None


def days_left(not_after: datetime, now: datetime) -> int:
    """Return the whole days until the end; negative after it, from -1 in the first two days."""
    # Cut towards zero: one hour before the end, no whole day is left.
    days = int((not_after - now).total_seconds() / 86_400)
    # Zero is a certificate that is still valid.
    return days if not_after >= now else min(days, -1)


def span_text(span: timedelta) -> str:
    """Return a span in words, without its sign: ``12 days``, ``1 day``, ``5 hours``."""
    hours = int(abs(span).total_seconds() // 3600)
    for count, unit in ((hours // 24, "day"), (hours, "hour")):
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than an hour"
