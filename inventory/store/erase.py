"""Erasing a client: personal data goes, what the provider must be able to show stays, as numbers
without a name. One transaction.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import delete, or_, select, update

from inventory.db.database import Tx
from inventory.models.acme_tables import (
    acme_backoff,
    acme_event,
    acme_order,
    deployment,
    lineage,
    lineage_name,
    revocation,
)
from inventory.models.tables import (
    acceptance,
    case,
    case_event,
    case_name,
    certificate,
    client,
    contact,
    contact_way,
    deadline,
    deadline_scope,
    decision,
    domain,
    endpoint,
    finding,
    inbound,
    incident_item,
    issuance,
    matter,
    notice,
    notice_item,
    observation,
    order,
    order_name,
    proposal,
    snooze,
    standing,
    tag,
    web_observation,
)
from inventory.names import display, registered_domain
from inventory.store import clients
from inventory.store.records import Row


def erase(tx: Tx, number: str) -> dict[str, int]:
    """Names, addresses, domains, what was seen at them, and the texts of notices are deleted.

    The client's row (``erased-ID``), the notices as rows with their times and states, and the audit
    log, which holds ids alone, stay. Returns how many rows went. Backups keep what they hold.
    """
    row = clients.find(tx.conn, number)
    client_id = int(row["id"])
    endpoints = list(
        tx.conn.scalars(select(endpoint.c.id).join(domain).where(domain.c.client_id == client_id))
    )
    domain_ids = list(tx.conn.scalars(select(domain.c.id).where(domain.c.client_id == client_id)))
    contacts = list(tx.conn.scalars(select(contact.c.id).where(contact.c.client_id == client_id)))
    leaves = _leaves(tx, endpoints)
    gone = {"domains": len(domain_ids), "endpoints": len(endpoints), "contacts": len(contacts)}
    hosts = set(tx.conn.scalars(select(domain.c.name).where(domain.c.client_id == client_id)))
    hosts |= set(
        tx.conn.scalars(select(endpoint.c.host).join(domain).where(domain.c.client_id == client_id))
    )
    hosts |= _lineage_hosts(tx, client_id)
    _texts(tx, row, contacts, {shown for h in hosts for shown in (h, display(h))})
    _silence(tx, client_id, domain_ids, endpoints)
    for table in (web_observation, observation, finding, proposal, standing):
        _delete(tx, table, table.c.endpoint_id, endpoints)
    for ids, kind in ((endpoints, "endpoint"), (domain_ids, "domain"), ([client_id], "client")):
        for part in _parts(ids):
            tx.conn.execute(delete(tag).where(tag.c.kind == kind, tag.c.row_id.in_(part)))
    leaves |= _purchases(tx, client_id, gone)
    leaves |= _lineages(tx, client_id, gone)
    _counted(tx, hosts)
    _delete(tx, endpoint, endpoint.c.id, endpoints)
    _delete(tx, domain, domain.c.id, domain_ids)
    gone["certificates"] = _certificates(tx, leaves)
    for part in _parts(contacts):
        tx.conn.execute(
            update(contact).where(contact.c.fallback_id.in_(part)).values(fallback_id=None)
        )
    _delete(tx, contact_way, contact_way.c.contact_id, contacts)
    _delete(tx, contact, contact.c.id, contacts)
    tx.conn.execute(
        update(client).where(client.c.reseller_id == client_id).values(reseller_id=None)
    )
    name = f"erased-{client_id}"
    tx.conn.execute(
        update(client)
        .where(client.c.id == client_id)
        .values(
            number=name,
            name=name,
            note=None,
            account_manager=None,
            reseller_id=None,
            state="retired",
            retired_at=row["retired_at"] or tx.at,
        )
    )
    tx.audit("erase", "client", client_id, gone)
    return gone


def _purchases(tx: Tx, client_id: int, gone: dict[str, int]) -> set[str]:
    """Orders and cases with all that was said in them.

    Key files are named by the case and stay: they are the provider's to destroy.
    """
    order_ids = list(tx.conn.scalars(select(order.c.id).where(order.c.client_id == client_id)))
    case_ids = list(tx.conn.scalars(select(case.c.id).where(case.c.client_id == client_id)))
    gone |= {"orders": len(order_ids), "cases": len(case_ids)}
    tx.conn.execute(
        update(incident_item)
        .where(incident_item.c.client_id == client_id)
        .values(client_id=None, case_id=None, names="")
    )
    found: set[str] = set()
    for column, ids in ((issuance.c.case_id, case_ids), (issuance.c.order_id, order_ids)):
        for part in _parts(ids):
            found |= {
                s for s in tx.conn.scalars(select(issuance.c.sha256).where(column.in_(part))) if s
            }
        _delete(tx, issuance, column, ids)
    for table in (case_event, case_name):
        _delete(tx, table, table.c.case_id, case_ids)
    _delete(tx, case, case.c.id, case_ids)
    _delete(tx, order_name, order_name.c.order_id, order_ids)
    for part in _parts(order_ids):
        tx.conn.execute(
            update(order).where(order.c.successor_id.in_(part)).values(successor_id=None)
        )
    _delete(tx, order, order.c.id, order_ids)
    return found


def _lineages(tx: Tx, client_id: int, gone: dict[str, int]) -> set[str]:
    """Arrangements with ACME CAs, and all that was ordered for them.

    Files stay, as those of cases do.
    """
    ids = list(tx.conn.scalars(select(lineage.c.id).where(lineage.c.client_id == client_id)))
    gone["lineages"] = len(ids)
    found: set[str] = set()
    for part in _parts(ids):
        for column in (lineage.c.sha256, lineage.c.deployed):
            found |= {s for s in tx.conn.scalars(select(column).where(lineage.c.id.in_(part))) if s}
        found |= {
            s
            for s in tx.conn.scalars(
                select(acme_order.c.sha256).where(acme_order.c.lineage_id.in_(part))
            )
            if s
        }
    for table in (deployment, acme_order, lineage_name):
        _delete(tx, table, table.c.lineage_id, ids)
    _delete(tx, lineage, lineage.c.id, ids)
    return found


def _lineage_hosts(tx: Tx, client_id: int) -> set[str]:
    """Names of the client's ACME certificates, also those that were left out later: not every one
    is a host of an endpoint.
    """
    mine = select(lineage.c.id).where(lineage.c.client_id == client_id)
    names = set(
        tx.conn.scalars(select(lineage_name.c.name).where(lineage_name.c.lineage_id.in_(mine)))
    )
    for ordered in tx.conn.scalars(
        select(acme_order.c.names).where(acme_order.c.lineage_id.in_(mine))
    ):
        names |= set(ordered.split())
    return {n.removeprefix("*.") for n in names}


def _counted(tx: Tx, hosts: set[str]) -> None:
    """Names in the ledger of the CAs' limits and among those that are left alone.

    What was counted of a registered domain goes with it: the CA still counts.
    """
    for part in _parts_of(sorted({*hosts, *(registered_domain(h) for h in hosts)})):
        tx.conn.execute(delete(acme_event).where(acme_event.c.domain.in_(part)))
        scopes = [form.format(p) for p in part for form in ("{}", "*.{}", "domain:{}")]
        tx.conn.execute(delete(acme_backoff).where(acme_backoff.c.scope.in_(scopes)))


def _parts_of(names: list[str], size: int = 500) -> list[list[str]]:
    return [names[i : i + size] for i in range(0, len(names), size)]


def _parts(ids: list[int], size: int = 500) -> list[list[int]]:
    return [ids[i : i + size] for i in range(0, len(ids), size)]


def _delete(tx: Tx, table: Any, column: Any, ids: list[int]) -> None:
    for part in _parts(ids):
        tx.conn.execute(delete(table).where(column.in_(part)))


def _leaves(tx: Tx, endpoints: list[int]) -> set[str]:
    found: set[str] = set()
    for part in _parts(endpoints):
        for chain in tx.conn.scalars(
            select(observation.c.chain).where(observation.c.endpoint_id.in_(part))
        ):
            found |= set(chain.split()[:1])
        found |= {
            s
            for s in tx.conn.scalars(
                select(standing.c.leaf).where(standing.c.endpoint_id.in_(part))
            )
            if s
        }
    return found


def _certificates(tx: Tx, leaves: set[str]) -> int:
    """Those that no other client serves or served, and that no other client's case or lineage
    refers to.
    """
    count = 0
    for part in [sorted(leaves)[i : i + 200] for i in range(0, len(leaves), 200)]:
        used = set(tx.conn.scalars(select(observation.c.leaf).where(observation.c.leaf.in_(part))))
        used |= {
            s
            for s in tx.conn.scalars(select(issuance.c.sha256).where(issuance.c.sha256.in_(part)))
            if s
        }
        used |= set(tx.conn.scalars(select(standing.c.leaf).where(standing.c.leaf.in_(part))))
        for column in (lineage.c.sha256, lineage.c.deployed, acme_order.c.sha256):
            used |= {s for s in tx.conn.scalars(select(column).where(column.in_(part))) if s}
        mine = certificate.c.sha256.in_([s for s in part if s not in used]) & (
            certificate.c.is_ca == 0
        )
        tx.conn.execute(
            delete(revocation).where(
                revocation.c.sha256.in_(select(certificate.c.sha256).where(mine))
            )
        )
        result = tx.conn.execute(delete(certificate).where(mine))
        count += result.rowcount
    return count


def _resellers(client_id: int) -> Any:
    """The contacts of the client that is written to in this one's place."""
    return select(contact.c.id).where(
        contact.c.client_id.in_(select(client.c.reseller_id).where(client.c.id == client_id))
    )


