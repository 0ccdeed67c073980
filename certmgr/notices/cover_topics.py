"""Names that lose cover: the certificate of an endpoint that ends first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

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
from certmgr.renewers.plan import ServedDates, renewal_plan
from certmgr.renewers.renewer import Renewer
from inventory.dates import shifted
from inventory.vocabulary import Actor, Finding
from notifiers.pipeline.thresholds import DAY, default_renewal_lead, learned_lead
from notifiers.pipeline.topic import CoverFacts, ScheduledEnd, Topic
from notifiers.wording.scope import may_be_foreign


def cover(
    basis: TopicBasis,
    endpoint_id: int,
    history: Sequence[tuple[str, int, int, int]],
    leads: LeadTimes,
) -> Topic | None:
    """Return the topic of the certificate that ends first on the addresses of an endpoint.

    None if the certificate belongs to another client: that is a fault, and not an end.
    """
    place, served = basis.places.get(endpoint_id), basis.served.get(endpoint_id)
    rows = basis.open.get(endpoint_id, ())
    codes = {r.code for r in rows}
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
    renewal_lead = _renewal_lead(renewer, history, end - start, ours=endpoint_id in basis.automated)
    steps = backward_schedule(
        end,
        Deadline(
            "",
            end,
            "",
            purchase_days=leads.purchase,
            validation_days=leads.validation,
            installation_days=leads.installation,
        ),
        now,
        parties,
        needs_certificate=True,
        elsewhere=elsewhere,
    )
    ahead = [s.by for s in steps if s.actor == "client" and not s.late]
    # The finding names only the addresses that serve the certificate that ends first.
    addresses = tuple(sorted(leaf.address for leaf in served if leaf.sha256 == first.sha256))
    finding = Finding(
        code, "critical" if is_over else "high", addresses, {"not_after": end.isoformat()}, actor
    )
    # Only a certificate that starts and ends later is a successor.
    newer = [
        leaf
        for leaf in served
        if leaf.not_after > first.not_after and leaf.not_before > first.not_before
    ]
    kind, where = fix_location(
        target_of(place), place.client, place.server, first.sha256, first.issuer, finding
    )
    facts = CoverFacts(
        endpoint_id=endpoint_id,
        server_id=place.server_id,
        finding=finding,
        certificate=named_certificate(first),
        partial=bool(newer),
        we_install=we_install(parties, elsewhere),
    )
    assigned = assignment_of(place, code, basis, endpoint_id)
    served_dates = ServedDates(start, end)
    plan = renewal_plan(basis.renewers, place.client_id, place.host, served_dates, now, codes)
    suppressed = reason_to_suppress(place, code, basis, endpoint_id)
    # What needs no decision of a person any more is neither a fault nor a task.
    if not suppressed and plan is not None and plan.begun:
        suppressed = plan.description
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
        facts=facts,
        schedule=ScheduledEnd(end, end - start, leads.total if client_buys else 0, renewal_lead),
        act_by=_act_by(end, ahead if client_buys else (), now),
        visible=is_over,
        assigned=None if assigned is None else (assigned.by, assigned.until),
        quiet=assigned is not None and not assigned.informs,
        planned="" if plan is None else plan.description,
        suppress_reason=suppressed,
        cause=f"{kind} {where} {code}",
        tags=place.tags,
    )


def _act_by(end: datetime, ahead: Sequence[datetime], now: datetime) -> datetime:
    """Return the day of the first step that is still in time.

    If all steps are late, it is the day before the end, since the new certificate has to be
    installed too; else the end.
    """
    return next((by for by in (*ahead, shifted(end, -DAY)) if by > now), end)


def _renewal_lead(
    renewer: Renewer,
    history: Sequence[tuple[str, int, int, int]],
    life: timedelta,
    *,
    ours: bool,
) -> timedelta | None:
    """Return how long before the end automation renews. None if people renew.

    It is learned from two replacements. If there are none, it is a third of the lifetime, provided
    that automation is known.

    Args:
        renewer: Who renews the name.
        history: The certificates that the endpoint served.
        life: The lifetime of the certificate.
        ours: Whether a healthy lineage handles the endpoint in time.
    """
    leads = [utc_of(before[3]) - utc_of(after[1]) for before, after in pairwise(history)]
    learned = learned_lead(life, leads)
    # Observed behaviour wins over what is recorded.
    if learned is not None:
        return learned
    # A lineage alone is no reason to wait: one that fails is not in ``ours``.
    known = ours or (renewer.automatic and not renewer.ours)
    return default_renewal_lead(life) if known else None
