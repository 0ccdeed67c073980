"""Which cases have to be opened now.

A case is due for a reissue or renewal of a purchase, and for a certificate without a purchase that
was installed through an earlier case and ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from sqlalchemy import Connection

from certmgr.cases.new_case import CaseOptions
from certmgr.config.context import Context
from certmgr.purchases.load import lead_times, load
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import DAY, plan, term_of
from certmgr.renewers.load import load_facts
from certmgr.renewers.renewer import RenewalFacts
from certmgr.x509.names import name_covers
from inventory.db.database import from_epoch, to_epoch
from inventory.records import CaseRecord, IssuanceRecord
from inventory.store import cases, certificates, issuances
from inventory.vocabulary import CaseKind, CaseState


@dataclass(frozen=True, slots=True)
class DueCase:
    """A case that has to be opened.

    Attributes:
        client: The number of the client.
        names: The names of the case.
        options: What is stated about the new case.
        reason: Why it is due, as text.
    """

    client: str
    names: tuple[str, ...]
    options: CaseOptions
    reason: str


def due_for_purchase(
    purchase: Purchase, now: datetime, leads: LeadTimes, ahead: timedelta
) -> DueCase | None:
    """Return the case that is due for a purchase.

    This is its first certificate, a reissue, or the renewal of the purchase. The function is pure.

    Args:
        purchase: The purchase.
        now: The current time.
        leads: The lead times.
        ahead: How long before the date a case opens.
    """
    # A purchase that is over or cancelled pays for no further certificate.
    if purchase.state != "active" or purchase.ends < now:
        return None
    steps = plan(term_of(purchase), now, leads.reissue)
    if steps and steps[0].issue <= now + ahead:
        first = not purchase.issued
        reason = (
            "the first certificate of the purchase"
            if first
            else f"reissue {steps[0].number} of the purchase, due {steps[0].issue:%Y-%m-%d}"
        )
        return DueCase(
            purchase.client,
            purchase.names,
            CaseOptions(order=f"#{purchase.id}", kind=CaseKind.NEW if first else CaseKind.REISSUE),
            reason,
        )
    # A purchase without a further reissue has to be bought again, unless that happened already.
    if not steps and not purchase.renewed and purchase.ends - leads.buy <= now + ahead:
        return DueCase(
            purchase.client,
            purchase.names,
            CaseOptions(order=f"#{purchase.id}", kind=CaseKind.RENEWAL),
            f"the purchase ends on {purchase.ends:%Y-%m-%d}",
        )
    return None


def due_for_closed_case(
    row: CaseRecord,
    issued: Sequence[IssuanceRecord],
    now: datetime,
    leads: LeadTimes,
    ahead: timedelta,
) -> DueCase | None:
    """Return the renewal that is due for a closed case without a purchase.

    It is due before the certificate of the case ends. The function is pure.

    Args:
        row: The row of the closed case.
        issued: The issuances of the case.
        now: The current time.
        leads: The lead times.
        ahead: How long before the date a case opens.
    """
    ends = [i.not_after for i in issued if i.sha256 is not None and i.not_after is not None]
    end = from_epoch(max(ends)) if ends else None
    # A certificate that ended more than 60 days ago is no longer in use, so that none replaces it.
    if (
        row.order_id is not None
        or row.state != CaseState.CLOSED
        or end is None
        or end - now > leads.buy + ahead
        or end < now - 60 * DAY
    ):
        return None
    options = CaseOptions(
        kind=CaseKind.RENEWAL,
        bought_by=row.bought_by,
        own_csr=bool(row.own_csr),
        price=row.price,
        fee=row.fee,
        currency=row.currency,
    )
    return DueCase(
        row.client,
        tuple(row.names),
        options,
        f"the certificate of {row.reference} ends on {end:%Y-%m-%d}",
    )


def due_cases(context: Context) -> list[DueCase]:
    """Return all cases that are due.

    Names with an open case and names that automation renews are left out.
    """
    now, leads = context.now(), lead_times(context.settings)
    ahead = timedelta(days=context.settings.cases.open_ahead)
    with context.read() as conn:
        active_purchases = load(conn, ended=False)
        # A retired client gets no case, and would be reported as a problem in each run.
        closed = [r for r in cases.listing(conn, states=("closed",)) if r.client_state != "retired"]
        issued = issuances.of_cases(conn, [r.id for r in closed])
        client_ids = {p.client: p.client_id for p in active_purchases} | {
            r.client: r.client_id for r in closed
        }
        inventory = _InventoryState.read(conn, now, client_ids.values())
    later_cases = superseded(closed)
    # Purchases come first: if a closed case has the same names, the new case is for the purchase.
    candidates = [due_for_purchase(p, now, leads, ahead) for p in active_purchases]
    candidates += [
        due_for_closed_case(r, issued.get(r.id, ()), now, leads, ahead)
        for r in closed
        if r.id not in later_cases
    ]
    due_now: list[DueCase] = []
    for candidate in candidates:
        if candidate is None:
            continue
        client_id, names = client_ids[candidate.client], set(candidate.names)
        if inventory.needs_case(client_id, names, now + leads.buy + ahead):
            inventory.open_names.setdefault(client_id, set()).update(names)
            due_now.append(candidate)
    return due_now


@dataclass(frozen=True, slots=True, kw_only=True)
class _InventoryState:
    """What decides whether names need a new case.

    Attributes:
        open_names: The names of open cases, by client id, also of those that this run opens.
        renewers: Who renews the certificates of which names.
        served_until: By client id: host -> end of the served certificate, in epoch seconds.
    """

    open_names: dict[int, set[str]]
    renewers: RenewalFacts
    served_until: Mapping[int, Mapping[str, int]]

    @classmethod
    def read(cls, conn: Connection, now: datetime, client_ids: Iterable[int]) -> Self:
        """Read the state of these clients."""
        return cls(
            open_names={i: set(names) for i, names in cases.open_names(conn).items()},
            # Purchases and cases that recur at regular dates look like automation in scans, so that
            # only what is recorded or arranged keeps a case from being opened.
            renewers=load_facts(conn, now, learned=False),
            served_until=certificates.served_until(conn, set(client_ids)),
        )

    def needs_case(self, client_id: int, names: set[str], until: datetime) -> bool:
        """Return whether names need a new case now. Pure.

        Args:
            client_id: The client.
            names: The names of the new case.
            until: A certificate that lasts longer needs no successor yet.
        """
        # One installation per name at a time, also among the cases of this run.
        if names & self.open_names.get(client_id, set()):
            return False
        # The client's domains left the inventory, or automation renews their certificates.
        if not self.renewers.needs_person(client_id, names):
            return False
        # The servers may present certificates already that last longer, from whatever source.
        ends = [
            end
            for host, end in self.served_until.get(client_id, {}).items()
            if any(name_covers(n, host) for n in names)
        ]
        return not ends or min(ends) <= to_epoch(until)


def superseded(closed: Sequence[CaseRecord]) -> set[int]:
    """Return the ids of cases that have a name for which a later case was closed."""
    latest: dict[tuple[int, str], int] = {}
    # Ids grow with time, so that the last case of a name is its latest one.
    for row in sorted(closed, key=lambda r: int(r.id)):
        for name in row.names:
            latest[(row.client_id, name)] = row.id
    return {r.id for r in closed if any(latest[(r.client_id, n)] != r.id for n in r.names)}