def _texts(tx: Tx, row: Row, contacts: list[int], hosts: set[str]) -> None:
    """Notices keep their times and states. One that was not sent is not sent any more."""
    client_id = int(row["id"])
    mine = or_(notice.c.client_id == client_id, notice.c.contact_id.in_(contacts))
    ids = set(tx.conn.scalars(select(notice.c.id).where(mine)))
    # A reseller's message speaks of several clients: those that name this one lose their text, and
    # what waits is decided anew for the others.
    about = (
        select(notice_item.c.notice_id)
        .join(matter, matter.c.id == notice_item.c.matter_id)
        .where(matter.c.client_id == client_id)
    )
    ids |= set(tx.conn.scalars(about))
    # So do messages to staff (digests, alarms, errands), which have no client.
    elsewhere = or_(notice.c.contact_id.in_(_resellers(client_id)), notice.c.client_id.is_(None))
    named = re.compile(
        rf"(?<!\w)(?:{re.escape(row['name'])}|client {re.escape(row['number'])})(?!\w)"
    )
    for notice_id, words in tx.conn.execute(
        select(notice.c.id, notice.c.subject + "\n" + notice.c.text).where(elsewhere)
    ):
        if named.search(words) or any(host in words for host in hosts):
            ids.add(notice_id)
    blank = {
        "subject": "",
        "text": "",
        "html": "",
        "calendar": "",
        "sent_to": None,
        "contact_id": None,
        "error": None,
    }
    for part in _parts(sorted(ids)):
        waits = select(notice.c.id).where(
            notice.c.id.in_(part), notice.c.state.in_(("queued", "leased", "failed"))
        )
        tx.conn.execute(delete(notice_item).where(notice_item.c.notice_id.in_(waits)))
        tx.conn.execute(
            update(notice)
            .where(notice.c.id.in_(part), notice.c.state.in_(("queued", "leased", "failed")))
            .values(state="dead")
        )
        tx.conn.execute(update(notice).where(notice.c.id.in_(part)).values(blank))
        tx.conn.execute(
            update(inbound).where(inbound.c.notice_id.in_(part)).values(text="", contact_id=None)
        )
    tx.conn.execute(delete(decision).where(decision.c.client_id == client_id))


