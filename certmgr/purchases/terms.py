"""A purchased term as a series of certificates: lifetimes, reissues, validations. Pure.

Sources of the rules:

- Lifetimes: BR 6.3.2 (certmgr/checks/lifetimes.py).
- Reuse of domain control validation: BR 4.2.1. 825 days, then 398 (2021-10-01), 200 (2026-03-15),
  100 (2027-03-15) and 10 days (2029-03-15).
- Reuse of organisation validation: BR 4.2.1. 825 days, then 398 (2026-03-15).
- EV: 398 days (EVG 3.2.2.14.3).

CAs issue for one day less than the limit (BR 6.3.2, SHOULD). No CA issues a certificate that
outlives the purchase.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certmgr.checks.lifetimes import LIMITS, limit_days
from certmgr.purchases.model import LeadTimes, Purchase
from inventory.dates import shifted
from inventory.vocabulary import Party

DAY = timedelta(days=1)
# BR 6.3.2: CAs SHOULD NOT issue for the whole limit.
MARGIN_DAYS = 1
MAX_CERTIFICATES = 400  # per plan; three years of 6-day certificates stay below it

Reuse = tuple[tuple[datetime, int], ...]
# (start of the rule, days of reuse), oldest first.
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


def max_lifetime(issued: datetime, lifetime: int | None = None) -> timedelta:
    """Return the longest lifetime of a certificate that is issued at this time.

    Args:
        issued: Time of issuance.
        lifetime: Assumed lifetime in days. It never exceeds the limit of the Baseline Requirements.
    """
    limit = limit_days(issued)
    # Without a limit, a certificate may last for the longest term that is sold: five years.
    days = (limit - MARGIN_DAYS) if limit is not None else 1827
    return timedelta(days=days if lifetime is None else min(days, lifetime))


def reuse_days(rules: Reuse, at: datetime) -> int:
    """Return for how many days a validation may be reused at this time."""
    return next((days for since, days in reversed(rules) if at >= since), rules[0][1])


def is_reusable(rules: Reuse, validated: datetime | None, at: datetime) -> bool:
    """Return whether a validation may still be used for a certificate that is issued then."""
    return validated is not None and at - validated <= timedelta(days=reuse_days(rules, at))


def validation_end(rules: Reuse, validated: datetime) -> datetime:
    """Return until when a validation may be reused.

    A stricter rule applies to older validations too. It ends a validation either on the day it
    takes effect, or later, after its number of days.
    """
    boundaries = [since for since, _ in rules if since > validated]
    days = reuse_days(rules, validated)
    for boundary in boundaries:
        end = validated + timedelta(days=days)
        # It expires before the next rule takes effect.
        if end < boundary:
            return end
        days = reuse_days(rules, boundary)
        # It is already too old when the next rule takes effect.
        if validated + timedelta(days=days) < boundary:
            return boundary
    return validated + timedelta(days=days)


def organisation_rules(validation: str) -> Reuse | None:
    """Return the reuse rules of the organisation's validation; None for DV."""
    return {"ov": ORGANISATION_REUSE, "ev": EV_REUSE}.get(validation)


