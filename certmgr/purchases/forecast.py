"""Forecast of purchases, reissues and installations per month and client, with their cost. Pure.

Each purchase continues as it is. When its term ends, the same term is bought again, unless it was
cancelled. Certificates are reissued as late as the lead time allows. An unmanaged certificate is
reissued the same way. Certificates with automatic renewal cause no work and are not included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import PlannedCertificate, Term, plan, term_of

MAX_TERMS = 60  # of one purchase; a forecast covers ten years at most


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of the section [forecast] of the configuration.

    Attributes:
        currency: Currency of all amounts.
        fee: Fee of one installation, for purchases without a recorded fee.
        hours: Hours of work of one installation.
        rate: Price of one hour of the provider's work.
        by_years: Price of a term of one, two and three years, for purchases without a recorded
            price.
        acme_hours: Hours to move one name to ACME, once.
    """

    currency: str = "EUR"
    fee: Decimal = Decimal(0)
    hours: Decimal = Decimal(1)
    rate: Decimal = Decimal(0)
    by_years: tuple[Decimal, ...] = (Decimal(0), Decimal(0), Decimal(0))
    acme_hours: Decimal = Decimal(1)

    def for_years(self, years: int) -> Decimal:
        """Return the price of a term; longer terms cost as much as the longest known one."""
        return self.by_years[min(max(years, 1), len(self.by_years)) - 1]


@dataclass(frozen=True, slots=True)
class UnmanagedCertificate:
    """A live certificate without a purchase and without automatic renewal."""

    client: str
    names: tuple[str, ...]
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ForecastEvent:
    """One predicted event.

    Attributes:
        at: Time of the event.
        kind: purchase, reissue, or installation. A reissue is an installation that needs no
            purchase, and has an event of both kinds.
        client: Customer number.
        label: The purchase, or the first name of an unmanaged certificate.
        amount: Price or fee.
    """

    at: datetime
    kind: str
    client: str
    label: str
    amount: Decimal = Decimal(0)
    currency: str = ""


@dataclass(slots=True)
class ForecastTotals:
    """Counts and amounts of one month or one client.

    Attributes:
        spend: Purchase prices per currency.
        fees: Installation fees that clients pay, per currency.
    """

    purchases: int = 0
    reissues: int = 0
    installations: int = 0
    hours: Decimal = Decimal(0)
    spend: dict[str, Decimal] = field(default_factory=dict)
    fees: dict[str, Decimal] = field(default_factory=dict)

    def add(self, event: ForecastEvent, prices: Prices) -> None:
        """Count an event, with its amount and work."""
        match event.kind:
            case "purchase":
                self.purchases += 1
                _add_amount(self.spend, event)
            case "reissue":
                # Its work and fee are counted with the installation at the same time.
                self.reissues += 1
            case _:
                self.installations += 1
                self.hours += prices.hours
                _add_amount(self.fees, event)


def _add_amount(sums: dict[str, Decimal], event: ForecastEvent) -> None:
    if event.amount:
        sums[event.currency] = sums.get(event.currency, Decimal(0)) + event.amount


@dataclass(frozen=True, slots=True)
class Forecast:
    """The whole forecast.

    Attributes:
        months: Totals per month (``2026-11``).
        clients: Totals per client.
        total: Totals of the period.
        acme_saves: Per client, the spend, fees and hours that a move of all its names to ACME
            would save in the period.
    """

    months: dict[str, ForecastTotals]
    clients: dict[str, ForecastTotals]
    total: ForecastTotals
    acme_saves: dict[str, ForecastTotals]


def purchase_events(
    purchase: Purchase,
    now: datetime,
    until: datetime,
    leads: LeadTimes,
    prices: Prices,
    lifetime: int | None = None,
) -> Iterator[ForecastEvent]:
    """Yield the events of a purchase and of the purchases that will follow it."""
    if purchase.state != "active":
        return
    # The forecast starts from the certificates that the purchase has today.
    term = term_of(purchase)
    # The recorded fee and price have priority over the configured ones.
    fee, fee_currency = (
        (purchase.fee, purchase.currency)
        if purchase.fee is not None
        else (prices.fee, prices.currency)
    )
    price, price_currency = (
        (purchase.price, purchase.currency)
        if purchase.price is not None
        else (prices.for_years(purchase.years), prices.currency)
    )
    # A forecast may begin in the future: skip the terms that end before it begins.
    while term.ends < now:
        if purchase.renewed:
            return
        term = _next_term(term, purchase.years)
    for number in range(MAX_TERMS):
        # The first term is paid already; each later one must be bought before it starts.
        if number:
            bought_at = max(term.starts - leads.buy, now)
            if bought_at > until:
                return
            yield ForecastEvent(
                at=bought_at,
                kind="purchase",
                client=purchase.client,
                label=purchase.label,
                amount=price,
                currency=price_currency or prices.currency,
            )
        steps = plan(
            term, now if number == 0 else min(term.starts, until), leads.reissue, lifetime=lifetime
        )
        yield from _installations(
            steps,
            until,
            purchase.client,
            purchase.label,
            fee,
            fee_currency or prices.currency,
            bought=number > 0 or term.covered is None,
        )
        # The successor is a purchase in the inventory and has events itself.
        if purchase.renewed:
            return
        term = _next_term(term, purchase.years)


