"""Purchases compared with served certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certmgr.purchases.coverage import belongs, covered_by, overlaps, remarks, unused_days
from certmgr.purchases.model import Purchase, PurchasedCertificate
from certmgr.renewers.renewer import DomainParties, RenewalFacts
from inventory.vocabulary import Parties

NOW = datetime(2026, 11, 25, tzinfo=UTC)
DAY = timedelta(days=1)
# A hosting panel renews one domain of client 1.
PANEL = RenewalFacts(
    now=NOW,
    domains={1: {"panel.example": DomainParties(True, Parties(renews="panel"), ())}},
)


def purchase(
    id: int = 1, client_id: int = 1, names: tuple[str, ...] = ("shop.example",), **given: object
) -> Purchase:
    term = {"starts": NOW - 100 * DAY, "ends": NOW + 265 * DAY}
    values: dict[str, object] = {"names": names, **term, **given}
    client = f"100{client_id}"
    number = f"N{id}"
    return Purchase(id, client_id, client, "DigiCert", number, "dv", "single", 1, **values)  # type: ignore[arg-type]


def leaf(
    start: float, end: float, names: tuple[str, ...] = ("shop.example",), sha: str = "a"
) -> PurchasedCertificate:
    return PurchasedCertificate(sha * 64, "1", NOW + start * DAY, NOW + end * DAY, names)


def test_days_that_no_certificate_covered_are_unused() -> None:
    assert unused_days(purchase(), NOW) == 100
    assert unused_days(purchase(issued=(leaf(-100, 99),)), NOW) == 0
    three = (leaf(-80, -50), leaf(-60, -30), leaf(-10, 90))
    assert unused_days(purchase(issued=three), NOW) == 40, "20 before, 20 between"
    cancelled = purchase(state="cancelled", issued=(leaf(-100, 0),))
    assert unused_days(cancelled, NOW) == 265, "the rest of a cancelled term"


def test_two_purchases_for_one_name_overlap_unless_one_only_follows_the_other() -> None:
    follows = purchase(2, starts=NOW + 240 * DAY, ends=NOW + 600 * DAY)
    assert list(overlaps([purchase(1), follows], NOW)) == []
    (remark,) = overlaps([purchase(1), purchase(2, starts=NOW - 10 * DAY)], NOW)
    assert (remark.kind, remark.days) == ("overlap", 275)
    assert list(overlaps([purchase(1), purchase(2, client_id=2)], NOW)) == [], "another client's"


def test_names_and_certificates_without_a_purchase_are_reported_unless_a_panel_renews() -> None:
    bought = purchase(names=("*.shop.example", "shop.example"), issued=(leaf(-100, 99),))
    names = [
        ("1001", 1, "shop.example"),
        ("1001", 1, "www.shop.example"),
        ("1001", 1, "blog.other.example"),
        ("1001", 1, "panel.example"),
        ("1002", 2, "shop2.example"),
    ]
    blog, panel = ("blog.other.example",), ("panel.example",)
    live = [
        ("1001", 1, leaf(-100, 99), "DigiCert Inc"),
        ("1001", 1, leaf(-5, 85, blog, "b"), "Let's Encrypt"),
        ("1001", 1, leaf(-5, 85, panel, "c"), "Let's Encrypt"),
    ]
    results = remarks([bought], names, live, PANEL, NOW)
    assert [(r.kind, r.client, r.label) for r in results] == [
        ("uncovered", "1001", "blog.other.example"),
        ("uncovered", "1002", "shop2.example"),
        ("orphan", "1001", "blog.other.example"),
    ]


def test_certificate_belongs_to_a_purchase_by_names_term_and_vendor() -> None:
    bought = purchase(names=("shop.example",))
    with_www, with_other = ("shop.example", "www.shop.example"), ("shop.example", "other.example")
    assert belongs(bought, leaf(-10, 90, with_www), "DigiCert Inc")
    assert not belongs(bought, leaf(-10, 90, with_other), "DigiCert Inc"), "a name is not covered"
    assert not belongs(bought, leaf(-10, 90), "Let's Encrypt"), "another CA"
    assert not belongs(bought, leaf(-200, -50), "DigiCert Inc"), "before the term"
    assert not belongs(bought, leaf(-10, 90, ()), "DigiCert Inc"), "no name"


def test_wildcard_of_a_purchase_covers_one_label() -> None:
    wild = purchase(names=("*.shop.example",))
    assert covered_by(wild, "www.shop.example")
    assert not covered_by(wild, "shop.example")
    assert not covered_by(wild, "a.b.shop.example")
