"""Orders per day at a future certificate lifetime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certmgr.acme.cas import CertificateAuthority, RateLimit, RateLimits
from certmgr.acme.renewal.simulate import SimulatedLineage, simulate

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_certificates_of_45_days_are_renewed_every_30_days() -> None:
    """A certificate is renewed with a third of its 45 days left: every 30 days."""
    items = [
        SimulatedLineage(
            f"l{i}", (f"a{i}.test",), 1, "ca", NOW - 50 * DAY, NOW + (40 + i % 10) * DAY
        )
        for i in range(100)
    ]
    found = simulate(
        items,
        {"ca": CertificateAuthority("ca", "CA", "https://ca.test")},
        45 * DAY,
        NOW,
        NOW + 365 * DAY,
    )
    assert found.postponed == 0
    assert 100 * 11 <= found.orders <= 100 * 12
    assert sum(found.days.values()) == found.orders


def test_orders_over_a_limit_are_postponed_unless_they_are_exempt() -> None:
    """60 names of one domain are due on one day; the CA allows 50 per week."""
    items = [
        SimulatedLineage(f"l{i}", (f"h{i}.shop.example",), 1, "ca", NOW - 60 * DAY, NOW + 30 * DAY)
        for i in range(60)
    ]
    ca = CertificateAuthority(
        "ca", "CA", "https://ca.test", limits=RateLimits(domain=RateLimit(50, 7 * 86_400))
    )
    found = simulate(items, {"ca": ca}, 90 * DAY, NOW, NOW + 20 * DAY)
    assert found.orders == 60
    assert found.days[NOW.date()] == 50 and found.days[(NOW + 7 * DAY).date()] == 10
    assert found.postponed == 10 and not found.expired
    assert "50 in 7 d for certificates of shop.example" in found.hits[0].reason
    exempt = simulate(
        [
            SimulatedLineage(
                **{
                    f: getattr(i, f)
                    for f in ("name", "names", "account", "ca", "not_before", "not_after")
                },
                ari=True,
            )
            for i in items
        ],
        {"ca": ca},
        90 * DAY,
        NOW,
        NOW + 20 * DAY,
    )
    assert exempt.postponed == 0
