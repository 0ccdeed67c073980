"""Erasure of a client (GDPR, article 17), in one transaction.

Personal data is deleted. What the provider must be able to show stays, as numbers without a name.
"""

from __future__ import annotations

from sqlalchemy import delete, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, delete_in
from inventory.models import (
    AcmeBackoff,
    AcmeEvent,
    AcmeOrder,
    Case,
    CaseEvent,
    CaseName,
    Client,
    Contact,
    ContactMethod,
    Deployment,
    Domain,
    Endpoint,
    IncidentItem,
    Issuance,
    LineageName,
    PageObservation,
    ProbeState,
    Proposal,
    PurchaseName,
    RevocationCheck,
    ServedChain,
    StoredCertificate,
    StoredFinding,
    StoredLineage,
    StoredPurchase,
    Tag,
    ZoneScope,
    ZoneView,
)
from inventory.names import display, registered_domain
from inventory.records import ClientRecord
from inventory.store import clients, worker_calls
from inventory.store.erase_messages import erase_subjects, erase_texts


def erase(tx: Tx, number: str) -> dict[str, int]:
    """Erase a client, and return the number of deleted rows by kind.

    Names, addresses, domains, what scans saw there, and the texts of notices are deleted. The row
    of the client (``erased-ID``), the rows of notices with their times and states, and the audit
    log, which contains ids only, stay. Backups keep what they contain.
    """
    # Everything is collected before the first deletion: later steps find it only through rows that
    # earlier ones delete.
    row = clients.find(tx.conn, number)
    client_id = int(row.id)
    endpoints = list(
        tx.conn.scalars(select(Endpoint.id).join(Domain).where(Domain.client_id == client_id))
    )
    domain_ids = list(tx.conn.scalars(select(Domain.id).where(Domain.client_id == client_id)))
    contacts = list(tx.conn.scalars(select(Contact.id).where(Contact.client_id == client_id)))
    leaves = _leaves(tx, endpoints)
    gone = {"domains": len(domain_ids), "endpoints": len(endpoints), "contacts": len(contacts)}
    hosts = _hosts(tx, client_id)
    # Before contacts and domains go: their ids and names show which notices mention the client.
    # Texts are searched for each name in both forms, as mails show the U-label.
    erase_texts(tx, row, contacts, {shown for h in hosts for shown in (h, display(h))})
    erase_subjects(tx, client_id, domain_ids, endpoints)
    for table in (PageObservation, ServedChain, StoredFinding, Proposal, ProbeState, ZoneView):
        delete_in(tx.conn, table, table.endpoint_id, endpoints)
    for ids, kind in ((endpoints, "endpoint"), (domain_ids, "domain"), ([client_id], "client")):
        delete_in(tx.conn, Tag, Tag.row_id, ids, Tag.kind == kind)
    of_client = (ZoneScope.kind == "client", ZoneScope.row_id == client_id)
    tx.conn.execute(delete(ZoneScope).where(*of_client))
    _internal_names(tx, hosts)
    leaves |= _purchases(tx, client_id, gone)
    leaves |= _lineages(tx, client_id, gone)
    _counted(tx, hosts)
    # Results on their way to a command may name the client.
    worker_calls.remove_all(tx)
    # In the order of the foreign keys: rows that refer to others are deleted first.
    delete_in(tx.conn, Endpoint, Endpoint.id, endpoints)
    delete_in(tx.conn, Domain, Domain.id, domain_ids)
    gone["certificates"] = _certificates(tx, leaves)
    _contacts(tx, contacts)
    # Clients of an erased reseller are notified directly from now on.
    tx.conn.execute(update(Client).where(Client.reseller_id == client_id).values(reseller_id=None))
    _anonymise(tx, row)
    # Numbers only: the audit log cannot be changed later, so no personal data may enter it.
    tx.audit("erase", "client", client_id, gone)
    return gone


def _internal_names(tx: Tx, hosts: set[str]) -> None:
    """Delete assignments of zones that name a host of the client. Names above them are ours."""
    delete_in(tx.conn, ZoneScope, ZoneScope.value, sorted(hosts), ZoneScope.kind == "internal")


def _hosts(tx: Tx, client_id: int) -> set[str]:
    """Return every name of the client that a text may contain."""
    domains = select(Domain.name).where(Domain.client_id == client_id)
    endpoints = select(Endpoint.host).join(Domain).where(Domain.client_id == client_id)
    return (
        set(tx.conn.scalars(domains))
        | set(tx.conn.scalars(endpoints))
        | _lineage_hosts(tx, client_id)
    )


def _contacts(tx: Tx, contacts: list[int]) -> None:
    """Delete the contacts with their contact methods."""
    for part in chunks(contacts):
        # A contact of staff may name one of these as deputy.
        deputies = update(Contact).where(Contact.fallback_id.in_(part))
        tx.conn.execute(deputies.values(fallback_id=None))
    delete_in(tx.conn, ContactMethod, ContactMethod.contact_id, contacts)
    delete_in(tx.conn, Contact, Contact.id, contacts)


def _anonymise(tx: Tx, row: ClientRecord) -> None:
    """Retire the client without its data. The row stays: notices and audit log refer to its id."""
    name = f"erased-{row.id}"
    values = {
        "number": name,
        "name": name,
        "note": None,
        "account_manager": None,
        "reseller_id": None,
        "state": "retired",
        "retired_at": row.retired_at or tx.at,
    }
    tx.conn.execute(update(Client).where(Client.id == row.id).values(values))


