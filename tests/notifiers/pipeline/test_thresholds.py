"""Thresholds as values: lifetimes, purchases, automatic renewal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers.pipeline.thresholds import BEFORE, before_end, crossed, learned_lead, rank_of, since
from tests.notifiers.sites import DAY

END = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (398, (60, 30, 14, 7, 3, 1, 0)),
        (200, (60, 30, 14, 7, 3, 1, 0)),
        (100, (30, 14, 7, 3, 1, 0)),
        (90, (30, 14, 7, 3, 1, 0)),
        (47, (14, 7, 3, 1, 0)),
        (6, (1, 0)),
        (2, (0,)),
    ],
)
def test_thresholds_scale_with_the_lifetime(days: int, expected: tuple[int, ...]) -> None:
    assert before_end(days * DAY, BEFORE, chosen=False, lead_days=0, renewal_lead=None) == expected


def test_chosen_thresholds_are_kept() -> None:
    assert before_end(47 * DAY, (40, 10), chosen=True, lead_days=0, renewal_lead=None) == (
        40,
        10,
        0,
    )


def test_chosen_threshold_that_each_new_certificate_would_cross_is_ignored() -> None:
    life = timedelta(hours=160)
    kept = before_end(life, (30, 7, 2), chosen=True, lead_days=0, renewal_lead=life / 2)
    assert kept == (2, 0)
    assert before_end(life, (30, 7), chosen=True, lead_days=0, renewal_lead=None) == (0,)


def test_long_purchase_adds_an_earlier_threshold() -> None:
    assert before_end(398 * DAY, (7, 1), chosen=False, lead_days=21, renewal_lead=None) == (
        28,
        7,
        1,
        0,
    )
    assert before_end(398 * DAY, BEFORE, chosen=False, lead_days=21, renewal_lead=None)[0] == 60


@pytest.mark.parametrize(
    ("life", "renewal_lead", "first"),
    [
        (90, 30, 14),
        (90, 15, 7),
        (47, 16, 14),
        (6, 3, 1),
    ],
)
def test_automatic_renewal_has_thresholds_only_when_late(
    life: int, renewal_lead: int, first: int
) -> None:
    found = before_end(
        life * DAY, BEFORE, chosen=False, lead_days=21, renewal_lead=renewal_lead * DAY
    )
    assert found[0] == first


@pytest.mark.parametrize(
    ("left", "label"),
    [
        (61, None),
        (60, "60"),
        (59.9, "60"),
        (30, "30"),
        (8, "14"),
        (6.5, "7"),
        (0.5, "1"),
        (0, "0"),
        (-0.5, "0"),
        (-1.01, "+1"),
        (-6.9, "+1"),
        (-7, "+7"),
        (-13.9, "+7"),
        (-14, "+14"),
        (-50, "+49"),
    ],
)
def test_crossed_is_the_most_urgent_threshold(left: float, label: str | None) -> None:
    hit = crossed(END, BEFORE, END - left * DAY)
    assert (hit.label if hit else None) == label


@given(st.floats(-400, 400), st.floats(0, 30))
def test_urgency_never_decreases_with_time(left: float, later: float) -> None:
    first = crossed(END, BEFORE, END - left * DAY)
    second = crossed(END, BEFORE, END - (left - later) * DAY)
    if first is not None:
        assert second is not None
        assert second.rank >= first.rank
        assert rank_of(first.label) == first.rank


def test_topic_without_an_end_is_due_at_once_and_then_weekly() -> None:
    labels = [since(END, END + days * DAY, 7).label for days in (0, 6, 7, 15)]
    assert labels == ["+0", "+0", "+7", "+14"]


def test_automatic_renewal_is_learnt_from_two_replacements_at_one_lead() -> None:
    assert learned_lead(90 * DAY, [30 * DAY]) is None
    assert learned_lead(90 * DAY, [30 * DAY, 29 * DAY]) == 29 * DAY
    assert learned_lead(90 * DAY, [3 * DAY, 29 * DAY]) is None, "at different times"
    assert learned_lead(90 * DAY, [-1 * DAY, 1 * DAY]) is None, "too late is not automatic"
    assert learned_lead(398 * DAY, [30 * DAY, 30 * DAY]) is None, "renewed by hand"
