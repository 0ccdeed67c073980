"""The forecast against tables worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from certmgr.orders.billing import billing, month_span, totals
from certmgr.orders.compare import assumptions, compare
from certmgr.orders.forecast import Loose, Prices, forecast
from certmgr.orders.model import Issued, Leads, Order

PRICES = Prices("EUR", Decimal(20), Decimal("0.5"), Decimal(80), (Decimal(60), Decimal(110), Decimal(150)), Decimal(2))
LEADS = Leads(7, 7, 7)


def at(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


ORDER = Order(
    1, 1, "1001", "DigiCert", "77", "dv", "single", 1, at(2026, 4, 1), at(2027, 4, 1) - timedelta(seconds=1), ("shop.example",), price=Decimal(60), fee=Decimal(25),
    currency="EUR", issued=(Issued("a" * 64, "1", at(2026, 4, 1), at(2026, 10, 17)),),
)  # fmt: skip


def test_one_year_goes_on_under_shorter_lives() -> None:
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
      2028-04-01  its first certificate lies on the last day                         installation
    """
    made = forecast([ORDER], [], at(2026, 6, 1), at(2028, 4, 1), LEADS, PRICES, UTC)
    installs = {m: line.installations for m, line in made.months.items() if line.installations}
    assert installs == {"2026-10": 1, "2027-04": 1, "2027-06": 1, "2027-09": 1, "2027-12": 1, "2028-03": 1, "2028-04": 1}
    assert {m: line.orders for m, line in made.months.items() if line.orders} == {"2027-03": 1, "2028-03": 1}
    assert {m: line.reissues for m, line in made.months.items() if line.reissues} == {
        "2026-10": 1,
        "2027-06": 1,
        "2027-09": 1,
        "2027-12": 1,
        "2028-03": 1,
    }
    assert made.total.spend == {"EUR": Decimal(120)}
    assert made.total.fees == {"EUR": Decimal(175)}, "seven installations at 25"
    assert made.total.hours == Decimal("3.5")
    assert made.acme_saves["1001"].hours == Decimal("1.5"), "3.5 hours less the 2 that the move of one name takes"
    assert len(made.months) == 23, "every month stands there, also where nothing happens"


def test_what_if_lives_were_45_days() -> None:
    made = forecast([ORDER], [], at(2026, 6, 1), at(2027, 3, 31), LEADS, PRICES, UTC, lifetime=45)
    # From 2026-10-03 every 31 days (45 less 14): 10-03, 11-03, 12-04, 01-04, 02-04, 03-07 (cut at the end).
    assert made.total.installations == 6
    assert made.total.orders == 1


def test_a_cancelled_or_renewed_order_is_not_bought_again() -> None:
    until = at(2028, 4, 1)
    assert forecast([replace(ORDER, state="cancelled")], [], at(2026, 6, 1), until, LEADS, PRICES, UTC).total.installations == 0
    renewed = forecast([replace(ORDER, renewed=True)], [], at(2026, 6, 1), until, LEADS, PRICES, UTC)
    assert (renewed.total.orders, renewed.total.installations) == (0, 1)


def test_certificates_of_no_order_count_as_installations() -> None:
    loose = Loose("1002", ("blog.example",), at(2026, 8, 1))
    made = forecast([], [loose], at(2026, 6, 1), at(2027, 3, 1), LEADS, PRICES, UTC)
    # 2026-07-18, 199 days to 2027-02-02, reissued on 2027-01-19.
    assert {m for m, line in made.months.items() if line.installations} == {"2026-07", "2027-01"}
    assert made.clients["1002"].installations == 2
    assert made.total.fees == {"EUR": Decimal(40)}


def test_a_day_belongs_to_the_month_of_the_providers_zone() -> None:
    from zoneinfo import ZoneInfo

    order = replace(ORDER, issued=(Issued("a" * 64, "1", at(2026, 4, 1), at(2026, 10, 15) - timedelta(hours=1)),))
    made = forecast([order], [], at(2026, 6, 1), at(2026, 12, 1), LEADS, PRICES, ZoneInfo("Europe/Berlin"))
    assert [m for m, line in made.months.items() if line.installations] == ["2026-10"], (
        "2026-09-30 23:00 UTC is October in Berlin"
    )


def test_terms_side_by_side() -> None:
    """From 2030-01-01 every certificate lives 46 days and is reissued 14 before its end, so each after the first adds 32 days.

    A year: 1 + ceil((365 - 46) / 32) = 11. Two years: 1 + ceil((730 - 46) / 32) = 23. Three, with a leap day: 1 + ceil((1,096 - 46) / 32) = 34.
    """
    one, two, three, acme = compare(2, at(2030, 1, 1), LEADS, PRICES)
    assert [c.name for c in (one, two, three, acme)] == ["1 year", "2 years", "3 years", "ACME"]
    assert (one.purchases, two.purchases, three.purchases) == (6, 4, 2), "for two certificates"
    assert (one.prepaid, two.prepaid, three.prepaid) == (0, 1, 0)
    assert one.price == Decimal(60) * 3 * 2
    assert two.price == Decimal(110) * 3 / 2 * 2, "the year beyond is not counted"
    assert three.price == Decimal(150) * 2
    assert (one.installations, three.installations) == (2 * 3 * 11, 2 * 34)
    assert two.installations == 2 * (23 + 12), "of the second term those of its first year: days 0, 32, ... 352"
    assert three.fees == three.installations * Decimal(20)
    assert three.work == three.installations * Decimal("0.5") * 80
    assert (acme.installations, acme.price, acme.cost) == (0, Decimal(0), Decimal(2) * 2 * 80)
    said = "\n".join(assumptions(at(2030, 1, 1), LEADS, PRICES, 2, None))
    for word in ("60 EUR", "20 EUR", "0.5 hours", "80 EUR", "46 from 2029-03-15"):
        assert word in said


def test_billing_of_a_month() -> None:
    start, end = month_span("2026-11", UTC)
    assert (start, end) == (at(2026, 11, 1), at(2026, 12, 1))
    closed = [
        {
            "client": "1001",
            "client_name": "A",
            "billed_at": at(2026, 11, 5).timestamp(),
            "reference": "CM-A",
            "names": ["a.example"],
            "fee": "25",
            "currency": "EUR",
            "approved_by": "Ada",
        },
        {
            "client": "1002",
            "client_name": "B",
            "billed_at": at(2026, 11, 6).timestamp(),
            "reference": "CM-B",
            "names": ["b.example"],
            "fee": None,
            "currency": None,
            "approved_by": None,
        },
    ]
    bought = [
        {
            "client": "1001",
            "client_name": "A",
            "starts_at": at(2026, 11, 2).timestamp(),
            "vendor": "V",
            "number": None,
            "id": 7,
            "years": 1,
            "names": ["a.example"],
            "price": "80",
            "currency": "CHF",
        }
    ]
    found = billing(closed, bought, Decimal(20), "EUR", UTC)
    assert [(e.client, e.kind, e.amount) for e in found] == [
        ("1001", "purchase", Decimal(80)),
        ("1001", "installation", Decimal(25)),
        ("1002", "installation", Decimal(20)),
    ]
    assert totals(found) == {"CHF": Decimal(80), "EUR": Decimal(45)}
