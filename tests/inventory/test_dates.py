"""Dates at the ends of the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from inventory.dates import FIRST, LAST, days_left, in_zone, parse_ahead, shifted, span_text
from inventory.errors import UsageError

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("date", "by", "expected"),
    [
        (LAST, DAY, LAST),
        (FIRST, -DAY, FIRST),
        (FIRST, timedelta.max, LAST),
        (LAST, timedelta.min, FIRST),
        (datetime(2026, 1, 1, tzinfo=UTC), DAY, datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)
def test_shifted_date_stays_within_the_calendar(
    date: datetime, by: timedelta, expected: datetime
) -> None:
    assert shifted(date, by) == expected


def test_time_zone_beyond_the_calendar_leaves_utc() -> None:
    assert in_zone(LAST, ZoneInfo("Asia/Tokyo")).tzinfo is UTC
    assert in_zone(FIRST, ZoneInfo("America/Los_Angeles")).tzinfo is UTC
    assert in_zone(LAST, ZoneInfo("America/Los_Angeles")).hour == 15


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("09:30", "2026-11-29T08:29:59", "2026-11-29T08:30:00"),
        ("9:30", "2026-11-29T08:30:00", "2026-11-30T08:30:00"),
        # It is Sunday in UTC and Monday in Berlin.
        ("00:15", "2026-11-29T23:10:00", "2026-11-29T23:15:00"),
        ("23:59", "2026-12-31T22:59:00", "2027-01-01T22:59:00"),
        # The night in which the clocks are put forward has no 02:30: it is 03:30 then.
        ("02:30", "2027-03-27T22:00:00", "2027-03-28T01:30:00"),
        ("12:00", "2027-03-27T22:00:00", "2027-03-28T10:00:00"),
        ("2026-12-01", "2026-11-29T08:00:00", "2026-12-01T22:59:59"),
        ("2026-12-01T12:00", "2026-11-29T08:00:00", "2026-12-01T11:00:00"),
    ],
)
def test_time_without_a_date_is_the_next_one_in_the_time_zone(
    text: str, after: str, expected: str
) -> None:
    now = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found = parse_ahead(text, "Europe/Berlin", now)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["24:00", "9", "09:60", "0930", "09:30:00", "noon", ""])
def test_text_that_is_neither_a_date_nor_a_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a date.*12:00 for the next"):
        parse_ahead(text, "Europe/Berlin", datetime(2026, 11, 29, tzinfo=UTC))


@pytest.mark.parametrize(
    ("hours", "days", "text"),
    [
        (49, 2, "2 days"),
        (25, 1, "1 day"),
        (23, 0, "23 hours"),
        (1, 0, "1 hour"),
        (0, 0, "less than an hour"),
        (-0.5, -1, "less than an hour"),
        (-5, -1, "5 hours"),
        (-25, -1, "1 day"),
        (-49, -2, "2 days"),
    ],
)
def test_days_are_negative_from_the_end_on(hours: float, days: int, text: str) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    span = timedelta(hours=hours)
    assert days_left(now + span, now) == days
    assert span_text(span) == text
