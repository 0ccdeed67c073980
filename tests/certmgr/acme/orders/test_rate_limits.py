"""The ledger of orders against the limits of a CA."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from certmgr.acme.cas import RateLimit, RateLimits
from certmgr.acme.orders import rate_limits
from certmgr.acme.orders.rate_limits import Ledger, RateLimitEvent
from inventory.records import RateEventRecord
from inventory.vocabulary import RateEventKind

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
AT = int(NOW.timestamp())


def test_sixth_order_of_a_set_waits_until_the_first_is_a_week_old() -> None:
    ledger = Ledger(RateLimits(exact=RateLimit(5, 7 * 86_400)))
    for hours in (100, 80, 60, 40, 20):
        ledger.add(
            RateLimitEvent(
                "exact", rate_limits.name_set_digest(["a.test", "b.test"]), AT - hours * 3600
            )
        )
    decision = ledger.allows(1, ["b.test", "a.test"], AT)
    assert decision.until == AT - 100 * 3600 + 7 * 86_400
    assert "5 in 7 d" in decision.reason
    assert ledger.allows(1, ["a.test"], AT).until is None
    assert ledger.allows(1, ["b.test", "a.test"], AT, exempt=True).until is None
    assert ledger.allows(1, ["b.test", "a.test"], decision.until).until is None


def test_domains_are_counted_by_the_public_suffix_list() -> None:
    assert rate_limits.registered_domains(
        ["*.shop.example.co.uk", "example.co.uk", "a.github.io", "192.0.2.1"]
    ) == [
        "example.co.uk",
        "a.github.io",
        "192.0.2.1",
    ]
    ledger = Ledger(RateLimits(domain=RateLimit(2, 86_400)))
    for _ in range(2):
        ledger.order(1, ["www.example.co.uk"], AT - 60)
    assert ledger.allows(1, ["shop.example.co.uk"], AT).until == AT - 60 + 86_400
    assert ledger.allows(1, ["other.co.uk"], AT).until is None


def test_accounts_and_failing_names_have_separate_limits() -> None:
    ledger = Ledger(RateLimits(account=RateLimit(1, 10_800), failure=RateLimit(5, 3600)))
    ledger.add(RateLimitEvent("order", "1", AT - 10))
    assert ledger.allows(1, ["a.test"], AT).until == AT - 10 + 10_800
    assert ledger.allows(2, ["a.test"], AT).until is None
    for i in range(5):
        ledger.add(RateLimitEvent("failure", "2:bad.test", AT - i))
    assert ledger.allows(2, ["bad.test"], AT).until == AT - 4 + 3600
    assert ledger.allows(2, ["a.test"], AT).until is None


def test_longest_of_several_waits_counts() -> None:
    ledger = Ledger(RateLimits(account=RateLimit(1, 10_800), domain=RateLimit(1, 7 * 86_400)))
    ledger.order(1, ["a.test"], AT)
    assert ledger.allows(1, ["a.test"], AT).until == AT + 7 * 86_400


def test_exempt_rows_do_not_become_events() -> None:
    row = RateEventRecord(
        id=1,
        account_id=1,
        at=AT,
        kind=RateEventKind.CERTIFICATE,
        domain="a.test",
        names=None,
        exempt=0,
    )
    assert rate_limits.events_from_rows(
        [row, replace(row, exempt=1), replace(row, domain=None, names="x")]
    ) == [
        RateLimitEvent("certificate", "a.test", AT),
        RateLimitEvent("exact", "x", AT),
    ]
