"""A paid term as a series of certificates, on both sides of each step of the rules."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certmgr.purchases.model import LeadTimes, Purchase, PurchasedCertificate
from certmgr.purchases.terms import (
    DAY,
    DCV_REUSE,
    EV_REUSE,
    ORGANISATION_REUSE,
    Term,
    best_day,
    due_soon,
    is_reusable,
    max_lifetime,
    plan,
    purchase_deadlines,
    validation_end,
)

LEAD = LeadTimes().reissue  # 14 days
SECOND = timedelta(seconds=1)


def at(year: int, month: int, day: int, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("issued", "days"),
    [
        (at(2026, 3, 14, 23), 397),
        (at(2026, 3, 15), 199),
        (at(2027, 3, 14, 23), 199),
        (at(2027, 3, 15), 99),
        (at(2029, 3, 14, 23), 99),
        (at(2029, 3, 15), 46),
    ],
)
def test_lifetime_is_a_day_less_than_the_limit_of_the_day_of_issue(
    issued: datetime, days: int
) -> None:
    assert max_lifetime(issued) == timedelta(days=days)


def test_assumed_lifetime_never_exceeds_the_limit() -> None:
    assert max_lifetime(at(2026, 6, 1), 45) == timedelta(days=45)
    assert max_lifetime(at(2029, 6, 1), 90) == timedelta(days=46)


def test_year_of_199_days_takes_two_certificates() -> None:
    """2026-04-01 + 199 d = 2026-10-17. Reissued 14 d before, on 2026-10-03, 199 d reach past the
    end of the purchase, and are cut there.
    """
    term = Term(at(2026, 4, 1), at(2027, 4, 1) - SECOND, None)
    first, second = plan(term, at(2026, 4, 1), LEAD)
    assert first.not_after == at(2026, 10, 17) - SECOND
    assert second.issue == at(2026, 10, 3) - SECOND
    assert second.not_after == term.ends, "no certificate outlives its purchase"


def test_early_reissue_leaves_a_tail_that_needs_a_third_certificate() -> None:
    """The case that DigiCert describes: 90 days early."""
    term = Term(at(2026, 4, 1), at(2027, 4, 1) - SECOND, at(2026, 10, 17), 1)
    now = at(2026, 6, 1)
    early = plan(term, now, LEAD, first=at(2026, 7, 19))
    assert [p.number for p in early] == [2, 3]
    assert early[0].not_after < term.ends
    assert early[1].tail
    best = best_day(term, now, LEAD)
    assert best is not None
    assert best.earliest is not None
    # 2027-04-01 less 199 days is 2026-09-14: a reissue on that day reaches the end of the term,
    # and one before it does not.
    assert at(2026, 9, 14) <= best.earliest <= at(2026, 9, 16)
    assert len(plan(term, now, LEAD, first=best.earliest)) == 1
    assert len(plan(term, now, LEAD, first=best.earliest - 2 * DAY)) == 2


def test_last_day_before_a_step_saves_a_certificate() -> None:
    """A certificate until 2027-03-25: two weeks before its end is 2027-03-11, still under 200 days.
    With a lead of 5 days it would be after the step.
    """
    term = Term(at(2026, 9, 7), at(2028, 9, 7) - SECOND, at(2027, 3, 25), 1)
    now, lead = at(2027, 1, 1), timedelta(days=5)
    late = plan(term, now, lead)
    assert late[0].issue == at(2027, 3, 20)
    best = best_day(term, now, lead)
    assert best is not None
    assert at(2027, 3, 13) < best.day < at(2027, 3, 15)
    assert best.saves == 1
    assert best.count == len(late) - 1


def test_term_of_three_years_crosses_both_steps_without_a_gap() -> None:
    """2026-11-01 to 2029-10-31, by hand: 199 days, then 99 each, from 2029-03-15 on 46."""
    term = Term(at(2026, 11, 1), at(2029, 11, 1) - SECOND, None)
    steps = plan(term, at(2026, 11, 1), LEAD)
    lives = [round((p.not_after - p.not_before) / DAY) for p in steps]
    assert lives[0] == 199
    assert set(lives[1:-1]) == {99, 46}
    issued = [(life, p.issue) for life, p in zip(lives, steps, strict=True)]
    assert all(when < at(2027, 3, 15) for life, when in issued if life == 199)
    assert all(when >= at(2029, 3, 15) for life, when in issued if life == 46)
    for before, after in itertools.pairwise(steps):
        assert before.not_before < after.issue < before.not_after, "each adds something"
    assert steps[-1].not_after == term.ends


@pytest.mark.parametrize("lifetime", [1, 6, 45])
def test_plan_of_short_lifetimes_comes_to_an_end(lifetime: int) -> None:
    term = Term(at(2026, 4, 1), at(2027, 4, 1), None)
    steps = plan(term, at(2026, 4, 1), timedelta(days=400), lifetime=lifetime)
    assert steps[-1].not_after == term.ends or len(steps) == 400
    assert len(steps) <= 400


def test_purchase_that_ended_or_is_covered_needs_no_certificate() -> None:
    covered = Term(at(2025, 1, 1), at(2026, 1, 1), at(2025, 12, 31, 20), 1)
    assert plan(covered, at(2025, 6, 1), LEAD) == ()
    assert plan(Term(at(2025, 1, 1), at(2026, 1, 1), None), at(2026, 6, 1), LEAD) == ()


@pytest.mark.parametrize(
    ("rules", "validated", "until"),
    [
        # 200 days, before the next rule.
        (DCV_REUSE, at(2026, 4, 1), at(2026, 10, 18)),
        # 200 days would be 2027-07-20; from 2027-03-15 on only 100 count.
        (DCV_REUSE, at(2027, 1, 1), at(2027, 4, 11)),
        # Older than 100 days when that rule begins.
        (DCV_REUSE, at(2026, 11, 1), at(2027, 3, 15)),
        # Older than 10 days on 2029-03-15.
        (DCV_REUSE, at(2029, 3, 1), at(2029, 3, 15)),
        (DCV_REUSE, at(2029, 4, 1), at(2029, 4, 11)),
        # 825 days, cut by 398: on 2026-03-15 it is 438 days old.
        (ORGANISATION_REUSE, at(2025, 1, 1), at(2026, 3, 15)),
        (ORGANISATION_REUSE, at(2026, 4, 1), at(2027, 5, 4)),
        (EV_REUSE, at(2026, 4, 1), at(2027, 5, 4)),
    ],
)
def test_validation_can_be_reused_until_the_rule_ends_it(
    rules: Any, validated: datetime, until: datetime
) -> None:
    hour = timedelta(hours=1)
    assert validation_end(rules, validated) == until
    assert is_reusable(rules, validated, until - hour)
    assert not is_reusable(rules, validated, until + hour)


NOW = at(2026, 6, 1)


def purchase(**changes: Any) -> Purchase:
    base = Purchase(
        1,
        1,
        "1001",
        "DigiCert",
        "77",
        "ov",
        "single",
        1,
        at(2026, 4, 1),
        at(2027, 4, 1) - SECOND,
        ("shop.example",),
        dcv=at(2026, 4, 1),
        organisation=at(2025, 12, 1),
        issued=(PurchasedCertificate("a" * 64, "1", at(2026, 4, 1), at(2026, 10, 17)),),
    )
    return replace(base, **changes)


def test_purchase_certificate_and_validations_each_have_a_due_date() -> None:
    deadlines = {c.kind: c for c in purchase_deadlines(purchase(), LeadTimes(7, 7, 7), NOW)}
    assert deadlines["order"].at == at(2027, 4, 1) - SECOND
    # 21 days for buying, validating and installing; 14 for validating and installing.
    assert deadlines["order"].due == at(2027, 3, 11) - SECOND
    assert deadlines["certificate"].due == at(2026, 10, 3)
    # The reissue of 2026-10-03 lies within the 200 days.
    assert (deadlines["dcv"].at, deadlines["dcv"].due) == (at(2026, 10, 18), None)
    assert (deadlines["organisation"].at, deadlines["organisation"].due) == (at(2027, 1, 3), None)


def test_validation_is_due_a_week_before_the_reissue_that_needs_it() -> None:
    late = purchase(dcv=at(2026, 3, 1), organisation=at(2025, 3, 1))
    deadlines = {c.kind: c for c in purchase_deadlines(late, LeadTimes(7, 7, 7), NOW)}
    assert deadlines["dcv"].due == at(2026, 9, 26)
    assert deadlines["organisation"].due == at(2026, 9, 26)


def test_actor_of_a_purchase_is_its_buyer_and_a_renewed_one_has_no_deadline() -> None:
    ours = purchase_deadlines(purchase(bought_by="us"), LeadTimes(), NOW)
    assert {c.actor for c in ours} == {"provider"}
    automatic = purchase_deadlines(purchase(auto_renew=True), LeadTimes(), NOW)
    vendor = next(c for c in automatic if c.kind == "order")
    assert (vendor.actor, vendor.due) == ("vendor", None)
    assert "order" not in {
        c.kind for c in purchase_deadlines(purchase(renewed=True), LeadTimes(), NOW)
    }


def test_purchases_due_soon_are_sorted_without_cancelled_and_later_ones() -> None:
    later = purchase(id=3, ends=at(2026, 7, 1), issued=())
    sooner = purchase(id=4, ends=at(2026, 6, 25), issued=())
    purchases = [purchase(), purchase(id=2, state="cancelled"), later, sooner]
    due = due_soon(purchases, LeadTimes(), NOW, timedelta(days=60))
    assert [(o.id, c.kind) for o, c in due] == [(4, "order"), (3, "order")]
    assert not due_soon(purchases[:1], LeadTimes(), NOW, timedelta(days=10))
