"""Terms of one, two and three years compared with ACME."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from certmgr.purchases.compare import assumptions, compare
from tests.certmgr.purchases.test_forecast import LEADS, PRICES


def test_costs_of_each_term_agree_with_a_calculation_by_hand() -> None:
    """From 2030-01-01 every certificate lives 46 days and is reissued 14 days before its end, so
    that each after the first adds 32 days.

    A year: 1 + ceil((365 - 46) / 32) = 11. Two years: 1 + ceil((730 - 46) / 32) = 23. Three years,
    with a leap day: 1 + ceil((1,096 - 46) / 32) = 34.
    """
    now = datetime(2030, 1, 1, tzinfo=UTC)
    one, two, three, acme = compare(2, now, LEADS, PRICES)
    assert [c.name for c in (one, two, three, acme)] == ["1 year", "2 years", "3 years", "ACME"]
    assert (one.purchases, two.purchases, three.purchases) == (6, 4, 2), "for two certificates"
    assert (one.prepaid, two.prepaid, three.prepaid) == (0, 1, 0)
    assert one.price == Decimal(60) * 3 * 2
    assert two.price == Decimal(110) * 3 / 2 * 2, "the year beyond is not counted"
    assert three.price == Decimal(150) * 2
    assert (one.installations, three.installations) == (2 * 3 * 11, 2 * 34)
    # Of the second term, those of its first year: days 0, 32, ... 352.
    assert two.installations == 2 * (23 + 12)
    assert three.fees == three.installations * Decimal(20)
    assert three.work == three.installations * Decimal("0.5") * 80
    assert (acme.installations, acme.price, acme.cost) == (0, Decimal(0), Decimal(2) * 2 * 80)


def test_assumptions_name_each_price_and_the_lifetime() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    lines = "\n".join(assumptions(now, LEADS, PRICES, 2, None))
    for word in ("60 EUR", "20 EUR", "0.5 hours", "80 EUR", "46 from 2029-03-15"):
        assert word in lines
