"""A paid term as a row of certificates: how long each may live, when it must be reissued and
validated again, what is left over. Pure.

Source of the lifetimes: BR 6.3.2 (certmgr/checks/lifetimes.py). Of the reuse of validation: domain
control BR 4.2.1, 825 -> 398 (2021-10-01) -> 200 (2026-03-15) -> 100 (2027-03-15) -> 10 days
(2029-03-15); organisation BR 4.2.1, 825 -> 398 days (2026-03-15); EV 398 days (EVG 3.2.2.14.3). CAs
stay a day below the limit (BR 6.3.2 SHOULD), and none issues past the end of the order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certmgr.checks.lifetimes import LIMITS, limit_days
from certmgr.purchases.model import LeadTimes, Purchase

DAY = timedelta(days=1)
MARGIN_DAYS = 1
MAX_CERTIFICATES = 400  # of one plan; three years of 6-day certificates stay below it

Reuse = tuple[tuple[datetime, int], ...]
DCV_REUSE: Reuse = (
    (datetime(2018, 3, 1, tzinfo=UTC), 825),
    (datetime(2021, 10, 1, tzinfo=UTC), 398),
    (datetime(2026, 3, 15, tzinfo=UTC), 200),
    (datetime(2027, 3, 15, tzinfo=UTC), 100),
    (datetime(2029, 3, 15, tzinfo=UTC), 10),
)
ORGANISATION_REUSE: Reuse = (
    (datetime(2018, 3, 1, tzinfo=UTC), 825),
    (datetime(2026, 3, 15, tzinfo=UTC), 398),
)
EV_REUSE: Reuse = ((datetime(2018, 3, 1, tzinfo=UTC), 398),)


def life_at(issued: datetime, lifetime: int | None = None) -> timedelta:
    """The longest life of a certificate that is issued then.

    ``lifetime``: days that somebody supposes; the limit holds all the same.
    """
    limit = limit_days(issued)
    days = (limit - MARGIN_DAYS) if limit is not None else 1827
    return timedelta(days=days if lifetime is None else min(days, lifetime))


def reuse_days(rules: Reuse, at: datetime) -> int:
    return next((days for since, days in reversed(rules) if at >= since), rules[0][1])


def valid_for(rules: Reuse, validated: datetime | None, at: datetime) -> bool:
    """Whether a validation may still be used for a certificate that is issued then."""
    return validated is not None and at - validated <= timedelta(days=reuse_days(rules, at))


def validation_end(rules: Reuse, validated: datetime) -> datetime:
    """Until when a validation may be used: a shorter rule that comes meanwhile ends it at its first
    moment, or later, as its own days say.
    """
    boundaries = [since for since, _ in rules if since > validated]
    days = reuse_days(rules, validated)
    for boundary in boundaries:
        end = validated + timedelta(days=days)
        if end < boundary:
            return end
        days = reuse_days(rules, boundary)
        if validated + timedelta(days=days) < boundary:
            return boundary
    return validated + timedelta(days=days)


def organisation_rules(validation: str) -> Reuse | None:
    return {"ov": ORGANISATION_REUSE, "ev": EV_REUSE}.get(validation)


@dataclass(frozen=True, slots=True)
class PlannedCertificate:
    """One certificate ahead.

    ``gain``: days that it adds to those before it. ``dcv`` and ``organisation``: whether that must
    be validated again before it.

    ``tail``: it adds less than a third of a lifetime: the rest of the term that an early reissue
    left over.
    """

    number: int
    issue: datetime
    not_before: datetime
    not_after: datetime
    gain: timedelta
    dcv: bool
    organisation: bool
    tail: bool


@dataclass(frozen=True, slots=True)
class Term:
    """What a plan needs to know of an order."""

    starts: datetime
    ends: datetime
    covered: datetime | None  # until when certificates of it exist; None: none yet
    count: int = 0
    validation: str = "dv"
    dcv: datetime | None = None
    organisation: datetime | None = None


def term_of(order: Purchase) -> Term:
    current = order.current
    return Term(
        starts=order.starts,
        ends=order.ends,
        covered=current.not_after if current else None,
        count=len(order.issued),
        validation=order.validation,
        dcv=order.dcv,
        organisation=order.organisation,
    )


def plan(
    term: Term,
    now: datetime,
    lead: timedelta,
    *,
    lifetime: int | None = None,
    first: datetime | None = None,
) -> tuple[PlannedCertificate, ...]:
    """The certificates ahead, each as late as the lead time allows, which needs the fewest.

    ``first``: when the next one is issued, in place of that.
    """
    return tuple(_plan(term, now, lead, lifetime, first))


def _plan(
    term: Term, now: datetime, lead: timedelta, lifetime: int | None, first: datetime | None
) -> Iterator[PlannedCertificate]:
    covered, number, dcv, organisation = term.covered, term.count, term.dcv, term.organisation
    own_rules = organisation_rules(term.validation)
    while number - term.count < MAX_CERTIFICATES:
        if covered is not None and term.ends - covered < DAY:
            return
        if covered is None:
            at = max(term.starts, now)
        else:
            # Never so early that a certificate adds less than two thirds of its life.
            early = min(lead, life_at(covered, lifetime) / 3)
            at = max(covered - early, now, term.starts)
        if first is not None:
            at, first = first, None
        if at >= term.ends:
            return
        number += 1
        life = life_at(at, lifetime)
        end = min(at + life - timedelta(seconds=1), term.ends)
        gain = end - (max(covered, at) if covered is not None else at)
        if gain <= timedelta(0):
            return
        needs_dcv = not valid_for(DCV_REUSE, dcv, at)
        needs_organisation = own_rules is not None and not valid_for(own_rules, organisation, at)
        tail = covered is not None and end == term.ends and gain < life / 3
        yield PlannedCertificate(
            number=number,
            issue=at,
            not_before=at,
            not_after=end,
            gain=gain,
            dcv=needs_dcv,
            organisation=needs_organisation,
            tail=tail,
        )
        covered, dcv = end, at if needs_dcv else dcv
        organisation = at if needs_organisation else organisation


@dataclass(frozen=True, slots=True)
class BestDay:
    """The day on which the next reissue leads to the fewest certificates.

    ``saves``: against the latest possible one; ``earliest``: before that day a reissue leaves a
    tail that needs one certificate more than the latest one does.
    """

    day: datetime
    count: int
    saves: int
    earliest: datetime | None


def best_day(
    term: Term, now: datetime, lead: timedelta, *, lifetime: int | None = None
) -> BestDay | None:
    """Tries every day until the latest one: shortly before a step of the limits a certificate still
    lives longer. None where none is ahead.
    """
    usual = plan(term, now, lead, lifetime=lifetime)
    if not usual or term.covered is None:
        return None
    latest = usual[0].issue
    days = [now + i * DAY for i in range(max(0, (latest - now).days) + 1)]
    days = [*[d for d in days if d < latest][-400:], latest]
    # The last moment before a step counts too.
    days = sorted(
        {
            *days,
            *[s - timedelta(hours=12) for s, _ in LIMITS if now < s - timedelta(hours=12) < latest],
        }
    )
    counts = [(len(plan(term, now, lead, lifetime=lifetime, first=d)), d) for d in days]
    fewest = min(c for c, _ in counts)
    day = max(d for c, d in counts if c == fewest)
    enough = [d for c, d in counts if c <= len(usual)]
    tail = next((d for c, d in reversed(counts) if c > len(usual)), None)
    return BestDay(
        day,
        fewest,
        len(usual) - fewest,
        min((d for d in enough if tail is None or d > tail), default=None),
    )


# -- clocks


@dataclass(frozen=True, slots=True)
class PurchaseDeadline:
    """One of the four dates of an order.

    ``at``: when it runs out; ``due``: the last moment to begin what follows, None where nothing has
    to be done before it. ``actor``: client, provider, vendor. ``what`` names it: order,
    certificate, dcv, organisation.
    """

    what: str
    at: datetime
    due: datetime | None
    actor: str


def purchase_deadlines(
    order: Purchase, leads: LeadTimes, now: datetime
) -> tuple[PurchaseDeadline, ...]:
    """The four clocks of an order, soonest due first.

    Validation is due only where a reissue ahead needs it.
    """
    buyer = "provider" if order.bought_by == "us" else "client"
    found = []
    if not order.renewed:
        due = None if order.auto_renew else order.ends - leads.buy
        found.append(
            PurchaseDeadline("order", order.ends, due, "vendor" if order.auto_renew else buyer)
        )
    ahead = plan(term_of(order), now, leads.reissue)
    current = order.current
    if current is not None and order.ends - current.not_after >= DAY:
        found.append(
            PurchaseDeadline(
                "certificate",
                current.not_after,
                min(current.not_after, ahead[0].issue) if ahead else None,
                buyer,
            )
        )
    elif current is not None:
        found.append(PurchaseDeadline("certificate", current.not_after, None, buyer))
    next_one = next((p.issue for p in ahead if p.dcv), None)
    if order.dcv is not None:
        found.append(
            PurchaseDeadline(
                "dcv",
                validation_end(DCV_REUSE, order.dcv),
                next_one and next_one - leads.validation * DAY,
                buyer,
            )
        )
    elif current is not None and next_one is not None:
        # Nobody said when it was done: it is asked for with the next certificate.
        found.append(PurchaseDeadline("dcv", next_one, next_one - leads.validation * DAY, buyer))
    rules = organisation_rules(order.validation)
    if (
        rules is not None
        and order.organisation is None
        and current is not None
        and (issue := next((p.issue for p in ahead if p.organisation), None))
    ):
        found.append(PurchaseDeadline("organisation", issue, issue - leads.validation * DAY, buyer))
    if rules is not None and order.organisation is not None:
        next_one = next((p.issue for p in ahead if p.organisation), None)
        found.append(
            PurchaseDeadline(
                "organisation",
                validation_end(rules, order.organisation),
                next_one and next_one - leads.validation * DAY,
                buyer,
            )
        )
    return tuple(sorted(found, key=lambda c: (c.due or c.at, c.what)))


def due_soon(
    orders: Sequence[Purchase], leads: LeadTimes, now: datetime, within: timedelta
) -> list[tuple[Purchase, PurchaseDeadline]]:
    """Clocks whose due date has come or comes within that time, of orders that are active and not
    over for long; soonest first.
    """
    found = []
    for order in orders:
        if order.state != "active" or order.ends < now - 30 * DAY:
            continue
        found += [
            (order, c)
            for c in purchase_deadlines(order, leads, now)
            if c.due is not None and c.due <= now + within
        ]
    return sorted(found, key=lambda f: (f[1].due or f[1].at, f[0].id, f[1].what))
