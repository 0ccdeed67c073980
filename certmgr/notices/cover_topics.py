"""Names that lose cover: the certificate of an endpoint that ends first. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta, tzinfo

from certmgr.checks.actors import actor_of, we_install
from certmgr.compliance.milestones import Deadline
from certmgr.compliance.steps import backward_schedule
from certmgr.inspection.causes import fix_location
from certmgr.notices.basis import (
    TopicBasis,
    assignment_of,
    named_certificate,
    reason_to_suppress,
    target_of,
    utc_of,
)
from certmgr.purchases.model import LeadTimes
from certmgr.renewers.load import replacement_leads
from certmgr.renewers.plan import (
    EXPIRING,
    PlannedBy,
    RenewalPlan,
    ServedDates,
    assigned_plan,
    renewal_plan,
)
from certmgr.renewers.renewer import Renewer
from inventory.dates import SHORT_LIVED, shifted, usual_renewal_lead
from inventory.records import EndpointOwnership
from inventory.store.certificate_ends import EarlierLeaf, ServedLeaf
from inventory.vocabulary import Actor, Finding, Parties
from notifiers.pipeline.thresholds import DAY, learned_lead
from notifiers.pipeline.topic import CoverFacts, ScheduledEnd, Topic
from notifiers.wording.scope import may_be_foreign


def cover(
    basis: TopicBasis,
    endpoint_id: int,
    history: Sequence[EarlierLeaf],
    leads: LeadTimes,
) -> Topic | None:
    """Return the topic of the certificate that ends first on the addresses of an endpoint.

    None if the certificate belongs to another client: that is a fault, and not an end.
    """
    place, served = basis.places.get(endpoint_id), basis.served.get(endpoint_id)
    codes = {r.code for r in basis.open.get(endpoint_id, ())}
    if place is None or not served or may_be_foreign(codes):
        return None
    # The address whose certificate ends first decides when the name loses cover.
    first = min(served, key=lambda leaf: (leaf.not_after, leaf.sha256))
    end, start, now = utc_of(first.not_after), utc_of(first.not_before), basis.now
    # What our lineage renews is ours, whatever is recorded of the domain.
    parties = basis.renewers.parties(place.client_id, place.host, place.parties)
    is_over = end <= now
    code = "certificate-expired" if is_over else "certificate-expiring"
    elsewhere = "points-elsewhere" in codes
    actor = actor_of(code, "high", parties, elsewhere=elsewhere, ever_had_certificate=True)
    renewer = basis.renewers.renewer(place.client_id, place.host)
    # What renews automatically needs no time for buying.
    client_buys = actor is Actor.CLIENT and not renewer.automatic
    ahead = _client_steps(end, now, leads, parties, elsewhere=elsewhere) if client_buys else []
    renewal_lead = _renewal_lead(renewer, history, end - start, ours=endpoint_id in basis.automated)
    finding = _finding(code, served, first, actor)
    kind, where = fix_location(
        target_of(place), place.client, place.server, first.sha256, first.issuer, finding
    )
    assigned = assignment_of(place, code, basis, endpoint_id)
    planned = _planned(basis, place, endpoint_id, ServedDates(start, end), codes)
    return Topic(
        key=f"cover:{endpoint_id}:{place.client_id}",
        # A new certificate is a new revision, so that its reminders begin again.
        revision=first.sha256,
        client_id=place.client_id,
        client=place.client,
        domain_id=place.domain_id,
        target=target_of(place),
        severity=str(finding.severity),
        actor=str(actor),
        code=code,
        opened=start,
        facts=_facts(
            place,
            served,
            first,
            finding,
            we_install=we_install(parties, elsewhere),
            counted=code in codes,
        ),
        schedule=ScheduledEnd(end, end - start, leads.total if client_buys else 0, renewal_lead),
        act_by=_act_by(end, ahead, now),
        visible=is_over,
        assigned=None if assigned is None else (assigned.by, assigned.until),
        quiet=assigned is not None and not assigned.informs,
        planned="" if planned is None else planned.description(basis.zone),
        suppress_reason=reason_to_suppress(place, code, basis, endpoint_id)
        or _handled(planned, basis.zone),
        cause=f"{kind} {where} {code}",
        tags=place.tags,
    )


def _finding(code: str, served: Sequence[ServedLeaf], first: ServedLeaf, actor: Actor) -> Finding:
    """Return the finding about the certificate that ends first."""
    severity = "critical" if code == "certificate-expired" else "high"
    # Only the addresses that serve this certificate.
    addresses = tuple(sorted(leaf.address for leaf in served if leaf.sha256 == first.sha256))
    end = utc_of(first.not_after)
    return Finding(code, severity, addresses, {"not_after": end.isoformat()}, actor)


def _facts(
    place: EndpointOwnership,
    served: Sequence[ServedLeaf],
    first: ServedLeaf,
    finding: Finding,
    *,
    we_install: bool,
    counted: bool,
) -> CoverFacts:
    """Return the facts of a certificate that ends.

    Args:
        place: The endpoint.
        served: What its addresses serve.
        first: The certificate that ends first.
        finding: The finding about its end.
        we_install: Whether the provider installs the next one.
        counted: Whether a scan found it, too.
    """
    return CoverFacts(
        endpoint_id=place.id,
        server_id=place.server_id,
        finding=finding,
        certificate=named_certificate(first),
        # Only a certificate that starts and ends later is a successor.
        partial=any(
            leaf.not_after > first.not_after and leaf.not_before > first.not_before
            for leaf in served
        ),
        we_install=we_install,
        counted=counted,
    )


def _client_steps(
    end: datetime, now: datetime, leads: LeadTimes, parties: Parties, *, elsewhere: bool
) -> list[datetime]:
    """Return the days by which the client must do the steps that are still in time."""
    due = Deadline(
        "",
        end,
        "",
        purchase_days=leads.purchase,
        validation_days=leads.validation,
        installation_days=leads.installation,
    )
    steps = backward_schedule(end, due, now, parties, needs_certificate=True, elsewhere=elsewhere)
    return [s.by for s in steps if s.actor == "client" and not s.late]


def _planned(
    basis: TopicBasis,
    place: EndpointOwnership,
    endpoint_id: int,
    served: ServedDates,
    codes: Collection[str],
) -> RenewalPlan | None:
    """Return the renewal that is due and in time, with the person to whom it is assigned."""
    now = basis.now
    planned = renewal_plan(basis.renewers, place.client_id, place.host, served, now, codes)
    if planned is None:
        return None
    scope = (place.client_id, place.domain_id, endpoint_id, now)
    taken = (a for a in basis.assigned if a.covers(EXPIRING, *scope))
    return assigned_plan(planned, taken, now)


def _handled(planned: RenewalPlan | None, zone: tzinfo) -> str:
    """Return why a planned renewal needs no notice; empty if it needs one."""
    # What needs no decision of a person any more is neither a fault nor a task. Automation that is
    # not ours has separate thresholds: the first one means that it is late.
    if planned is None or not planned.begun or planned.by is not PlannedBy.US:
        return ""
    return planned.description(zone)


def _act_by(end: datetime, ahead: Sequence[datetime], now: datetime) -> datetime:
    """Return the day of the first step that is still in time.

    If all steps are late, it is the day before the end, since the new certificate has to be
    installed too; else the end.
    """
    return next((by for by in (*ahead, shifted(end, -DAY)) if by > now), end)


def _renewal_lead(
    renewer: Renewer,
    history: Sequence[EarlierLeaf],
    life: timedelta,
    *,
    ours: bool,
) -> timedelta | None:
    """Return how long before the end automation renews. None if people renew.

    It is learned from two replacements. If there are none, it is the usual share of the lifetime,
    provided that automation is known, or the lifetime is so short that people could not renew.

    Args:
        renewer: Who renews the name.
        history: The certificates that the endpoint served.
        life: The lifetime of the certificate.
        ours: Whether a healthy lineage handles the endpoint in time.
    """
    learned = learned_lead(life, replacement_leads(history))
    # Observed behaviour wins over what is recorded.
    if learned is not None:
        return learned
    # A lineage alone is no reason to wait: one that fails is not in ``ours``.
    known = ours or (renewer.automatic and not renewer.ours)
    return usual_renewal_lead(life) if known or life < SHORT_LIVED else None
