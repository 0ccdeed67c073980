"""Comparison of one-, two- and three-year purchases with ACME, over three years. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from certmgr.purchases.forecast import Prices
from certmgr.purchases.model import LeadTimes
from certmgr.purchases.terms import Term, plan
from inventory.store.purchase_values import years_later

YEARS = 3


@dataclass(frozen=True, slots=True)
class PurchaseOption:
    """One row of the comparison.

    Attributes:
        name: The term, or ACME.
        purchases: Number of purchases within the three years.
        prepaid: Years of the last term that lie beyond the three years.
        installations: Number of manual installations.
        price: Share of the purchase prices that falls into the three years.
        fees: Installation fees.
        hours: Hours of work.
        work: Cost of that work.
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
        """All costs of the term: price, fees and work."""
        return self.price + self.fees + self.work


def compare(
    certificates: int, now: datetime, leads: LeadTimes, prices: Prices, lifetime: int | None = None
) -> list[PurchaseOption]:
    """Return the options for some names over the next three years.

    Args:
        certificates: Number of certificates to buy. One multi-name product covers all names.
        now: First day of the three years.
        leads: Lead times of a reissue.
        prices: Prices, fees and rates of the configuration.
        lifetime: Assumed maximum lifetime of a certificate, in days.
    """
    end = years_later(now, YEARS)
    options = []
    for years in (1, 2, 3):
        starts, count, installations = now, 0, 0
        while starts < end:
            ends = years_later(starts, years)
            steps = plan(Term(starts, ends, None), starts, leads.reissue, lifetime=lifetime)
            # Reissues after the three years belong to the part that is not compared.
            installations += sum(s.issue <= end for s in steps)
            # The next term starts one second after the last one ends, without a gap.
            starts, count = ends + timedelta(seconds=1), count + 1
        # A two-year term that ends after the three years counts only with its share.
        share = prices.for_years(years) * YEARS / years
        options.append(
            _option(
                f"{years} year{'s' if years > 1 else ''}",
                count,
                count * years - YEARS,
                installations,
                share,
                certificates,
                prices,
            )
        )
    # ACME needs work once, for the move; renewal and installation are automatic after that.
    hours = prices.acme_hours * certificates
    options.append(
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
    return options


def _option(
    name: str,
    purchases: int,
    prepaid: int,
    installations: int,
    price: Decimal,
    certificates: int,
    prices: Prices,
) -> PurchaseOption:
    # Each certificate is installed separately, so all counts grow with their number.
    installations *= certificates
    hours = prices.hours * installations
    return PurchaseOption(
        name=name,
        purchases=purchases * certificates,
        prepaid=prepaid,
        installations=installations,
        price=price * certificates,
        fees=prices.fee * installations,
        hours=hours,
        work=hours * prices.rate,
    )


def assumptions(
    now: datetime, leads: LeadTimes, prices: Prices, certificates: int, lifetime: int | None
) -> list[str]:
    """Return the assumptions of the comparison, as sentences."""
    years = ", ".join(f"{i + 1}: {p} {prices.currency}" for i, p in enumerate(prices.by_years))
    return [
        f"three years from {now:%Y-%m-%d}, {certificates} certificate(s)",
        (
            f"prices by years of the term: {years} ([forecast] price_1, price_2, price_3); a term"
            " that ends after the three years counts with its share"
        ),
        (
            f"a reissue {(leads.validation + leads.installation)} days before the end ([notify]"
            " validation_days, installation_days)"
        ),
        "maximum lifetimes by date of issue: 199 days, 99 from 2027-03-15, 46 from 2029-03-15 (BR"
        " 6.3.2, one day below the limit)"
        + (f"; at most {lifetime} days (--lifetime)" if lifetime else ""),
        (
            f"an installation: {prices.fee} {prices.currency} fee, {prices.hours} hours of work at"
            f" {prices.rate} {prices.currency} ([forecast] fee, hours, rate)"
        ),
        (
            f"ACME: {prices.acme_hours} hours once per certificate ([forecast] acme_hours), a CA"
            " without cost, and no manual installation after that"
        ),
    ]
