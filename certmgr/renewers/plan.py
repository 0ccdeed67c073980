"""A renewal that is due and in time is planned, and no fault. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from certmgr.checks.certificate import expiring
from certmgr.renewers.renewer import LineageCover, RenewalFacts, RenewalMethod
from inventory.dates import in_zone, shifted
from inventory.vocabulary import Acceptance, Party, Severity, deciding
from notifiers.wording.catalogue import ENGLISH, Language
from notifiers.wording.renewals import PLANNED, PLANNED_BY_PERSON
from notifiers.wording.scope import may_be_foreign

_LATE_AUTOMATION = timedelta(days=15)
# The finding that a plan explains.
EXPIRING = "certificate-expiring"
# With one of these, what is served there is not what the planned renewal replaces.
_OTHER_CERTIFICATE = frozenset({"points-elsewhere", "foreign-address", "unexpected-certificate"})


class PlannedBy(StrEnum):
    """The party that does a planned renewal."""

    US = "us"
    PANEL = "panel"
    CDN = "cdn"
    AUTOMATION = "automation"  # of the client


# Automation that scans only observed is no promise. It usually replaces a certificate before this
# finding opens, so that one with the finding was not replaced as it was before.
_AUTOMATIONS = {
    RenewalMethod.PANEL: PlannedBy.PANEL,
    RenewalMethod.CDN: PlannedBy.CDN,
    RenewalMethod.STATED: PlannedBy.AUTOMATION,
}


@dataclass(frozen=True, slots=True)
class ServedDates:
    """The dates of the certificate that an endpoint serves."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class RenewalPlan:
    """A renewal that is due and in time.

    Attributes:
        by: The party that does it.
        until: When it must be done. From then on it is late, and a fault.
        reference: The lineage, the case or the purchase under which it is done; empty if none is
            known.
        person: The staff member to whom it is assigned; empty if there is none.
        begun: Whether it needs no decision of a person any more: it is automatic, or its case is
            open, or it is assigned.
    """

    by: PlannedBy
    until: datetime
    reference: str = ""
    person: str = ""
    begun: bool = True

    def text(self, language: Language) -> str:
        """Return who does it and until when, such as ``planned, by us, until 12 December 2026``."""
        return self._until(language, language.date(self.until))

    def staff_text(self, zone: tzinfo) -> str:
        """Return the same for staff: in English, with the date in the zone of the provider."""
        # As in all lists of the terminal.
        return self._until(ENGLISH, f"{in_zone(self.until, zone):%Y-%m-%d}")

    def _until(self, language: Language, date: str) -> str:
        if self.person:
            return language(PLANNED_BY_PERSON).format(person=self.person, date=date)
        return language(PLANNED[self.by]).format(date=date)

    def description(self, zone: tzinfo) -> str:
        """Return the plan as one line for staff, with its reference."""
        reference = f" ({self.reference})" if self.reference else ""
        waits = "" if self.begun else "; no case is open for it yet"
        return f"{self.staff_text(zone)}{reference}{waits}"


def renewal_plan(
    facts: RenewalFacts,
    client_id: int,
    host: str,
    served: ServedDates,
    now: datetime,
    codes: Collection[str] = (),
) -> RenewalPlan | None:
    """Return the plan by which the certificate of a host is renewed.

    None if it is not due, if it is late, or if the client has to do it.

    Args:
        facts: Who renews which name.
        client_id: The owner of the host.
        host: The host.
        served: The dates of the certificate that it serves.
        now: The time of the answer.
        codes: The codes of all findings of the endpoint.
    """
    severity = expiring(served.not_before, served.not_after, now)
    # From the severity high on, a renewal is late, for each party.
    if severity != Severity.MEDIUM or may_be_foreign(codes):
        return None
    if not _OTHER_CERTIFICATE.isdisjoint(codes):
        return None
    life = served.not_after - served.not_before
    renewer = facts.renewer(client_id, host)
    if renewer.method is RenewalMethod.LINEAGE:
        # A lineage without success at a sixth of the life has missed several attempts.
        until = shifted(served.not_after, -(life / 6))
        own = _lineage_to_renew(facts.active_lineages(client_id, host), served)
        if own is None or now >= until:
            return None
        return RenewalPlan(PlannedBy.US, until, f"lineage {own.name}")
    if (automation := _AUTOMATIONS.get(renewer.method)) is not None:
        # How early it usually renews is not known. Two weeks before the end its party is reminded,
        # so that it counts as late from then on.
        until = shifted(served.not_after, -min(_LATE_AUTOMATION, life / 6))
        return RenewalPlan(automation, until) if now < until else None
    until = shifted(served.not_after, -min(timedelta(days=7), life / 10))
    # Who buys a certificate also renews it, unless another party is recorded.
    recorded = facts.domain(client_id, host)
    if recorded is None or (recorded.parties.renews or recorded.parties.buys) != Party.US:
        return None
    case = facts.case(client_id, host)
    # A case past its date is not in time, and staff must see it.
    if case is not None and case.due is not None and case.due < now:
        return None
    if case is not None:
        return RenewalPlan(PlannedBy.US, until, f"case {case.reference}")
    purchase = f"purchase {renewer.reference}" if renewer.reference else ""
    return RenewalPlan(PlannedBy.US, until, purchase, begun=False)


def _lineage_to_renew(lineages: Iterable[LineageCover], served: ServedDates) -> LineageCover | None:
    """Return the lineage without trouble that renews what a host serves."""
    return next(
        (
            x
            for x in lineages
            if not x.trouble
            # A newer certificate of the lineage exists already: it is not installed there.
            and x.not_after is not None
            and x.not_after <= served.not_after
        ),
        None,
    )


def assigned_plan(plan: RenewalPlan, assigned: Iterable[Acceptance], now: datetime) -> RenewalPlan:
    """Return a plan with the person to whom the renewal is assigned.

    Args:
        plan: The plan.
        assigned: The assignments of the finding that are in force.
        now: The time of the answer.
    """
    last = deciding(assigned, now)
    if last is None:
        return plan
    # What a person promises for later than the last day is late on that day all the same.
    return replace(plan, person=last.by, until=min(plan.until, last.until), begun=True)
