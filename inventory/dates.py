"""Dates as they are typed. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from inventory.errors import UsageError
from inventory.text import printable


def parse_moment(text: str, time_zone: str) -> datetime:
    """``2026-11-30`` is the end of that day in the provider's time zone; ``2026-11-30T12:00`` is in
    it too, unless an offset is given.

    Raises :class:`UsageError`.
    """
    zone = ZoneInfo(time_zone)
    try:
        if len(text) == 10:
            # The last second; midnight of the next day minus one, so that a day of 23 or 25 hours
            # is whole.
            following = datetime.combine(
                date.fromisoformat(text) + timedelta(days=1), time(0), zone
            )
            return following.astimezone(UTC) - timedelta(seconds=1)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{printable(text, 40)}' is not a date",
            "",
            "Write 2026-11-30, or 2026-11-30T12:00+01:00.",
        ) from None


def parse_start(text: str, time_zone: str) -> datetime:
    """As :func:`parse_moment`, but a bare date is the beginning of that day.

    Raises :class:`UsageError`.
    """
    if len(text) != 10:
        return parse_moment(text, time_zone)
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(0), ZoneInfo(time_zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{printable(text, 40)}' is not a date",
            "",
            "Write 2026-11-30, or 2026-11-30T12:00+01:00.",
        ) from None


def days_left(not_after: datetime, now: datetime) -> int:
    """Whole days until the end; whole days since it, negative, after it."""
    return int((not_after - now).total_seconds() / 86_400)
