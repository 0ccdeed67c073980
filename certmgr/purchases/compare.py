"""One, two and three years, and ACME, side by side for some names over three years. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from certmgr.purchases.forecast import Prices
from certmgr.purchases.model import LeadTimes
from certmgr.purchases.terms import Term, plan
from inventory.store.purchases import years_later

YEARS = 3


@dataclass(frozen=True, slots=True)
class PurchaseOption:
    """``purchases``: how often it is bought in three years; ``prepaid``: years that are paid beyond
    them. ``cost``: purchases (the share of the three years), fees and work together.
    """

    name: str
    purchases: int
    prepaid: int
    installations: int
    price: Decimal
    fees: Decimal
    hours: Decimal
    work: Decimal

    @property
    def cost(self) -> Decimal:
        return self.price + self.fees + self.work


def compare(
    certificates: int, now: datetime, leads: LeadTimes, prices: Prices, lifetime: int | None = None
) -> list[PurchaseOption]:
    """``certificates``: how many are bought (one covers all names of a multi-name product)."""
    end = years_later(now, YEARS)
    found = []
    for years in (1, 2, 3):
        starts, count, installs = now, 0, 0
        while starts < end:
            ends = years_later(starts, years)
            steps = plan(Term(starts, ends, None), starts, leads.reissue, lifetime=lifetime)
            installs += sum(s.issue <= end for s in steps)
            starts, count = ends + timedelta(seconds=1), count + 1
        share = prices.of(years) * YEARS / years
        found.append(
            _choice(
                f"{years} year{'s' if years > 1 else ''}",
                count,
                count * years - YEARS,
                installs,
                share,
                certificates,
                prices,
            )
        )
    hours = prices.acme_hours * certificates
    found.append(
        PurchaseOption(
            name="ACME",
            purchases=0,
            prepaid=0,
            installations=0,
            price=Decimal(0),
            fees=Decimal(0),
            hours=hours,
            work=hours * prices.rate,
        )
    )
    return found


def _choice(
    name: str,
    purchases: int,
    prepaid: int,
    installs: int,
    price: Decimal,
    certificates: int,
    prices: Prices,
) -> PurchaseOption:
    installs *= certificates
    hours = prices.hours * installs
    return PurchaseOption(
        name=name,
        purchases=purchases * certificates,
        prepaid=prepaid,
        installations=installs,
        price=price * certificates,
        fees=prices.fee * installs,
        hours=hours,
        work=hours * prices.rate,
    )


def assumptions(
    now: datetime, leads: LeadTimes, prices: Prices, certificates: int, lifetime: int | None
) -> list[str]:
    """What the figures rest on, in words."""
    years = ", ".join(f"{i + 1}: {p} {prices.currency}" for i, p in enumerate(prices.by_years))
    return [
        f"three years from {now:%Y-%m-%d}, {certificates} certificate(s)",
        (
            f"prices of a term in years: {years} ([forecast] price_1, price_2, price_3); terms of"
            " which a part lies beyond count with their share"
        ),
        (
            f"a reissue {(leads.validation + leads.installation)} days before the end ([notify]"
            " validation_days, installation_days)"
        ),
        "longest lives by date of issue: 199 days, 99 from 2027-03-15, 46 from 2029-03-15 (BR"
        " 6.3.2, a day below the limit)"
        + (f"; never more than {lifetime} days (--lifetime)" if lifetime else ""),
        (
            f"an installation: {prices.fee} {prices.currency} fee, {prices.hours} hours of work at"
            f" {prices.rate} {prices.currency} ([forecast] fee, hours, rate)"
        ),
        (
            f"ACME: {prices.acme_hours} hours once a certificate ([forecast] acme_hours), a CA that"
            " costs nothing, and no installation by hand after that"
        ),
    ]
