"""The forecast compared with tables calculated by hand."""

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
PURCHASE = Purchase(
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


def by_month(result: Forecast, count: Callable[[ForecastTotals], int]) -> dict[str, int]:
    return {month: count(line) for month, line in result.months.items() if count(line)}


def test_purchase_of_a_year_continues_under_shorter_lifetimes() -> None:
    """
    Now 2026-06-01, until 2028-04-01. The certificate ends on 2026-10-17.
      2026-10-03  reissue 2, 199 days, cut at the end of the term, 2027-03-31   installation
      2027-03-11  bought again (21 days before the end), for 2027-04-01 to 2028-03-31
      2027-04-01  its first certificate: 99 days, to 2027-07-09                      installation
      2027-06-25  reissue (14 days before), to 2027-10-02                            installation
      2027-09-18  reissue, to 2027-12-26                                             installation
      2027-12-12  reissue, to 2028-03-20                                             installation
      2028-03-06  reissue, cut at 2028-03-31 (a tail of 11 days)                     installation
      2028-03-11  bought again
      2028-04-01  its first certificate is on the last day                           installation
    """
    result = forecast([PURCHASE], [], NOW, at(2028, 4, 1), LEADS, PRICES, UTC)
    reissues = dict.fromkeys(("2026-10", "2027-06", "2027-09", "2027-12", "2028-03"), 1)
    first = dict.fromkeys(("2027-04", "2028-04"), 1)
    assert by_month(result, lambda line: line.installations) == {**reissues, **first}
    assert by_month(result, lambda line: line.purchases) == {"2027-03": 1, "2028-03": 1}
    assert by_month(result, lambda line: line.reissues) == reissues
    assert result.total.spend == {"EUR": Decimal(120)}
    assert result.total.fees == {"EUR": Decimal(175)}, "seven installations at 25"
    assert result.total.hours == Decimal("3.5")
    # 3.5 hours less the 2 that the move of one name takes.
    assert result.acme_saves["1001"].hours == Decimal("1.5")
    assert len(result.months) == 23, "also the months in which nothing happens"


def test_assumed_lifetime_of_45_days_takes_more_installations() -> None:
    result = forecast([PURCHASE], [], NOW, at(2027, 3, 31), LEADS, PRICES, UTC, lifetime=45)
    # From 2026-10-03 every 31 days (45 less 14): 10-03, 11-03, 12-04, 01-04, 02-04, 03-07 (cut).
    assert result.total.installations == 6
    assert result.total.purchases == 1


def test_cancelled_or_renewed_purchase_is_not_bought_again() -> None:
    until = at(2028, 4, 1)
    cancelled = replace(PURCHASE, state="cancelled")
    result = forecast([cancelled], [], NOW, until, LEADS, PRICES, UTC)
    assert result.total.installations == 0
    renewed = forecast([replace(PURCHASE, renewed=True)], [], NOW, until, LEADS, PRICES, UTC)
    assert (renewed.total.purchases, renewed.total.installations) == (0, 1)


def test_certificate_without_a_purchase_counts_as_installations() -> None:
    unmanaged = UnmanagedCertificate("1002", ("blog.example",), at(2026, 8, 1))
    result = forecast([], [unmanaged], NOW, at(2027, 3, 1), LEADS, PRICES, UTC)
    # 2026-07-18, 199 days to 2027-02-02, reissued on 2027-01-19.
    assert set(by_month(result, lambda line: line.installations)) == {"2026-07", "2027-01"}
    assert result.clients["1002"].installations == 2
    assert result.total.fees == {"EUR": Decimal(40)}


def test_day_belongs_to_the_month_of_the_providers_time_zone() -> None:
    end = at(2026, 10, 15) - timedelta(hours=1)
    bought = replace(PURCHASE, issued=(PurchasedCertificate("a" * 64, "1", at(2026, 4, 1), end),))
    zone = ZoneInfo("Europe/Berlin")
    result = forecast([bought], [], NOW, at(2026, 12, 1), LEADS, PRICES, zone)
    # 2026-09-30 23:00 UTC is October in Berlin.
    assert set(by_month(result, lambda line: line.installations)) == {"2026-10"}
