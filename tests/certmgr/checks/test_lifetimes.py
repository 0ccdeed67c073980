"""The lifetimes of the Baseline Requirements, at each boundary of their table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certmgr.checks.lifetimes import LIMITS, limit_days, too_long


@pytest.mark.parametrize(("since", "days"), LIMITS)
def test_limit_begins_at_its_second(since: datetime, days: int) -> None:
    assert limit_days(since) == days
    assert limit_days(since - timedelta(seconds=1)) != days


@pytest.mark.parametrize("days", [200, 100, 47, 398])
def test_lifetime_includes_its_last_second(days: int) -> None:
    begin = {
        398: datetime(2024, 6, 1, tzinfo=UTC),
        200: datetime(2026, 6, 1, tzinfo=UTC),
        100: datetime(2028, 6, 1, tzinfo=UTC),
        47: datetime(2030, 6, 1, tzinfo=UTC),
    }[days]
    whole = timedelta(seconds=days * 86_400 - 1)
    assert too_long(begin, begin + whole) is None
    assert too_long(begin, begin + whole + timedelta(seconds=1)) == (days + 1, days)


@pytest.mark.parametrize(("since", "days"), LIMITS[1:])
def test_longer_limit_may_hold_within_48_hours_of_a_boundary(since: datetime, days: int) -> None:
    longer = limit_days(since - timedelta(days=30))
    assert longer is not None
    life = timedelta(days=longer) - timedelta(seconds=1)
    assert too_long(since + timedelta(hours=47), since + timedelta(hours=47) + life) is None
    assert too_long(since + timedelta(hours=49), since + timedelta(hours=49) + life) == (
        longer,
        days,
    )


def test_lifetime_before_the_first_rule_has_no_limit() -> None:
    assert too_long(datetime(2011, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)) is None
