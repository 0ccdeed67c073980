"""A paid term as a row of certificates, on both sides of each step of the rules."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certmgr.orders.model import Issued, Leads, Order
from certmgr.orders.terms import (
    DAY,
    DCV_REUSE,
    EV_REUSE,
    ORGANISATION_REUSE,
    Term,
    best_day,
    clocks,
    due_soon,
    life_at,
    plan,
    valid_for,
    validation_end,
)

LEAD = Leads().reissue  # 14 days


def at(year: int, month: int, day: int, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("issued", "days"),
    [
        (at(2026, 3, 14, 23), 397), (at(2026, 3, 15), 199), (at(2027, 3, 14, 23), 199), (at(2027, 3, 15), 99), (at(2029, 3, 14, 23), 99), (at(2029, 3, 15), 46),
    ],
)  # fmt: skip
def test_a_certificate_lives_a_day_less_than_the_limit_of_its_day_of_issue(issued: datetime, days: int) -> None:
    assert life_at(issued) == timedelta(days=days)


def test_a_supposed_lifetime_never_exceeds_the_limit() -> None:
    assert life_at(at(2026, 6, 1), 45) == timedelta(days=45)
    assert life_at(at(2029, 6, 1), 90) == timedelta(days=46)


def test_one_year_of_199_days_takes_two_certificates() -> None:
    """2026-04-01 + 199 d = 2026-10-17; reissued 14 d before, on 2026-10-03, 199 d reach past the end of the order: cut there."""
    term = Term(at(2026, 4, 1), at(2027, 4, 1) - timedelta(seconds=1), None)
    first, second = plan(term, at(2026, 4, 1), LEAD)
    assert first.not_after == at(2026, 10, 17) - timedelta(seconds=1)
    assert second.issue == at(2026, 10, 3) - timedelta(seconds=1)
    assert second.not_after == term.ends, "no certificate outlives its order"


def test_an_early_reissue_leaves_a_tail_that_needs_a_third_certificate() -> None:
    """The case that DigiCert describes: 90 days early."""
    term = Term(at(2026, 4, 1), at(2027, 4, 1) - timedelta(seconds=1), at(2026, 10, 17), 1)
    early = plan(term, at(2026, 6, 1), LEAD, first=at(2026, 7, 19))
    assert [p.number for p in early] == [2, 3]
    assert early[0].not_after < term.ends
    assert early[1].tail
    best = best_day(term, at(2026, 6, 1), LEAD)
    assert best is not None
    # 2027-04-01 less 199 days is 2026-09-14: a reissue on that day reaches the end of the order, one before it does not.
    assert best.earliest is not None
    assert at(2026, 9, 14) <= best.earliest <= at(2026, 9, 16)
    assert len(plan(term, at(2026, 6, 1), LEAD, first=best.earliest)) == 1
    assert len(plan(term, at(2026, 6, 1), LEAD, first=best.earliest - 2 * DAY)) == 2


def test_the_last_day_before_a_step_saves_certificates() -> None:
    """A certificate until 2027-03-25: two weeks before its end is 2027-03-11, still under 200 days; with a lead of 5 days it would be after the step."""
    term = Term(at(2026, 9, 7), at(2028, 9, 7) - timedelta(seconds=1), at(2027, 3, 25), 1)
    late = plan(term, at(2027, 1, 1), timedelta(days=5))
    assert late[0].issue == at(2027, 3, 20)
    best = best_day(term, at(2027, 1, 1), timedelta(days=5))
    assert best is not None
    assert best.day < at(2027, 3, 15)
    assert best.day > at(2027, 3, 13)
    assert best.saves == 1
    assert best.count == len(late) - 1


def test_three_years_cross_both_steps() -> None:
    """2026-11-01 to 2029-10-31, worked out by hand: 199 days, then 99 each, from 2029-03-15 on 46 each."""
    term = Term(at(2026, 11, 1), at(2029, 11, 1) - timedelta(seconds=1), None)
    steps = plan(term, at(2026, 11, 1), LEAD)
    lives = [round((p.not_after - p.not_before) / DAY) for p in steps]
    assert lives[0] == 199
    assert set(lives[1:-1]) == {99, 46}
    assert all(p.issue < at(2027, 3, 15) for p in steps if round((p.not_after - p.not_before) / DAY) == 199)
    assert all(p.issue >= at(2029, 3, 15) for p in steps if round((p.not_after - p.not_before) / DAY) == 46)
    for before, after in itertools.pairwise(steps):
        assert before.not_before < after.issue < before.not_after, "no gap, and each adds something"
    assert steps[-1].not_after == term.ends


@pytest.mark.parametrize("lifetime", [1, 6, 45])
def test_short_lives_end(lifetime: int) -> None:
    term = Term(at(2026, 4, 1), at(2027, 4, 1), None)
    steps = plan(term, at(2026, 4, 1), timedelta(days=400), lifetime=lifetime)
    assert steps[-1].not_after == term.ends or len(steps) == 400
    assert len(steps) <= 400


def test_an_order_that_is_over_or_covered_needs_nothing() -> None:
    term = Term(at(2025, 1, 1), at(2026, 1, 1), at(2025, 12, 31, 20), 1)
    assert plan(term, at(2025, 6, 1), LEAD) == ()
    assert plan(Term(at(2025, 1, 1), at(2026, 1, 1), None), at(2026, 6, 1), LEAD) == ()


@pytest.mark.parametrize(
    ("rules", "validated", "until"),
    [
        (DCV_REUSE, at(2026, 4, 1), at(2026, 10, 18)),  # 200 days, before the next rule
        (DCV_REUSE, at(2027, 1, 1), at(2027, 4, 11)),  # 200 days would be 2027-07-20; from 2027-03-15 on only 100 count
        (DCV_REUSE, at(2026, 11, 1), at(2027, 3, 15)),  # older than 100 days when that rule begins
        (DCV_REUSE, at(2029, 3, 1), at(2029, 3, 15)),  # older than 10 days on 2029-03-15
        (DCV_REUSE, at(2029, 4, 1), at(2029, 4, 11)),
        (ORGANISATION_REUSE, at(2025, 1, 1), at(2026, 3, 15)),  # 825 days, cut by 398: on 2026-03-15 it is 438 days old
        (ORGANISATION_REUSE, at(2026, 4, 1), at(2027, 5, 4)),
        (EV_REUSE, at(2026, 4, 1), at(2027, 5, 4)),
    ],
)  # fmt: skip
def test_until_when_a_validation_may_be_used(rules: object, validated: datetime, until: datetime) -> None:
    assert validation_end(rules, validated) == until  # type: ignore[arg-type]
    assert valid_for(rules, validated, until - timedelta(hours=1))  # type: ignore[arg-type]
    assert not valid_for(rules, validated, until + timedelta(hours=1))  # type: ignore[arg-type]


def order(**changes: object) -> Order:
    made = Order(
        1, 1, "1001", "DigiCert", "77", "ov", "single", 1, at(2026, 4, 1), at(2027, 4, 1) - timedelta(seconds=1), ("shop.example",), dcv=at(2026, 4, 1),
        organisation=at(2025, 12, 1), issued=(Issued("a" * 64, "1", at(2026, 4, 1), at(2026, 10, 17)),),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_four_clocks_each_with_its_own_due_date() -> None:
    found = {c.what: c for c in clocks(order(), Leads(7, 7, 7), at(2026, 6, 1))}
    assert found["order"].at == at(2027, 4, 1) - timedelta(seconds=1)
    assert found["order"].due == at(2027, 3, 11) - timedelta(seconds=1), "21 days for buying, validating and installing"
    assert found["certificate"].due == at(2026, 10, 3), "14 days for validating and installing"
    assert found["dcv"].at == at(2026, 10, 18)
    assert found["dcv"].due is None, "the reissue of 2026-10-03 lies within the 200 days"
    assert found["organisation"].at == at(2027, 1, 3)
    assert found["organisation"].due is None


def test_a_validation_is_due_where_a_reissue_needs_it() -> None:
    late = order(dcv=at(2026, 3, 1), organisation=at(2025, 3, 1))
    found = {c.what: c for c in clocks(late, Leads(7, 7, 7), at(2026, 6, 1))}
    assert found["dcv"].due == at(2026, 9, 26), "seven days before the reissue of 2026-10-03"
    assert found["organisation"].due == at(2026, 9, 26)


def test_who_acts_on_a_clock() -> None:
    now = at(2026, 6, 1)
    assert {c.actor for c in clocks(order(bought_by="us"), Leads(), now)} == {"provider"}
    vendor = next(c for c in clocks(order(auto_renew=True), Leads(), now) if c.what == "order")
    assert (vendor.actor, vendor.due) == ("vendor", None)
    assert "order" not in {c.what for c in clocks(order(renewed=True), Leads(), now)}


def test_what_is_due_soon_is_sorted_and_leaves_out_the_rest() -> None:
    orders = [order(), order(id=2, state="cancelled"), order(id=3, ends=at(2026, 7, 1), issued=())]
    found = due_soon(orders, Leads(), at(2026, 6, 1), timedelta(days=60))
    assert [(o.id, c.what) for o, c in found] == [(3, "order")] or {o.id for o, _ in found} == {3}
    assert not due_soon(orders[:1], Leads(), at(2026, 6, 1), timedelta(days=10))
