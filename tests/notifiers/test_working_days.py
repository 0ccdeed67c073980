"""Working days, office hours, holidays, freezes and clock changes, as values."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from inventory.countries import is_known_country
from notifiers.working_days import ChangeFreeze, WorkingCalendar, before_freezes

BERLIN = ZoneInfo("Europe/Berlin")


def test_calendar_knows_working_days_hours_and_regional_holidays() -> None:
    calendar = WorkingCalendar(BERLIN, "DE-BY", time(8), time(18))
    assert calendar.may_write(datetime(2026, 11, 23, 7, 30, tzinfo=UTC))
    assert not calendar.may_write(datetime(2026, 11, 23, 6, 30, tzinfo=UTC)), "07:30 in Berlin"
    assert not calendar.may_write(datetime(2026, 11, 22, 12, tzinfo=UTC)), "a Sunday"
    epiphany = datetime(2027, 1, 6, 12, tzinfo=UTC)
    assert not calendar.may_write(epiphany), "a holiday in Bavaria"
    assert WorkingCalendar(BERLIN, "DE-HH").may_write(epiphany), "and not in Hamburg"
    # From the Thursday evening before Good Friday to the Tuesday after Easter.
    thursday = datetime(2026, 4, 2, 17, tzinfo=UTC)
    assert calendar.next_opening(thursday) == datetime(2026, 4, 7, 6, tzinfo=UTC)
    christmas = datetime(2026, 12, 26, 12, tzinfo=UTC)
    assert calendar.working_day_before(christmas) == date(2026, 12, 24)
    assert calendar.working_day_after(datetime(2026, 4, 2, 12, tzinfo=UTC), 2) == date(2026, 4, 8)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC)))
def test_next_opening_is_open_and_not_in_the_past(at: datetime) -> None:
    calendar = WorkingCalendar(BERLIN, "DE")
    opening = calendar.next_opening(at)
    assert opening >= at
    assert calendar.may_write(opening)


def test_country_is_known_only_with_an_existing_code() -> None:
    assert is_known_country("DE")
    assert is_known_country("DE-BY")
    assert not is_known_country("DE-XX")
    assert not is_known_country("ZZ")


def test_end_within_freezes_moves_to_the_day_before_the_first() -> None:
    freeze = ChangeFreeze(date(2026, 12, 20), date(2027, 1, 6))
    end = datetime(2026, 12, 27, 12, tzinfo=UTC)
    moved = before_freezes(end, [freeze], BERLIN)
    assert moved == datetime(2026, 12, 19, 22, 59, 59, tzinfo=UTC)
    outside = datetime(2027, 1, 7, 12, tzinfo=UTC)
    assert before_freezes(outside, [freeze], BERLIN) == outside
    adjacent = [freeze, ChangeFreeze(date(2026, 12, 15), date(2026, 12, 19))]
    moved = before_freezes(end, adjacent, UTC)
    assert moved == datetime(2026, 12, 14, 23, 59, 59, tzinfo=UTC)


def test_end_of_day_is_right_on_days_of_23_and_25_hours() -> None:
    calendar = WorkingCalendar(BERLIN)
    assert calendar.end_of(date(2026, 3, 29)) == datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC)
    long_day = calendar.end_of(date(2026, 10, 25))
    assert long_day == datetime(2026, 10, 25, 22, 59, 59, tzinfo=UTC)
    assert long_day - calendar.end_of(date(2026, 10, 24)) == timedelta(hours=25)
