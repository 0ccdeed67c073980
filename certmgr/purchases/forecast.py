"""What is ahead: purchases, reissues and installations a month and a client, what they cost, and
what automation would save. Pure.

Each order goes on as it is: it is bought again for the same term when it ends (unless it was
cancelled), and reissued as late as the lead time allows. A certificate of no order that no robot
renews is reissued the same way. Robots' certificates are no work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import PlannedCertificate, Term, plan, term_of

MAX_TERMS = 60


@dataclass(frozen=True, slots=True)
class Prices:
    """``fee``: what the provider asks for one installation where the order does not say; ``hours``
    and ``rate``: of its own work. ``by_years``: price of one certificate for a term, where no order
    says. ``acme_hours``: to move one name to ACME, once.
    """

    currency: str = "EUR"
    fee: Decimal = Decimal(0)
    hours: Decimal = Decimal(1)
    rate: Decimal = Decimal(0)
    by_years: tuple[Decimal, ...] = (Decimal(0), Decimal(0), Decimal(0))
    acme_hours: Decimal = Decimal(1)

    def of(self, years: int) -> Decimal:
        return self.by_years[min(max(years, 1), len(self.by_years)) - 1]


@dataclass(frozen=True, slots=True)
class UnmanagedCertificate:
    """A live certificate of no order that people renew."""

    client: str
    names: tuple[str, ...]
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ForecastEvent:
    """``kind``: order (bought), installation (every certificate that is put in place), reissue (an
    installation that is no purchase).
    """

    at: datetime
    kind: str
    client: str
    what: str
    amount: Decimal = Decimal(0)
    currency: str = ""


@dataclass(slots=True)
class ForecastTotals:
    """Counts of one month, or of one client.

    ``spend``: purchases; ``fees``: what clients pay for installations; by currency.
    """

    orders: int = 0
    reissues: int = 0
    installations: int = 0
    hours: Decimal = Decimal(0)
    spend: dict[str, Decimal] = field(default_factory=dict)
    fees: dict[str, Decimal] = field(default_factory=dict)

    def add(self, event: ForecastEvent, prices: Prices) -> None:
        match event.kind:
            case "order":
                self.orders += 1
                _more(self.spend, event)
            case "reissue":
                self.reissues += 1
            case _:
                self.installations += 1
                self.hours += prices.hours
                _more(self.fees, event)


def _more(sums: dict[str, Decimal], event: ForecastEvent) -> None:
    if event.amount:
        sums[event.currency] = sums.get(event.currency, Decimal(0)) + event.amount


@dataclass(frozen=True, slots=True)
class Forecast:
    """``acme_saves``: client -> what a move of all its names to ACME would save until then: spend
    and fees by currency, and hours.
    """

    months: dict[str, ForecastTotals]
    clients: dict[str, ForecastTotals]
    total: ForecastTotals
    acme_saves: dict[str, ForecastTotals]


def of_order(
    order: Purchase,
    now: datetime,
    until: datetime,
    leads: LeadTimes,
    prices: Prices,
    lifetime: int | None = None,
) -> Iterator[ForecastEvent]:
    """Everything ahead of one order and of those that follow it."""
    if order.state != "active":
        return
    term = term_of(order)
    fee, fee_in = (
        (order.fee, order.currency) if order.fee is not None else (prices.fee, prices.currency)
    )
    price, price_in = (
        (order.price, order.currency)
        if order.price is not None
        else (prices.of(order.years), prices.currency)
    )
    while term.ends < now:  # terms between today and the day at which the forecast begins
        if order.renewed:
            return
        term = _next(term, order.years)
    for number in range(MAX_TERMS):
        if number:
            bought = max(term.starts - leads.buy, now)
            if bought > until:
                return
            yield ForecastEvent(
                at=bought,
                kind="order",
                client=order.client,
                what=order.label,
                amount=price,
                currency=price_in or prices.currency,
            )
        steps = plan(
            term, now if number == 0 else min(term.starts, until), leads.reissue, lifetime=lifetime
        )
        yield from _installs(
            steps,
            until,
            order.client,
            order.label,
            fee,
            fee_in or prices.currency,
            bought=number > 0 or term.covered is None,
        )
        if order.renewed:
            return
        term = _next(term, order.years)


def _next(term: Term, years: int) -> Term:
    starts = term.ends + timedelta(seconds=1)
    return Term(
        starts=starts,
        ends=_later(starts, years),
        covered=None,
        count=0,
        validation=term.validation,
        dcv=None,
        organisation=None,
    )


def _installs(
    steps: Iterable[PlannedCertificate],
    until: datetime,
    client: str,
    what: str,
    fee: Decimal,
    currency: str,
    *,
    bought: bool,
) -> Iterator[ForecastEvent]:
    for index, step in enumerate(steps):
        if step.issue > until:
            return
        if index or not bought:
            yield ForecastEvent(step.issue, "reissue", client, what)
        yield ForecastEvent(
            at=step.issue,
            kind="installation",
            client=client,
            what=what,
            amount=fee,
            currency=currency,
        )


def _later(start: datetime, years: int) -> datetime:
    day = 28 if (start.month, start.day) == (2, 29) else start.day
    return start.replace(year=start.year + years, day=day) - timedelta(seconds=1)


def of_unmanaged(
    one: UnmanagedCertificate,
    now: datetime,
    until: datetime,
    leads: LeadTimes,
    prices: Prices,
    lifetime: int | None = None,
) -> Iterator[ForecastEvent]:
    """A certificate without an order: reissued for ever, at prices that nobody knows."""
    term = Term(now - timedelta(days=1), until + timedelta(days=366), one.not_after, 1)
    steps = plan(term, now, leads.reissue, lifetime=lifetime)
    what = one.names[0] if one.names else ""
    yield from _installs(steps, until, one.client, what, prices.fee, prices.currency, bought=False)


def forecast(
    orders: Sequence[Purchase],
    loose: Sequence[UnmanagedCertificate],
    now: datetime,
    until: datetime,
    leads: LeadTimes,
    prices: Prices,
    zone: tzinfo,
    lifetime: int | None = None,
) -> Forecast:
    """``zone``: in which a month begins."""
    months: dict[str, ForecastTotals] = {m: ForecastTotals() for m in _months(now, until, zone)}
    clients: dict[str, ForecastTotals] = {}
    saves: dict[str, ForecastTotals] = {}
    total = ForecastTotals()
    names: dict[str, set[str]] = {}
    for order in orders:
        names.setdefault(order.client, set()).update(order.names)
    for one in loose:
        names.setdefault(one.client, set()).update(one.names)
    events = [e for o in orders for e in of_order(o, now, until, leads, prices, lifetime)]
    events += [e for one in loose for e in of_unmanaged(one, now, until, leads, prices, lifetime)]
    for event in sorted(events, key=lambda e: (e.at, e.client, e.what, e.kind)):
        month = f"{event.at.astimezone(zone):%Y-%m}"
        for line in (
            months.setdefault(month, ForecastTotals()),
            clients.setdefault(event.client, ForecastTotals()),
            saves.setdefault(event.client, ForecastTotals()),
            total,
        ):
            line.add(event, prices)
    for client, line in saves.items():
        line.hours -= prices.acme_hours * len(names.get(client, ()))
    return Forecast(months, clients, total, saves)


def _months(now: datetime, until: datetime, zone: tzinfo) -> Iterator[str]:
    local, end = now.astimezone(zone), until.astimezone(zone)
    year, month = local.year, local.month
    while (year, month) <= (end.year, end.month):
        yield f"{year:04}-{month:02}"
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
