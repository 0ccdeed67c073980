"""Incidents: many certificates that have to be replaced by a time, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from inventory.db.database import Tx
from inventory.db.sql import fetch, insert_id
from inventory.models import (
    Case,
    Client,
    Domain,
    Endpoint,
    Incident,
    IncidentItem,
    ServedChain,
    Server,
    StoredCertificate,
)
from inventory.records import (
    IncidentItemRecord,
    IncidentRecord,
    LiveCertificate,
    SerialMatch,
    ServedName,
)
from inventory.store import editing, tickets


def add(tx: Tx, kind: str, what: str, until: int, reason: str) -> IncidentRecord:
    reference = "IN-" + tickets.new_reference().removeprefix("CM-")
    values = {
        "reference": reference,
        "kind": kind,
        "what": what[:500],
        "until": until,
        "reason": reason,
        "by": tx.actor,
        "opened_at": tx.at,
    }
    key = insert_id(tx.conn, Incident, values)
    tx.audit("open", "incident", key, {"kind": kind, "until": until})
    return find(tx.conn, reference)


def add_items(tx: Tx, incident_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        tx.conn.execute(
            insert(IncidentItem), [dict(r) | {"incident_id": incident_id} for r in rows]
        )


def find(conn: Connection, reference: str) -> IncidentRecord:
    query = select(Incident).where(Incident.reference == reference.strip().upper())
    return editing.one(conn, IncidentRecord, query, "incident", reference, "certmgr incident list")


def listing(conn: Connection, *, ended: bool = False) -> list[IncidentRecord]:
    query = select(Incident).order_by(Incident.until, Incident.id)
    if not ended:
        query = query.where(Incident.closed_at.is_(None))
    return fetch(conn, IncidentRecord, query)


def items(conn: Connection, incident_id: int) -> list[IncidentItemRecord]:
    """With ``client`` (number), the ``reference`` and ``state`` of the case, and ``served``: at how
    many addresses of that client the certificate is live.
    """
    live = (
        select(ServedChain.leaf, Domain.client_id, func.count().label("served"))
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .where(ServedChain.open == 1, Endpoint.state == "active", Domain.state != "retired")
        .group_by(ServedChain.leaf, Domain.client_id)
    ).subquery()
    query = (
        select(
            IncidentItem,
            Client.number.label("client"),
            Case.reference,
            Case.state,
            Case.due_at,
            func.coalesce(live.c.served, 0).label("served"),
        )
        .outerjoin(Client, Client.id == IncidentItem.client_id)
        .outerjoin(Case, Case.id == IncidentItem.case_id)
        .outerjoin(
            live,
            (live.c.leaf == IncidentItem.sha256) & (live.c.client_id == IncidentItem.client_id),
        )
        .where(IncidentItem.incident_id == incident_id)
        .order_by(IncidentItem.sort, Client.number.is_(None), Client.number, IncidentItem.id)
    )
    return fetch(conn, IncidentItemRecord, query)


def close(tx: Tx, incident_id: int) -> None:
    tx.conn.execute(update(Incident).where(Incident.id == incident_id).values(closed_at=tx.at))
    tx.audit("close", "incident", incident_id)


# -- which certificates


def served(conn: Connection, *, server_name: str | None = None) -> list[ServedName]:
    """Leaves that were seen last (an address that is silent since then still counts), a row an
    endpoint and leaf: sha256, serial, issuer, names, host, domain_id, client_id, client; retired
    ones are left out.
    """
    query = (
        select(
            StoredCertificate.sha256,
            StoredCertificate.serial,
            StoredCertificate.issuer,
            StoredCertificate.names,
            Endpoint.host,
            Endpoint.domain_id,
            Domain.client_id,
            Client.number.label("client"),
        )
        .join(ServedChain, ServedChain.leaf == StoredCertificate.sha256)
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .outerjoin(Server, Server.id == Domain.server_id)
        .where(
            ServedChain.open == 1,
            Endpoint.state == "active",
            Domain.state != "retired",
            Client.state != "retired",
        )
        .distinct()
        .order_by(Client.number, Endpoint.host)
    )
    if server_name is not None:
        query = query.where(Server.name == server_name)
    return fetch(conn, ServedName, query)


def names(row: SerialMatch | ServedName | LiveCertificate) -> list[str]:
    return list(json.loads(row.names))
