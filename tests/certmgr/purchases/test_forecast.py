"""The forecast compared with tables that were worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from certmgr.purchases.forecast import (
    Forecast,
    ForecastTotals,
    Prices,
    UnmanagedCertificate,
    forecast,
)
from certmgr.purchases.model import LeadTimes, Purchase, PurchasedCertificate

YEARS = (Decimal(60), Decimal(110), Decimal(150))
PRICES = Prices("EUR", Decimal(20), Decimal("0.5"), Decimal(80), YEARS, Decimal(2))
LEADS = LeadTimes(7, 7, 7)


def at(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


NOW = at(2026, 6, 1)
ORDER = Purchase(
    1,
    1,
    "1001",
    "DigiCert",
    "77",
    "dv",
    "single",
    1,
    at(2026, 4, 1),
    at(2027, 4, 1) - timedelta(seconds=1),
    ("shop.example",),
    price=Decimal(60),
    fee=Decimal(25),
    currency="EUR",
    issued=(PurchasedCertificate("a" * 64, "1", at(2026, 4, 1), at(2026, 10, 17)),),
)


def by_month(made: Forecast, count: Callable[[ForecastTotals], int]) -> dict[str, int]:
    return {month: count(line) for month, line in made.months.items() if count(line)}


def test_order_of_a_year_goes_on_under_shorter_lifetimes() -> None:
    """
    Now 2026-06-01, until 2028-04-01. The certificate ends on 2026-10-17.
      2026-10-03  reissue 2, 199 days, cut at the order's end 2027-03-31           installation
      2027-03-11  bought again (21 days before the end), for 2027-04-01 to 2028-03-31
      2027-04-01  its first certificate: 99 days, to 2027-07-09                      installation
      2027-06-25  reissue (14 days before), to 2027-10-02                            installation
      2027-09-18  reissue, to 2027-12-26                                             installation
      2027-12-12  reissue, to 2028-03-20                                             installation
      2028-03-06  reissue, cut at 2028-03-31 (a tail of 11 days)                     installation
      2028-03-11  bought again
      2028-04-01  its first certificate is on the last day                           installation
    """
    made = forecast([ORDER], [], NOW, at(2028, 4, 1), LEADS, PRICES, UTC)
    reissues = dict.fromkeys(("2026-10", "2027-06", "2027-09", "2027-12", "2028-03"), 1)
    first = dict.fromkeys(("2027-04", "2028-04"), 1)
    assert by_month(made, lambda line: line.installations) == {**reissues, **first}
    assert by_month(made, lambda line: line.orders) == {"2027-03": 1, "2028-03": 1}
    assert by_month(made, lambda line: line.reissues) == reissues
    assert made.total.spend == {"EUR": Decimal(120)}
    assert made.total.fees == {"EUR": Decimal(175)}, "seven installations at 25"
    assert made.total.hours == Decimal("3.5")
    # 3.5 hours less the 2 that the move of one name takes.
    assert made.acme_saves["1001"].hours == Decimal("1.5")
    assert len(made.months) == 23, "also the months in which nothing happens"


def test_supposed_lifetime_of_45_days_takes_more_installations() -> None:
    made = forecast([ORDER], [], NOW, at(2027, 3, 31), LEADS, PRICES, UTC, lifetime=45)
    # From 2026-10-03 every 31 days (45 less 14): 10-03, 11-03, 12-04, 01-04, 02-04, 03-07 (cut).
    assert made.total.installations == 6
    assert made.total.orders == 1


def test_cancelled_or_renewed_order_is_not_bought_again() -> None:
    until = at(2028, 4, 1)
    cancelled = replace(ORDER, state="cancelled")
    made = forecast([cancelled], [], NOW, until, LEADS, PRICES, UTC)
    assert made.total.installations == 0
    renewed = forecast([replace(ORDER, renewed=True)], [], NOW, until, LEADS, PRICES, UTC)
    assert (renewed.total.orders, renewed.total.installations) == (0, 1)


def test_certificate_without_an_order_counts_as_installations() -> None:
    loose = UnmanagedCertificate("1002", ("blog.example",), at(2026, 8, 1))
    made = forecast([], [loose], NOW, at(2027, 3, 1), LEADS, PRICES, UTC)
    # 2026-07-18, 199 days to 2027-02-02, reissued on 2027-01-19.
    assert set(by_month(made, lambda line: line.installations)) == {"2026-07", "2027-01"}
    assert made.clients["1002"].installations == 2
    assert made.total.fees == {"EUR": Decimal(40)}


def test_day_belongs_to_the_month_of_the_providers_time_zone() -> None:
    end = at(2026, 10, 15) - timedelta(hours=1)
    order = replace(ORDER, issued=(PurchasedCertificate("a" * 64, "1", at(2026, 4, 1), end),))
    zone = ZoneInfo("Europe/Berlin")
    made = forecast([order], [], NOW, at(2026, 12, 1), LEADS, PRICES, zone)
    # 2026-09-30 23:00 UTC is October in Berlin.
    assert set(by_month(made, lambda line: line.installations)) == {"2026-10"}
