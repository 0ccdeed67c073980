"""The facts from the inventory that decide who renews a name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sqlalchemy import Connection

from certmgr.renewers.renewer import (
    DomainParties,
    LineageCover,
    PurchaseCover,
    RenewalFacts,
)
from inventory.db.database import from_epoch
from inventory.records import ListedLineage
from inventory.store import certificate_ends, domains, editing, lineages, purchases
from inventory.vocabulary import LineageNameState
from notifiers.pipeline.thresholds import learned_lead


def load_facts(
    conn: Connection, now: datetime, client_id: int | None = None, *, learned: bool = True
) -> RenewalFacts:
    """Return what decides who renews the names of one client, or of all clients.

    Args:
        conn: An open connection.
        now: The time of the answers.
        client_id: Only facts of this client.
        learned: Whether automation is recognised by the replacements that scans saw. It costs a
            query over all observations.
    """
    lineages_by_client: dict[int, list[LineageCover]] = {}
    for row in lineages.listing(conn, client_id=client_id, states=("active",)):
        # A lineage that never issued has not renewed anything yet.
        if row.sha256 is not None:
            lineages_by_client.setdefault(row.client_id, []).append(_lineage_cover(row))
    purchases_by_client: dict[int, list[PurchaseCover]] = {}
    # Purchases that ended renew nothing, whatever they once covered.
    for purchase in purchases.listing(conn, client_id=client_id, ended=False):
        cover = PurchaseCover(
            label=purchases.label(purchase.vendor, purchase.number, purchase.id),
            names=purchase.names,
            starts=datetime.fromtimestamp(purchase.starts_at, UTC),
            ends=datetime.fromtimestamp(purchase.ends_at, UTC),
        )
        purchases_by_client.setdefault(purchase.client_id, []).append(cover)
    domains_by_client: dict[int, dict[str, DomainParties]] = {}
    # A tag of a client or a server holds for all its domains.
    of_clients = editing.tags_of(conn, "client", None if client_id is None else [client_id])
    of_servers = editing.tags_of(conn, "server", None)
    for domain in domains.listing(conn, client_id=client_id):
        tags = (
            *domain.tags,
            *of_clients.get(domain.client_id, ()),
            *of_servers.get(domain.server_id or 0, ()),
        )
        recorded = DomainParties(domain.state == "active", domain.parties, tags)
        domains_by_client.setdefault(domain.client_id, {})[domain.name] = recorded
    return RenewalFacts(
        now=now,
        lineages=lineages_by_client,
        purchases=purchases_by_client,
        domains=domains_by_client,
        learned=_learned_leads(conn, client_id) if learned else {},
    )


def _lineage_cover(row: ListedLineage) -> LineageCover:
    return LineageCover(
        name=row.name,
        state=row.state,
        names=tuple(n.name for n in row.names if n.state == LineageNameState.ACTIVE),
        not_after=from_epoch(row.not_after) if row.not_after is not None else None,
        # A note without a failure, such as that of a chain, is no trouble.
        error=(row.error or "") if row.failures else "",
    )


def _learned_leads(conn: Connection, client_id: int | None) -> dict[int, dict[str, timedelta]]:
    """Return client -> host -> how long before its end a certificate is replaced."""
    leads: dict[int, dict[str, timedelta]] = {}
    replaced = certificate_ends.replaced_endpoints(conn, client_id)
    history = certificate_ends.replacements(conn, [r.endpoint_id for r in replaced])
    for row in replaced:
        lead = lead_of(history.get(row.endpoint_id, ()))
        if lead is None:
            continue
        known = leads.setdefault(row.client_id, {})
        # With several ports of a host, the one that is renewed last decides.
        known[row.host] = min(lead, known.get(row.host, lead))
    return leads


def lead_of(history: Sequence[tuple[str, int, int, int]]) -> timedelta | None:
    """Return how long before its end an endpoint's certificate is replaced; None if unknown.

    Args:
        history: (SHA-256, first seen, notBefore, notAfter) in the order of first sight; instants
            are epoch seconds.
    """
    if not history:
        return None
    life = timedelta(seconds=history[-1][3] - history[-1][2])
    return learned_lead(life, [timedelta(seconds=b[3] - a[1]) for b, a in pairwise(history)])