@dataclass(frozen=True, slots=True)
class PlannedCertificate:
    """A certificate that is still to be issued.

    Attributes:
        number: Position in the term, from 1.
        issue: When to issue it.
        gain: Additional time that it covers, compared with the certificates before it.
        dcv: Whether domain control must be validated again for it.
        organisation: Whether the organisation must be validated again for it.
        tail: Whether it is the short rest of a term that an early reissue left over. It then adds
            less than a third of a lifetime.
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
    """The facts of a purchase that a plan depends on.

    Attributes:
        starts: First second of the term.
        ends: Last second of the term.
        covered: End of the last certificate. None if no certificate was issued yet.
        count: Number of certificates so far.
        validation: dv, ov or ev.
        dcv: Time of the last domain control validation.
        organisation: Time of the last validation of the organisation.
    """

    starts: datetime
    ends: datetime
    covered: datetime | None
    count: int = 0
    validation: str = "dv"
    dcv: datetime | None = None
    organisation: datetime | None = None


def term_of(purchase: Purchase) -> Term:
    """Return the term of a purchase."""
    current = purchase.current
    return Term(
        starts=purchase.starts,
        ends=purchase.ends,
        covered=current.not_after if current else None,
        count=len(purchase.issued),
        validation=purchase.validation,
        dcv=purchase.dcv,
        organisation=purchase.organisation,
    )


def plan(
    term: Term,
    now: datetime,
    lead: timedelta,
    *,
    lifetime: int | None = None,
    first: datetime | None = None,
) -> tuple[PlannedCertificate, ...]:
    """Return the certificates that are still to be issued in a term.

    Each is issued as late as the lead time allows, because that needs the fewest certificates.

    Args:
        term: The term.
        now: Current time; no certificate is planned before it.
        lead: Lead time of a reissue.
        lifetime: Assumed maximum lifetime in days.
        first: Time of the next issuance, instead of the latest possible one.
    """
    return tuple(_plan(term, now, lead, lifetime, first))


def _plan(
    term: Term, now: datetime, lead: timedelta, lifetime: int | None, first: datetime | None
) -> Iterator[PlannedCertificate]:
    covered, number, dcv, organisation = term.covered, term.count, term.dcv, term.organisation
    rules = organisation_rules(term.validation)
    # The limit ends the loop for very short lifetimes.
    while number - term.count < MAX_CERTIFICATES:
        # Less than a day is left: the term is covered.
        if covered is not None and term.ends - covered < DAY:
            return
        if covered is None:
            at = max(term.starts, now)
        else:
            # A certificate must add at least two thirds of its lifetime, so a long lead is cut.
            early = min(lead, max_lifetime(covered, lifetime) / 3)
            at = max(shifted(covered, -early), now, term.starts)
        # Only the next certificate has the given time; the later ones follow the lead time.
        if first is not None:
            at, first = first, None
        # A certificate that starts after the term cannot belong to it.
        if at >= term.ends:
            return
        number += 1
        life = max_lifetime(at, lifetime)
        # not_after is inclusive (RFC 5280 4.1.2.5), hence one second less.
        end = min(shifted(at, life - timedelta(seconds=1)), term.ends)
        gain = end - (max(covered, at) if covered is not None else at)
        # Without a gain the plan would never end.
        if gain <= timedelta(0):
            return
        # The CA may reuse an earlier validation; otherwise it needs a new one before it issues.
        needs_dcv = not is_reusable(DCV_REUSE, dcv, at)
        needs_organisation = rules is not None and not is_reusable(rules, organisation, at)
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
    """The day of the next reissue that leads to the fewest certificates.

    Attributes:
        day: That day.
        count: Number of certificates from then on.
        saves: Number of certificates saved compared with the latest possible day.
        earliest: First day that needs no more certificates than the latest possible day. A reissue
            before it leaves a tail that needs one certificate more.
    """

    day: datetime
    count: int
    saves: int
    earliest: datetime | None


def best_day(
    term: Term, now: datetime, lead: timedelta, *, lifetime: int | None = None
) -> BestDay | None:
    """Return the best day for the next reissue, or None if no reissue is ahead.

    Every day until the latest possible one is tried. Shortly before a lower limit takes effect, a
    certificate still gets the longer lifetime.
    """
    latest_plan = plan(term, now, lead, lifetime=lifetime)
    # The first certificate of a term is needed at once, so there is no day to choose.
    if not latest_plan or term.covered is None:
        return None
    latest = latest_plan[0].issue
    days = [now + i * DAY for i in range(max(0, (latest - now).days) + 1)]
    # The search is limited to the last 400 days, because each day needs a plan.
    days = [*[d for d in days if d < latest][-400:], latest]
    # Half a day before a lower limit is a candidate, because days are counted from ``now``.
    days = sorted(
        {
            *days,
            *[s - timedelta(hours=12) for s, _ in LIMITS if now < s - timedelta(hours=12) < latest],
        }
    )
    counts = [(len(plan(term, now, lead, lifetime=lifetime, first=d)), d) for d in days]
    fewest = min(c for c, _ in counts)
    # Among equal days the latest one keeps the most of the current certificate.
    day = max(d for c, d in counts if c == fewest)
    enough = [d for c, d in counts if c <= len(latest_plan)]
    tail = next((d for c, d in reversed(counts) if c > len(latest_plan)), None)
    return BestDay(
        day,
        fewest,
        len(latest_plan) - fewest,
        min((d for d in enough if tail is None or d > tail), default=None),
    )


@dataclass(frozen=True, slots=True)
class PurchaseDeadline:
    """One of the four deadlines of a purchase.

    Attributes:
        kind: order (end of the term), certificate, dcv or organisation.
        at: When it expires.
        due: Latest time to begin the next step. None if nothing has to be done before ``at``.
        actor: client, provider or vendor.
    """

    kind: str
    at: datetime
    due: datetime | None
    actor: str


def purchase_deadlines(
    purchase: Purchase, leads: LeadTimes, now: datetime
) -> tuple[PurchaseDeadline, ...]:
    """Return the deadlines of a purchase, sorted by due date."""
    # The buyer has the vendor account, so only the buyer can reissue.
    buyer = "provider" if purchase.bought_by == Party.US else "client"
    deadlines = []
    # The successor of a renewed purchase has the deadline for the next purchase.
    if not purchase.renewed:
        # If the vendor renews automatically, neither client nor provider has to act.
        due = None if purchase.auto_renew else purchase.ends - leads.buy
        deadlines.append(
            PurchaseDeadline(
                "order", purchase.ends, due, "vendor" if purchase.auto_renew else buyer
            )
        )
    # The deadlines depend on the certificates that the rest of the term still needs.
    ahead = plan(term_of(purchase), now, leads.reissue)
    deadlines += _certificate_deadline(purchase, ahead, buyer)
    deadlines += _domain_validation_deadline(purchase, ahead, leads, buyer)
    deadlines += _organisation_deadline(purchase, ahead, leads, buyer)
    return tuple(sorted(deadlines, key=lambda c: (c.due or c.at, c.kind)))


def _certificate_deadline(
    purchase: Purchase, ahead: Sequence[PlannedCertificate], buyer: str
) -> Iterator[PurchaseDeadline]:
    current = purchase.current
    if current is None:
        return
    if purchase.ends - current.not_after >= DAY:
        due = min(current.not_after, ahead[0].issue) if ahead else None
        yield PurchaseDeadline("certificate", current.not_after, due, buyer)
    else:
        # The last certificate ends with the term: a new purchase replaces it, not a reissue.
        yield PurchaseDeadline("certificate", current.not_after, None, buyer)


def _domain_validation_deadline(
    purchase: Purchase, ahead: Sequence[PlannedCertificate], leads: LeadTimes, buyer: str
) -> Iterator[PurchaseDeadline]:
    # A validation is due only if a planned reissue needs it.
    issue = next((p.issue for p in ahead if p.dcv), None)
    if purchase.dcv is not None:
        end = validation_end(DCV_REUSE, purchase.dcv)
        due = issue and issue - leads.validation * DAY
        yield PurchaseDeadline("dcv", end, due, buyer)
    elif purchase.current is not None and issue is not None:
        # The time of the last validation is unknown: assume that the next certificate needs one.
        yield PurchaseDeadline("dcv", issue, issue - leads.validation * DAY, buyer)


def _organisation_deadline(
    purchase: Purchase, ahead: Sequence[PlannedCertificate], leads: LeadTimes, buyer: str
) -> Iterator[PurchaseDeadline]:
    rules = organisation_rules(purchase.validation)
    # Only OV and EV certificates name an organisation, which a CA has to validate.
    if rules is None:
        return
    issue = next((p.issue for p in ahead if p.organisation), None)
    if purchase.organisation is not None:
        end = validation_end(rules, purchase.organisation)
        due = issue and issue - leads.validation * DAY
        yield PurchaseDeadline("organisation", end, due, buyer)
    # As for the domain: without a known validation, the next certificate is assumed to need one.
    elif purchase.current is not None and issue is not None:
        yield PurchaseDeadline("organisation", issue, issue - leads.validation * DAY, buyer)


def due_soon(
    purchases: Sequence[Purchase], leads: LeadTimes, now: datetime, within: timedelta
) -> list[tuple[Purchase, PurchaseDeadline]]:
    """Return the deadlines that are due now or within a period, sorted by due date."""
    results = []
    for purchase in purchases:
        # A purchase that ended a month ago without a successor is taken as given up.
        if purchase.state != "active" or purchase.ends < now - 30 * DAY:
            continue
        results += [
            (purchase, c)
            for c in purchase_deadlines(purchase, leads, now)
            if c.due is not None and c.due <= now + within
        ]
    return sorted(results, key=lambda f: (f[1].due or f[1].at, f[0].id, f[1].kind))
