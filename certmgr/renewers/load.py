"""The facts from the inventory that decide who renews a name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sqlalchemy import Connection

from certmgr.renewers.renewer import (
    DomainParties,
    LineageCover,
    OpenCase,
    PurchaseCover,
    RenewalFacts,
)
from inventory.db.database import from_epoch
from inventory.records import AccountRecord, ListedLineage
from inventory.store import (
    accounts,
    cases,
    certificate_ends,
    domains,
    editing,
    lineages,
    purchases,
)
from inventory.store.certificate_ends import EarlierLeaf
from inventory.vocabulary import AccountState, LineageNameState, OnFailedName
from notifiers.pipeline.thresholds import learned_lead

# Above this number of clients, one query for all is cheaper than one per client.
_FEW_CLIENTS = 20


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
        lineages=_lineage_covers(conn, client_id),
        purchases=purchases_by_client,
        domains=domains_by_client,
        learned=_learned_leads(conn, client_id) if learned else {},
        cases=_open_cases(conn, client_id),
    )


def load_lineages(conn: Connection, now: datetime) -> RenewalFacts:
    """Return the lineages of all clients alone, which decide whose renewal is ours.

    A scan asks for each endpoint, and needs none of the other facts.
    """
    return RenewalFacts(now=now, lineages=_lineage_covers(conn, None))


def load_facts_of(conn: Connection, now: datetime, client_ids: Collection[int]) -> RenewalFacts:
    """Return what decides who renews the names of some clients, without what scans learned.

    Few clients are read one by one: in a large inventory most of the rows are not theirs.
    """
    if len(client_ids) > _FEW_CLIENTS:
        return load_facts(conn, now, learned=False)
    found = [load_facts(conn, now, i, learned=False) for i in sorted(client_ids)]
    return RenewalFacts(
        now=now,
        lineages={k: v for f in found for k, v in f.lineages.items()},
        purchases={k: v for f in found for k, v in f.purchases.items()},
        domains={k: v for f in found for k, v in f.domains.items()},
        cases={k: v for f in found for k, v in f.cases.items()},
    )


def _lineage_covers(conn: Connection, client_id: int | None) -> dict[int, list[LineageCover]]:
    """Return the lineages by client."""
    usable = {a.id: a for a in accounts.listing(conn)}
    covers: dict[int, list[LineageCover]] = {}
    for row in lineages.listing(conn, client_id=client_id, states=("active",)):
        # A lineage that never issued has not renewed anything yet.
        if row.sha256 is not None:
            account = usable.get(row.account_id)
            covers.setdefault(row.client_id, []).append(_lineage_cover(row, account))
    return covers


def _open_cases(conn: Connection, client_id: int | None) -> dict[int, dict[str, OpenCase]]:
    """Return the open case of each name, by client."""
    found: dict[int, dict[str, OpenCase]] = {}
    for row in cases.listing(conn, client_id=client_id, states=cases.OPEN):
        case = OpenCase(row.reference, from_epoch(row.due_at))
        for name in row.names:
            found.setdefault(row.client_id, {})[name] = case
    return found


def _lineage_cover(row: ListedLineage, account: AccountRecord | None) -> LineageCover:
    blocked = ""
    # The fallback account of an order serves a CA that does not answer, and not a lost account.
    if account is None or account.state is not AccountState.ACTIVE:
        blocked = f"its account {row.account} is {account.state if account else 'retired'}"
    elif row.shrink is not OnFailedName.AUTO and any(
        n.state == LineageNameState.QUARANTINED and n.name not in row.shrink_ok for n in row.names
    ):
        blocked = "it waits for the approval to issue without a name that failed"
    return LineageCover(
        name=row.name,
        state=row.state,
        names=tuple(n.name for n in row.names if n.state == LineageNameState.ACTIVE),
        not_after=from_epoch(row.not_after) if row.not_after is not None else None,
        # A note without a failure, such as that of a chain, is no trouble.
        error=(row.error or "") if row.failures else "",
        blocked=blocked,
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


def replacement_leads(history: Sequence[EarlierLeaf]) -> list[timedelta]:
    """Return how long before its end each leaf of an endpoint was replaced, oldest first.

    Args:
        history: The leaves, in the order in which they were first seen.
    """
    return [
        timedelta(seconds=before.not_after - after.first_seen)
        for before, after in pairwise(history)
    ]


def lead_of(history: Sequence[EarlierLeaf]) -> timedelta | None:
    """Return how long before its end an endpoint's certificate is replaced; None if unknown.

    Args:
        history: The leaves, in the order in which they were first seen.
    """
    if not history:
        return None
    life = timedelta(seconds=history[-1].not_after - history[-1].not_before)
    return learned_lead(life, replacement_leads(history))
