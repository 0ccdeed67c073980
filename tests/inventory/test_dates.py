"""Dates at the ends of the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from inventory.dates import FIRST, LAST, in_zone, shifted

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