def _silence(tx: Tx, client_id: int, domain_ids: list[int], endpoints: list[int]) -> None:
    """Everything else that points to it."""
    matters = list(tx.conn.scalars(select(matter.c.id).where(matter.c.client_id == client_id)))
    for part in _parts(matters):
        tx.conn.execute(
            update(matter)
            .where(matter.c.id.in_(part))
            .values(
                endpoint_id=None,
                domain_id=None,
                cause="",
                acked_by=None,
                closed_at=matter.c.opened_at,
            )
        )
        tx.conn.execute(
            delete(snooze).where(snooze.c.scope == "matter", snooze.c.scope_id.in_(part))
        )
    for scope, ids in (("domain", domain_ids), ("client", [client_id])):
        for part in _parts(ids):
            tx.conn.execute(
                delete(snooze).where(snooze.c.scope == scope, snooze.c.scope_id.in_(part))
            )
    # A domain may have been moved to this client: matters of the client that had it before still
    # refer to it.
    for column, ids in ((matter.c.endpoint_id, endpoints), (matter.c.domain_id, domain_ids)):
        for part in _parts(ids):
            tx.conn.execute(update(matter).where(column.in_(part)).values({column: None}))
    _deadlines(tx, client_id)
    tx.conn.execute(delete(acceptance).where(acceptance.c.client_id == client_id))
    _delete(tx, acceptance, acceptance.c.domain_id, domain_ids)
    _delete(tx, acceptance, acceptance.c.endpoint_id, endpoints)


def _deadlines(tx: Tx, client_id: int) -> None:
    """A deadline that was for this client alone must not become one for everybody: it is retired,
    and its words go.
    """
    mine = (deadline_scope.c.kind == "client") & (deadline_scope.c.value == str(client_id))
    ids = set(tx.conn.scalars(select(deadline_scope.c.deadline_id).where(mine)))
    others = set(
        tx.conn.scalars(
            select(deadline_scope.c.deadline_id).where(deadline_scope.c.deadline_id.in_(ids), ~mine)
        )
    )
    for row_id in sorted(ids - others):
        gone = {
            "name": f"erased-{row_id}",
            "title": f"erased-{row_id}",
            "text": None,
            "state": "retired",
            "retired_at": tx.at,
        }
        tx.conn.execute(update(deadline).where(deadline.c.id == row_id).values(gone))
    tx.conn.execute(delete(deadline_scope).where(mine, deadline_scope.c.deadline_id.in_(others)))
    tx.conn.execute(update(deadline_scope).where(mine).values(value=f"erased-{client_id}"))
