"""Working days, quiet hours and change freezes, in the time zone of the recipient. Pure.

Holidays come from the holidays library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from inventory.countries import holidays_of
from inventory.dates import in_zone

MAX_STEPS = 30  # no sequence of days off is longer
MONDAY_TO_FRIDAY = frozenset(range(5))


def is_working_day(day: date, country: str, weekdays: frozenset[int] = MONDAY_TO_FRIDAY) -> bool:
    """Return whether a day is a working day.

    Args:
        weekdays: The working weekdays; 0 is Monday.
    """
    return day.weekday() in weekdays and day not in holidays_of(country, day.year)


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """The working calendar of one person.

    Attributes:
        opens: The start of office hours. Outside of them are quiet hours.
        closes: The end of office hours.
    """

    zone: tzinfo = UTC
    country: str = ""
    opens: time = time(8)
    closes: time = time(18)
    weekdays: frozenset[int] = MONDAY_TO_FRIDAY

    def day(self, at: datetime) -> date:
        """Return the day of a timestamp in this time zone."""
        return in_zone(at, self.zone).date()

    def may_write(self, now: datetime) -> bool:
        """Return whether it is within office hours on a working day."""
        local = now.astimezone(self.zone)
        return (
            is_working_day(local.date(), self.country, self.weekdays)
            and self.opens <= local.time() < self.closes
        )

    def next_opening(self, now: datetime) -> datetime:
        """Return the next time within office hours, from ``now`` on, in UTC."""
        if self.may_write(now):
            return now
        local = now.astimezone(self.zone)
        # Before opening time it is the same day, after closing time the next one.
        day = local.date() if local.time() < self.opens else local.date() + timedelta(days=1)
        for _ in range(MAX_STEPS):
            if is_working_day(day, self.country, self.weekdays):
                break
            day += timedelta(days=1)
        return datetime.combine(day, self.opens, self.zone).astimezone(UTC)

    def working_day_before(self, at: datetime) -> date:
        """Return the day of ``at``, or the last working day before it.

        It is the day by which a client is asked to act.
        """
        day = self.day(at)
        for _ in range(MAX_STEPS):
            if is_working_day(day, self.country, self.weekdays):
                break
            # The calendar ends there; no certificate of a client does.
            if day == date.min:
                break
            day -= timedelta(days=1)
        return day

    def working_day_after(self, at: datetime, days: int = 1) -> date:
        """Return the day that is ``days`` working days after that of ``at``.

        It is the day for which the next status update is promised.
        """
        day = self.day(at)
        while days > 0:
            day += timedelta(days=1)
            if is_working_day(day, self.country, self.weekdays):
                days -= 1
        return day

    def end_of(self, day: date) -> datetime:
        """Return the last second of the day, in UTC."""
        # A day has 23 or 25 hours when clocks change, so it is counted back from the next one.
        following = datetime.combine(day + timedelta(days=1), time(0), self.zone)
        return following.astimezone(UTC) - timedelta(seconds=1)


def zone_of(name: str | None, default: str) -> tzinfo:
    """Return the time zone of a name, else of the default, else UTC."""
    for candidate in (name, default):
        try:
            if candidate:
                return ZoneInfo(candidate)
        except (KeyError, ValueError, OSError):
            continue
    return UTC


@dataclass(frozen=True, slots=True)
class ChangeFreeze:
    """A period without changes, including its first and last day."""

    first: date
    last: date


def before_freezes(at: datetime, freezes: Sequence[ChangeFreeze], zone: tzinfo) -> datetime:
    """Return the last second before the freeze that ``at`` lies in, else ``at`` itself.

    A certificate that ends within a freeze has to be replaced before it.
    """
    # The earlier time may lie in another freeze.
    changed = True
    while changed:
        changed = False
        day = in_zone(at, zone).date()
        for freeze in freezes:
            if freeze.first <= day <= freeze.last:
                at = datetime.combine(freeze.first, time(0), zone).astimezone(UTC) - timedelta(
                    seconds=1
                )
                changed = True
                break
    return at