def _next_term(term: Term, years: int) -> Term:
    # No earlier validation is assumed for a new purchase.
    starts = term.ends + timedelta(seconds=1)
    return Term(
        starts=starts,
        ends=_end_of_term(starts, years),
        covered=None,
        count=0,
        validation=term.validation,
        dcv=None,
        organisation=None,
    )


def _installations(
    steps: Iterable[PlannedCertificate],
    until: datetime,
    client: str,
    label: str,
    fee: Decimal,
    currency: str,
    *,
    bought: bool,
) -> Iterator[ForecastEvent]:
    """Yield the installation of each planned certificate, and a reissue if it is not the first.

    Args:
        bought: Whether the first of the steps is the first certificate of its purchase.
    """
    for index, step in enumerate(steps):
        if step.issue > until:
            return
        # The first certificate of a new purchase is an installation, but not a reissue.
        if index or not bought:
            yield ForecastEvent(step.issue, "reissue", client, label)
        yield ForecastEvent(
            at=step.issue,
            kind="installation",
            client=client,
            label=label,
            amount=fee,
            currency=currency,
        )


def _end_of_term(start: datetime, years: int) -> datetime:
    # A term that starts on 29 February ends as if it had started on 28 February.
    day = 28 if (start.month, start.day) == (2, 29) else start.day
    return start.replace(year=start.year + years, day=day) - timedelta(seconds=1)


def unmanaged_events(
    certificate: UnmanagedCertificate,
    now: datetime,
    until: datetime,
    leads: LeadTimes,
    prices: Prices,
    lifetime: int | None = None,
) -> Iterator[ForecastEvent]:
    """Yield the reissues and installations of a certificate without a purchase."""
    # The term and its price are unknown: assume one long term, and count no purchase.
    term = Term(now - timedelta(days=1), until + timedelta(days=366), certificate.not_after, 1)
    steps = plan(term, now, leads.reissue, lifetime=lifetime)
    label = certificate.names[0] if certificate.names else ""
    yield from _installations(
        steps, until, certificate.client, label, prices.fee, prices.currency, bought=False
    )


def forecast(
    purchases: Sequence[Purchase],
    unmanaged: Sequence[UnmanagedCertificate],
    now: datetime,
    until: datetime,
    leads: LeadTimes,
    prices: Prices,
    zone: tzinfo,
    lifetime: int | None = None,
) -> Forecast:
    """Return the forecast from ``now`` until ``until``.

    Args:
        purchases: Purchases that may be continued.
        unmanaged: Live certificates without a purchase.
        now: Start of the forecast.
        until: End of the forecast.
        leads: Lead times of the configuration.
        prices: Prices of the configuration.
        zone: Time zone of the months.
        lifetime: Assumed maximum lifetime of a certificate, in days.
    """
    months: dict[str, ForecastTotals] = {m: ForecastTotals() for m in _months(now, until, zone)}
    clients: dict[str, ForecastTotals] = {}
    saves: dict[str, ForecastTotals] = {}
    total = ForecastTotals()
    names: dict[str, set[str]] = {}
    for purchase in purchases:
        names.setdefault(purchase.client, set()).update(purchase.names)
    for certificate in unmanaged:
        names.setdefault(certificate.client, set()).update(certificate.names)
    events = [e for p in purchases for e in purchase_events(p, now, until, leads, prices, lifetime)]
    events += [
        e for c in unmanaged for e in unmanaged_events(c, now, until, leads, prices, lifetime)
    ]
    for event in sorted(events, key=lambda e: (e.at, e.client, e.label, e.kind)):
        month = f"{event.at.astimezone(zone):%Y-%m}"
        for totals in (
            months.setdefault(month, ForecastTotals()),
            clients.setdefault(event.client, ForecastTotals()),
            saves.setdefault(event.client, ForecastTotals()),
            total,
        ):
            totals.add(event, prices)
    # The move to ACME itself takes work, once per name.
    for client, totals in saves.items():
        totals.hours -= prices.acme_hours * len(names.get(client, ()))
    return Forecast(months, clients, total, saves)


def _months(now: datetime, until: datetime, zone: tzinfo) -> Iterator[str]:
    """Yield each month of the period, also those without an event."""
    local, end = now.astimezone(zone), until.astimezone(zone)
    year, month = local.year, local.month
    while (year, month) <= (end.year, end.month):
        yield f"{year:04}-{month:02}"
        # A month is counted up by hand, because timedelta has no months.
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