def _purchases(tx: Tx, client_id: int, gone: dict[str, int]) -> set[str]:
    """Purchases and cases with all their texts.

    Key files are named by the case and stay: they are the provider's to destroy.
    """
    order_ids = list(
        tx.conn.scalars(select(StoredPurchase.id).where(StoredPurchase.client_id == client_id))
    )
    case_ids = list(tx.conn.scalars(select(Case.id).where(Case.client_id == client_id)))
    gone |= {"orders": len(order_ids), "cases": len(case_ids)}
    tx.conn.execute(
        update(IncidentItem)
        .where(IncidentItem.client_id == client_id)
        # The item stays, so that the incident still accounts for each serial number.
        .values(client_id=None, case_id=None, names=())
    )
    found: set[str] = set()
    for column, ids in ((Issuance.case_id, case_ids), (Issuance.order_id, order_ids)):
        for part in chunks(ids):
            found |= {
                s for s in tx.conn.scalars(select(Issuance.sha256).where(column.in_(part))) if s
            }
        # An issuance refers to a case or to a purchase, so both are asked for.
        delete_in(tx.conn, Issuance, column, ids)
    for table in (CaseEvent, CaseName):
        delete_in(tx.conn, table, table.case_id, case_ids)
    delete_in(tx.conn, Case, Case.id, case_ids)
    delete_in(tx.conn, PurchaseName, PurchaseName.order_id, order_ids)
    for part in chunks(order_ids):
        tx.conn.execute(
            update(StoredPurchase)
            # Purchases refer to each other, so the references are removed before the rows.
            .where(StoredPurchase.successor_id.in_(part))
            .values(successor_id=None)
        )
    delete_in(tx.conn, StoredPurchase, StoredPurchase.id, order_ids)
    return found


def _lineages(tx: Tx, client_id: int, gone: dict[str, int]) -> set[str]:
    """Arrangements with ACME CAs, and all that was ordered for them.

    Files stay, as those of cases do.
    """
    ids = list(
        tx.conn.scalars(select(StoredLineage.id).where(StoredLineage.client_id == client_id))
    )
    gone["lineages"] = len(ids)
    found: set[str] = set()
    for part in chunks(ids):
        # The certificate in use may be older than the newest one.
        for column in (StoredLineage.sha256, StoredLineage.deployed):
            found |= {
                s for s in tx.conn.scalars(select(column).where(StoredLineage.id.in_(part))) if s
            }
        found |= {
            s
            for s in tx.conn.scalars(select(AcmeOrder.sha256).where(AcmeOrder.lineage_id.in_(part)))
            if s
        }
    for table in (Deployment, AcmeOrder, LineageName):
        delete_in(tx.conn, table, table.lineage_id, ids)
    delete_in(tx.conn, StoredLineage, StoredLineage.id, ids)
    return found


def _lineage_hosts(tx: Tx, client_id: int) -> set[str]:
    """Return the names of the client's ACME certificates, not all of which are endpoints."""
    mine = select(StoredLineage.id).where(StoredLineage.client_id == client_id)
    names = set(tx.conn.scalars(select(LineageName.name).where(LineageName.lineage_id.in_(mine))))
    for ordered in tx.conn.scalars(select(AcmeOrder.names).where(AcmeOrder.lineage_id.in_(mine))):
        # An earlier order may have had a name that the lineage does not have any more.
        names |= set(ordered)
    return {n.removeprefix("*.") for n in names}


def _counted(tx: Tx, hosts: set[str]) -> None:
    """Delete the names from the ledger of rate limits and from the back-offs.

    What was counted for a registered domain is deleted too. The CA itself still counts it.
    """
    for part in chunks(sorted({*hosts, *(registered_domain(h) for h in hosts)})):
        tx.conn.execute(delete(AcmeEvent).where(AcmeEvent.domain.in_(part)))
        # The forms in which certmgr/acme/orders/failures.py stores the scope of a back-off.
        scopes = [form.format(p) for p in part for form in ("{}", "*.{}", "domain:{}")]
        tx.conn.execute(delete(AcmeBackoff).where(AcmeBackoff.scope.in_(scopes)))


def _leaves(tx: Tx, endpoints: list[int]) -> set[str]:
    found: set[str] = set()
    for part in chunks(endpoints):
        for chain in tx.conn.scalars(
            select(ServedChain.chain).where(ServedChain.endpoint_id.in_(part))
        ):
            # The first is the leaf. CA certificates name no client, and others need them.
            found |= set(chain[:1])
        found |= {
            s
            for s in tx.conn.scalars(
                select(ProbeState.leaf).where(ProbeState.endpoint_id.in_(part))
            )
            if s
        }
    return found


def _certificates(tx: Tx, leaves: set[str]) -> int:
    """Delete certificates that no other client served or requested, and return their number."""
    count = 0
    for part in chunks(sorted(leaves), 200):
        used = set(tx.conn.scalars(select(ServedChain.leaf).where(ServedChain.leaf.in_(part))))
        used |= {
            s
            for s in tx.conn.scalars(select(Issuance.sha256).where(Issuance.sha256.in_(part)))
            if s
        }
        used |= set(tx.conn.scalars(select(ProbeState.leaf).where(ProbeState.leaf.in_(part))))
        for column in (StoredLineage.sha256, StoredLineage.deployed, AcmeOrder.sha256):
            used |= {s for s in tx.conn.scalars(select(column).where(column.in_(part))) if s}
        mine = StoredCertificate.sha256.in_([s for s in part if s not in used]) & (
            StoredCertificate.is_ca == 0
        )
        # The status of a deleted certificate would otherwise refer to a missing row.
        tx.conn.execute(
            delete(RevocationCheck).where(
                RevocationCheck.sha256.in_(select(StoredCertificate.sha256).where(mine))
            )
        )
        result = tx.conn.execute(delete(StoredCertificate).where(mine))
        count += result.rowcount
    return count
