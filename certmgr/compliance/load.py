"""Reads what the assessment of domains needs: the deadlines, and the facts of each domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from certmgr.compliance.assessment import DomainFacts
from certmgr.compliance.facts import EndpointFacts, LeafFacts
from certmgr.compliance.milestones import Deadline, milestones
from certmgr.inspection.status import EndpointStatus, load
from certmgr.renewers.load import load_facts
from certmgr.renewers.plan import EXPIRING
from certmgr.renewers.renewer import RenewalFacts, Renewer
from inventory.db.database import Database, from_epoch, to_epoch
from inventory.records import ListedDomain
from inventory.store import clients, deadlines, domains, endpoint_status, page_observations
from inventory.vocabulary import Parties, Party


def own_deadlines(database: Database, at: datetime | None = None) -> tuple[Deadline, ...]:
    """Return the deadlines of the provider; with ``at``, those that existed at that time."""
    with database.read() as conn:
        rows = deadlines.listing(conn, at=at)
    own = []
    for row in rows:
        timestamp = from_epoch(row.at)
        assert timestamp is not None
        own.append(
            Deadline(
                name=row.name,
                at=timestamp,
                title=row.title,
                rule=row.rule,
                affects="",
                source="the provider",
                confidence="V",  # the provider is the primary source
                own=True,
                text=row.text or "",
                clients=frozenset(row.clients),
                tags=frozenset(row.tags),
                purchase_days=row.purchase_days,
                validation_days=row.validation_days,
                installation_days=row.installation_days,
            )
        )
    return tuple(own)


def all_deadlines(database: Database, at: datetime | None = None) -> tuple[Deadline, ...]:
    """Return the milestones and the deadlines of the provider, the earliest first."""
    return tuple(
        sorted([*milestones(), *own_deadlines(database, at)], key=lambda d: (d.at, d.name))
    )


def load_domain_facts(
    database: Database,
    now: datetime,
    *,
    as_of: datetime | None = None,
    client: str | None = None,
    tag: str | None = None,
) -> tuple[list[DomainFacts], list[EndpointStatus]]:
    """Load what is known about the domains.

    Args:
        database: The inventory.
        now: The current time.
        as_of: In the past: what was known then. In the future: what is known now, with the
            validity dates judged at that time.
        client: Only the domains of this client (number or name).
        tag: Only endpoints with this tag.

    Returns:
        The domains that have an endpoint, and the status of these endpoints.
    """
    at = as_of or now
    past = as_of is not None and as_of <= now
    statuses = load(database, now, as_of=as_of, client=client, tag=tag)
    with database.read() as conn:
        client_id = clients.find(conn, client).id if client else None
        rows = domains.listing(conn, client_id=client_id, retired=past)
        pages = page_observations.visited(conn, to_epoch(at) if past else None, client_id)
        served = endpoint_status.leaves(conn, to_epoch(at) if past else None, client_id)
        client_tags = clients.tags(conn, client_id)
    renewals = None if past else _renewal_facts(database, now, client_id, statuses)
    by_domain: dict[int, list[EndpointStatus]] = {}
    for status in statuses:
        by_domain.setdefault(status.domain_id, []).append(status)
    facts = []
    for row in rows:
        endpoints_of_domain = by_domain.get(row.id)
        if endpoints_of_domain is None:
            continue  # no endpoint is selected
        known = tuple(
            _known(
                s,
                row.purpose,
                served.get(s.id, ()),
                s.id in pages,
                renewed=renewals is not None
                and _is_in_time(s)
                and is_planned(renewals.renewer(row.client_id, s.target.host), row.parties),
            )
            for s in endpoints_of_domain
            if s.target.protocol == "https"  # the rules are about websites
        )
        facts.append(_domain_facts(row, client_tags.get(row.client_id, frozenset()), known))
    return facts, statuses


def _domain_facts(
    row: ListedDomain, client_tags: frozenset[str], known: tuple[EndpointFacts, ...]
) -> DomainFacts:
    return DomainFacts(
        domain_id=row.id,
        name=row.name,
        client=row.client,
        client_id=row.client_id,
        purpose=row.purpose,
        policy=row.policy,
        parties=row.parties,
        # A tag of the client holds for all its domains.
        tags=frozenset(row.tags) | client_tags,
        known=known,
    )


def _renewal_facts(
    database: Database, now: datetime, client_id: int | None, statuses: Sequence[EndpointStatus]
) -> RenewalFacts | None:
    """Return who renews the certificates; None if none ends soon, so that it does not matter."""
    if not any(
        s.planned is not None or any(f.code == EXPIRING for f in s.findings) for s in statuses
    ):
        return None
    with database.read() as conn:
        # Automation that was only observed is no promise, and reading it costs more than the rest.
        return load_facts(conn, now, client_id, learned=False)


def is_planned(renewer: Renewer, parties: Parties) -> bool:
    """Return whether a renewal is ours or automatic, and no trouble is known."""
    # Who buys a certificate also renews it, unless another party is recorded.
    ours = (parties.renews or parties.buys) == Party.US
    return not renewer.trouble and (renewer.automatic or ours)


def _is_in_time(status: EndpointStatus) -> bool:
    """Return whether no renewal is due there that is late or not planned."""
    return status.planned is not None or all(f.code != EXPIRING for f in status.findings)


def _known(
    status: EndpointStatus,
    purpose: str,
    served: Iterable[tuple[int, int, int | None]],
    visited: bool,
    *,
    renewed: bool = False,
) -> EndpointFacts:
    leaves = []
    for start, end, public in served:
        not_before, not_after = from_epoch(start), from_epoch(end)
        assert not_before is not None
        assert not_after is not None
        leaves.append(LeafFacts(not_before, not_after, None if public is None else bool(public)))
    # An endpoint that was scanned only in incomplete runs counts as not checked.
    checked = status.last_attempt is not None and not status.never
    return EndpointFacts(
        target=status.target,
        purpose=purpose,
        findings=tuple(status.findings),
        leaves=tuple(leaves),
        checked=checked,
        visited=visited,
        accepted=tuple(status.accepted),
        renewed=renewed,
        planned=status.planned,
    )
