"""Incidents: many certificates that have to be replaced by a time, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from inventory.db.database import Tx
from inventory.models.tables import (
    case,
    certificate,
    client,
    domain,
    endpoint,
    incident,
    incident_item,
    observation,
    server,
)
from inventory.store import records, tickets
from inventory.store.records import Row


def add(tx: Tx, kind: str, what: str, until: int, reason: str) -> Row:
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
    key = tx.conn.execute(insert(incident).values(values)).inserted_primary_key
    assert key is not None
    tx.audit("open", "incident", int(key[0]), {"kind": kind, "until": until})
    return find(tx.conn, reference)


def add_items(tx: Tx, incident_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        tx.conn.execute(
            insert(incident_item), [dict(r) | {"incident_id": incident_id} for r in rows]
        )


def find(conn: Connection, reference: str) -> Row:
    query = select(incident).where(incident.c.reference == reference.strip().upper())
    return records.one(conn, query, "incident", reference, "certmgr incident list")


def listing(conn: Connection, *, ended: bool = False) -> list[Row]:
    query = select(incident).order_by(incident.c.until, incident.c.id)
    if not ended:
        query = query.where(incident.c.closed_at.is_(None))
    return [dict(r) for r in conn.execute(query).mappings()]


def items(conn: Connection, incident_id: int) -> list[Row]:
    """With ``client`` (number), the ``reference`` and ``state`` of the case, and ``served``: at how
    many addresses of that client the certificate is live.
    """
    live = (
        select(observation.c.leaf, domain.c.client_id, func.count().label("served"))
        .join(endpoint, endpoint.c.id == observation.c.endpoint_id)
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .where(observation.c.open == 1, endpoint.c.state == "active", domain.c.state != "retired")
        .group_by(observation.c.leaf, domain.c.client_id)
    ).subquery()
    query = (
        select(
            incident_item,
            client.c.number.label("client"),
            case.c.reference,
            case.c.state,
            case.c.due_at,
            func.coalesce(live.c.served, 0).label("served"),
        )
        .outerjoin(client, client.c.id == incident_item.c.client_id)
        .outerjoin(case, case.c.id == incident_item.c.case_id)
        .outerjoin(
            live,
            (live.c.leaf == incident_item.c.sha256)
            & (live.c.client_id == incident_item.c.client_id),
        )
        .where(incident_item.c.incident_id == incident_id)
        .order_by(
            incident_item.c.sort, client.c.number.is_(None), client.c.number, incident_item.c.id
        )
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def close(tx: Tx, incident_id: int) -> None:
    tx.conn.execute(update(incident).where(incident.c.id == incident_id).values(closed_at=tx.at))
    tx.audit("close", "incident", incident_id)


# -- which certificates


def by_serials(conn: Connection, serials: Sequence[str]) -> dict[str, list[Row]]:
    """Serial -> the certificates with it (sha256, names, issuer)."""
    found: dict[str, list[Row]] = {}
    columns = (
        certificate.c.sha256,
        certificate.c.serial,
        certificate.c.names,
        certificate.c.issuer,
    )
    for start in range(0, len(serials), 500):
        query = select(*columns).where(
            certificate.c.serial.in_(serials[start : start + 500]), certificate.c.is_ca == 0
        )
        for row in conn.execute(query).mappings():
            found.setdefault(row["serial"], []).append(dict(row))
    return found


def served(conn: Connection, *, server_name: str | None = None) -> list[Row]:
    """Leaves that were seen last (an address that is silent since then still counts), a row an
    endpoint and leaf: sha256, serial, issuer, names, host, domain_id, client_id, client; retired
    ones are left out.
    """
    query = (
        select(
            certificate.c.sha256,
            certificate.c.serial,
            certificate.c.issuer,
            certificate.c.names,
            endpoint.c.host,
            endpoint.c.domain_id,
            domain.c.client_id,
            client.c.number.label("client"),
        )
        .join(observation, observation.c.leaf == certificate.c.sha256)
        .join(endpoint, endpoint.c.id == observation.c.endpoint_id)
        .join(domain, domain.c.id == endpoint.c.domain_id)
        .join(client, client.c.id == domain.c.client_id)
        .outerjoin(server, server.c.id == domain.c.server_id)
        .where(
            observation.c.open == 1,
            endpoint.c.state == "active",
            domain.c.state != "retired",
            client.c.state != "retired",
        )
        .distinct()
        .order_by(client.c.number, endpoint.c.host)
    )
    if server_name is not None:
        query = query.where(server.c.name == server_name)
    return [dict(r) for r in conn.execute(query).mappings()]


def names(row: Row) -> list[str]:
    return list(json.loads(row["names"]))
