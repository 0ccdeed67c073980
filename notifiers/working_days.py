"""Working days, quiet hours and change freezes, in the time zone of whoever is written to.

Pure; holidays come from the holidays library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from inventory.countries import holidays_of

MAX_STEPS = 30  # no row of days off is longer


MONDAY_TO_FRIDAY = frozenset(range(5))


def is_working_day(day: date, country: str, weekdays: frozenset[int] = MONDAY_TO_FRIDAY) -> bool:
    """``weekdays``: 0 is Monday."""
    return day.weekday() in weekdays and day not in holidays_of(country, day.year)


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """Of one person.

    ``opens`` and ``closes``: between them one may write; outside are quiet hours.
    """

    zone: tzinfo = UTC
    country: str = ""
    opens: time = time(8)
    closes: time = time(18)
    weekdays: frozenset[int] = MONDAY_TO_FRIDAY

    def day(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def may_write(self, now: datetime) -> bool:
        local = now.astimezone(self.zone)
        return (
            is_working_day(local.date(), self.country, self.weekdays)
            and self.opens <= local.time() < self.closes
        )

    def next_opening(self, now: datetime) -> datetime:
        """The first moment from ``now`` on at which one may write, in UTC."""
        if self.may_write(now):
            return now
        local = now.astimezone(self.zone)
        day = local.date() if local.time() < self.opens else local.date() + timedelta(days=1)
        for _ in range(MAX_STEPS):
            if is_working_day(day, self.country, self.weekdays):
                break
            day += timedelta(days=1)
        return datetime.combine(day, self.opens, self.zone).astimezone(UTC)

    def working_day_before(self, moment: datetime) -> date:
        """The day of ``moment``, or the last working day before it: a date that somebody is asked
        to keep.
        """
        day = self.day(moment)
        for _ in range(MAX_STEPS):
            if is_working_day(day, self.country, self.weekdays):
                break
            day -= timedelta(days=1)
        return day

    def working_day_after(self, moment: datetime, days: int = 1) -> date:
        """The working day that is ``days`` working days after that of ``moment``: when next word is
        promised.
        """
        day = self.day(moment)
        while days > 0:
            day += timedelta(days=1)
            if is_working_day(day, self.country, self.weekdays):
                days -= 1
        return day

    def end_of(self, day: date) -> datetime:
        """The last second of the day, in UTC."""
        following = datetime.combine(day + timedelta(days=1), time(0), self.zone)
        return following.astimezone(UTC) - timedelta(seconds=1)


def zone_of(name: str | None, default: str) -> tzinfo:
    for candidate in (name, default):
        try:
            if candidate:
                return ZoneInfo(candidate)
        except (KeyError, ValueError, OSError):
            continue
    return UTC


@dataclass(frozen=True, slots=True)
class ChangeFreeze:
    """Days in which nothing is changed; both belong to it."""

    first: date
    last: date


def before_freezes(moment: datetime, freezes: Sequence[ChangeFreeze], zone: tzinfo) -> datetime:
    """What ends inside a freeze is due before it: the last second before its first day."""
    changed = True
    while changed:
        changed = False
        day = moment.astimezone(zone).date()
        for freeze in freezes:
            if freeze.first <= day <= freeze.last:
                moment = datetime.combine(freeze.first, time(0), zone).astimezone(UTC) - timedelta(
                    seconds=1
                )
                changed = True
                break
    return moment
