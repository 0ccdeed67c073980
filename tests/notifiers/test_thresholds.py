"""When one is told, as values: thresholds, working days, freezes, robots, outcomes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.countries import known_country
from notifiers.days import Calendar, Freeze, before_freezes
from notifiers.outcome import Escalated, Resolved, WeAct, YouAct, decides, name_of
from notifiers.thresholds import BEFORE, DAY, before_end, crossed, learnt, rank_of, since

END = datetime(2026, 11, 30, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(("days", "expected"), [
    (398, (60, 30, 14, 7, 3, 1, 0)), (200, (60, 30, 14, 7, 3, 1, 0)), (100, (30, 14, 7, 3, 1, 0)), (90, (30, 14, 7, 3, 1, 0)), (47, (14, 7, 3, 1, 0)),
    (6, (1, 0)), (2, (0,)),
])  # fmt: skip
def test_thresholds_scale_with_the_lifetime(days: int, expected: tuple[int, ...]) -> None:
    assert before_end(days * DAY, BEFORE, chosen=False, lead_days=0, usual=None) == expected


def test_chosen_thresholds_are_kept() -> None:
    assert before_end(47 * DAY, (40, 10), chosen=True, lead_days=0, usual=None) == (40, 10, 0)


def test_a_long_purchase_adds_a_threshold() -> None:
    assert before_end(398 * DAY, (7, 1), chosen=False, lead_days=21, usual=None) == (28, 7, 1, 0)
    assert before_end(398 * DAY, BEFORE, chosen=False, lead_days=21, usual=None)[0] == 60


@pytest.mark.parametrize(("life", "usual", "first"), [(90, 30, 14), (90, 15, 7), (47, 16, 14), (6, 3, 1)])
def test_behind_a_robot_only_a_late_renewal_is_news(life: int, usual: int, first: int) -> None:
    assert before_end(life * DAY, BEFORE, chosen=False, lead_days=21, usual=usual * DAY)[0] == first


@pytest.mark.parametrize(("left", "label"), [
    (61, None), (60, "60"), (59.9, "60"), (30, "30"), (8, "14"), (6.5, "7"), (0.5, "1"), (0, "0"), (-0.5, "0"), (-1.01, "+1"), (-6.9, "+1"),
    (-7, "+7"), (-13.9, "+7"), (-14, "+14"), (-50, "+49"),
])  # fmt: skip
def test_the_most_urgent_threshold_alone(left: float, label: str | None) -> None:
    hit = crossed(END, BEFORE, END - left * DAY)
    assert (hit.label if hit else None) == label


@given(st.floats(-400, 400), st.floats(0, 30))
def test_urgency_never_falls(left: float, later: float) -> None:
    first, second = crossed(END, BEFORE, END - left * DAY), crossed(END, BEFORE, END - (left - later) * DAY)
    if first is not None:
        assert second is not None
        assert second.rank >= first.rank
        assert rank_of(first.label) == first.rank


def test_without_a_date_it_is_said_at_once_and_weekly() -> None:
    assert [since(END, END + d * DAY, 7).label for d in (0, 6, 7, 15)] == ["+0", "+0", "+7", "+14"]


def test_a_robot_is_learnt_from_two_replacements() -> None:
    assert learnt(90 * DAY, [30 * DAY]) is None
    assert learnt(90 * DAY, [30 * DAY, 29 * DAY]) == 29 * DAY
    assert learnt(90 * DAY, [3 * DAY, 29 * DAY]) is None, "at different times"
    assert learnt(90 * DAY, [-1 * DAY, 1 * DAY]) is None, "too late is no robot"
    assert learnt(398 * DAY, [30 * DAY, 30 * DAY]) is None, "people renew those by hand"


def test_working_days_and_hours() -> None:
    calendar = Calendar(BERLIN, "DE-BY", time(8), time(18))
    assert calendar.may_write(datetime(2026, 11, 23, 7, 30, tzinfo=UTC))
    assert not calendar.may_write(datetime(2026, 11, 23, 6, 30, tzinfo=UTC)), "07:30 in Berlin"
    assert not calendar.may_write(datetime(2026, 11, 22, 12, tzinfo=UTC)), "a Sunday"
    assert not calendar.may_write(datetime(2027, 1, 6, 12, tzinfo=UTC)), "Epiphany in Bavaria"
    assert Calendar(BERLIN, "DE-HH").may_write(datetime(2027, 1, 6, 12, tzinfo=UTC)), "and not in Hamburg"
    # Thursday evening before Good Friday: the Tuesday after Easter.
    assert calendar.next_opening(datetime(2026, 4, 2, 17, tzinfo=UTC)) == datetime(2026, 4, 7, 6, tzinfo=UTC)
    assert calendar.working_day_before(datetime(2026, 12, 26, 12, tzinfo=UTC)) == date(2026, 12, 24)
    assert calendar.working_day_after(datetime(2026, 4, 2, 12, tzinfo=UTC), 2) == date(2026, 4, 8)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC)))
def test_the_next_opening_is_open_and_not_before(moment: datetime) -> None:
    calendar = Calendar(BERLIN, "DE")
    opening = calendar.next_opening(moment)
    assert opening >= moment
    assert calendar.may_write(opening)


def test_known_countries() -> None:
    assert known_country("DE")
    assert known_country("DE-BY")
    assert not known_country("DE-XX")
    assert not known_country("ZZ")


def test_what_ends_in_a_freeze_is_due_before_it() -> None:
    freeze = Freeze(date(2026, 12, 20), date(2027, 1, 6))
    moved = before_freezes(datetime(2026, 12, 27, 12, tzinfo=UTC), [freeze], BERLIN)
    assert moved == datetime(2026, 12, 19, 22, 59, 59, tzinfo=UTC)
    outside = datetime(2027, 1, 7, 12, tzinfo=UTC)
    assert before_freezes(outside, [freeze], BERLIN) == outside
    # Two that touch: before the first.
    both = [freeze, Freeze(date(2026, 12, 15), date(2026, 12, 19))]
    assert before_freezes(datetime(2026, 12, 27, 12, tzinfo=UTC), both, UTC) == datetime(2026, 12, 14, 23, 59, 59, tzinfo=UTC)


def test_one_outcome_the_worst_decides() -> None:
    you, we, up = YouAct(date(2026, 12, 1)), WeAct("Ada", END), Escalated(date(2026, 12, 2))
    assert decides([("medium", you), ("critical", we)]) == we
    assert decides([("high", up), ("high", we), ("high", you)]) == you
    assert decides([("high", up), ("high", we)]) == we
    assert decides([("critical", Resolved()), ("medium", up)]) == up
    assert name_of(decides([("medium", Resolved())])) == "resolved"
    assert decides([("high", you), ("medium", YouAct(date(2026, 11, 25)))]) == YouAct(date(2026, 11, 25)), (
        "the first of the dates"
    )
    assert decides([("high", you), ("medium", YouAct(None))]) == YouAct(None)


def test_the_clock_change_loses_no_hour() -> None:
    """The end of a day is the end of that day, also of one with 23 or 25 hours."""
    calendar = Calendar(BERLIN)
    assert calendar.end_of(date(2026, 3, 29)) == datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC)
    assert calendar.end_of(date(2026, 10, 25)) == datetime(2026, 10, 25, 22, 59, 59, tzinfo=UTC)
    assert (calendar.end_of(date(2026, 10, 25)) - calendar.end_of(date(2026, 10, 24))) == timedelta(hours=25)
