"""One purchase as a row of ``certmgr.orders/1``, and with its plan as ``certmgr.order/1``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from certmgr.cli.output import instant
from certmgr.purchases.coverage import unused_days
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import (
    BestDay,
    PlannedCertificate,
    PurchaseDeadline,
    best_day,
    plan,
    purchase_deadlines,
    term_of,
)
from inventory.records import PurchaseRecord

# The keys are part of the JSON output; people read the texts.
DEADLINE_TEXTS = {
    "order": "purchase ends",
    "certificate": "reissue",
    "dcv": "domain validation",
    "organisation": "organisation validation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRow:
    """One deadline of a purchase in the output; dates as RFC 3339 text."""

    what: str
    at: str | None
    due: str | None
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseRow:
    """One purchase of ``certmgr.orders/1``; dates as RFC 3339 text, amounts as decimal text."""

    id: int
    order: str
    client: str
    vendor: str
    number: str | None
    names: list[str]
    validation: str
    kind: str
    years: int
    starts: str | None
    ends: str | None
    certificate_until: str | None
    next: str | None
    due: str | None
    state: str
    price: str | None
    fee: str | None
    currency: str | None
    warranty: str | None
    bought_by: str
    auto_renew: bool
    successor: int | None
    clocks: list[DeadlineRow]
    unused_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedRow:
    """A certificate of a purchase in the output."""

    serial: str
    sha256: str
    not_before: str | None
    not_after: str | None
    live: bool
    linked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """A certificate that is still to be issued, in the output."""

    number: int
    issue: str | None
    not_after: str | None
    days: int
    domain_validation: bool
    organisation_validation: bool
    tail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchasePage:
    """One purchase with everything that ``purchase show`` prints about it."""

    purchase: PurchaseRow
    row: PurchaseRecord
    issued: list[IssuedRow]
    planned: list[PlannedRow]
    best: BestDay | None


def _deadlines(bought: Purchase, leads: LeadTimes, now: datetime) -> tuple[PurchaseDeadline, ...]:
    """Return the deadlines of a purchase; a cancelled one has none."""
    # A cancelled purchase needs no action, and its dates would hide those of the purchase that
    # replaces it.
    return purchase_deadlines(bought, leads, now) if bought.state == "active" else ()


def _next_step(deadlines: Sequence[PurchaseDeadline]) -> PurchaseDeadline | None:
    """Return the deadline that needs the next action."""
    # A deadline without a due date needs no action before its end.
    return next((c for c in deadlines if c.due is not None), None)


def is_due(bought: Purchase, leads: LeadTimes, now: datetime, days: int) -> bool:
    """Return whether a purchase needs an action within some days."""
    step = _next_step(_deadlines(bought, leads, now))
    return (
        step is not None
        and step.due is not None
        and step.due.timestamp() <= now.timestamp() + days * 86_400
    )


def purchase_row(
    bought: Purchase, row: PurchaseRecord, leads: LeadTimes, now: datetime
) -> PurchaseRow:
    """Return one purchase for the output.

    Args:
        bought: The purchase.
        row: The same purchase as a row of the database, with the columns that it does not have.
        leads: The lead times.
        now: The current time.
    """
    deadlines = _deadlines(bought, leads, now)
    step = _next_step(deadlines)
    current = bought.current
    # Amounts and dates are text: a float in JSON would round an amount.
    return PurchaseRow(
        id=bought.id,
        order=f"#{bought.id}",
        client=bought.client,
        vendor=bought.vendor,
        # An empty number is null in JSON, so that it is not taken for a number of the vendor.
        number=bought.number or None,
        names=list(bought.names),
        validation=bought.validation,
        kind=bought.kind,
        years=bought.years,
        starts=instant(bought.starts),
        ends=instant(bought.ends),
        certificate_until=instant(current.not_after) if current else None,
        next=DEADLINE_TEXTS[step.kind] if step else None,
        due=instant(step.due) if step else None,
        state=bought.state,
        price=str(bought.price) if bought.price is not None else None,
        fee=str(bought.fee) if bought.fee is not None else None,
        currency=bought.currency or None,
        warranty=row.warranty,
        bought_by=bought.bought_by,
        auto_renew=bought.auto_renew,
        successor=row.successor_id,
        clocks=[
            DeadlineRow(what=c.kind, at=instant(c.at), due=instant(c.due), actor=c.actor)
            for c in deadlines
        ],
        unused_days=unused_days(bought, now),
    )


def page_of(
    bought: Purchase, row: PurchaseRecord, leads: LeadTimes, now: datetime, lifetime: int | None
) -> PurchasePage:
    """Return everything that is printed about a purchase.

    Args:
        bought: The purchase.
        row: The same purchase as a row of the database.
        leads: The lead times.
        now: The current time.
        lifetime: The assumed lifetime of certificates in days; None for the dated limits.
    """
    term = term_of(bought)
    # Nothing is issued any more under a purchase that was cancelled.
    steps: Sequence[PlannedCertificate] = (
        plan(term, now, leads.reissue, lifetime=lifetime) if bought.state == "active" else ()
    )
    return PurchasePage(
        purchase=purchase_row(bought, row, leads, now),
        row=row,
        issued=[
            IssuedRow(
                serial=i.serial,
                sha256=i.sha256,
                not_before=instant(i.not_before),
                not_after=instant(i.not_after),
                live=i.live,
                # Certificates are linked either by a person or by their names and vendor. The
                # second may be wrong, so the output distinguishes them.
                linked="recorded" if i.recorded else "recognised",
            )
            for i in bought.issued
        ],
        planned=[
            PlannedRow(
                number=p.number,
                issue=instant(p.issue),
                not_after=instant(p.not_after),
                # notAfter is inclusive, so that a part of a day counts as a day (BR 6.3.2).
                days=(p.not_after - p.not_before).days + 1,
                domain_validation=p.dcv,
                organisation_validation=p.organisation,
                tail=p.tail,
            )
            for p in steps
        ],
        # Without certificates ahead, no day of reissue can save one.
        best=best_day(term, now, leads.reissue, lifetime=lifetime) if steps else None,
    )


def page_document(page: PurchasePage) -> dict[str, object]:
    """Return a purchase as ``certmgr.order/1``."""
    best = page.best
    return {
        "schema": "certmgr.order/1",
        "order": asdict(page.purchase),
        "note": page.row.note,
        "reason": page.row.reason,
        "documents": page.row.documents,
        "issued": [asdict(i) for i in page.issued],
        "ahead": [asdict(p) for p in page.planned],
        "best": None
        if best is None
        else {
            "day": instant(best.day),
            "certificates": best.count,
            "saves": best.saves,
            "not_before": instant(best.earliest),
        },
    }
