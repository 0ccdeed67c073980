"""What the inventory knows of a host before anything is looked at: whose it is, what is open, and
what changed since it was last good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from certmgr.diagnose.outcome import OutcomeFacts
from certmgr.inspection.report import EndpointReport
from certmgr.net.addresses import Network, within
from inventory.db.database import Database, from_epoch
from inventory.models.tables import audit, certificate, endpoint, observation, server, standing
from inventory.models.tables import client as client_table
from inventory.models.tables import domain as domain_table
from inventory.names import registered_domain
from inventory.store import contacts, domains, findings, outbox, servers
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, Parties


@dataclass(slots=True)
class HostContext:
    """``open``: what is open at the endpoint as stored, with since when.

    ``served``: address -> (SHA-256, serial, first seen) of the last good look.
    """

    domain: str
    client: str
    client_name: str
    account_manager: str | None
    server: str | None
    purpose: str
    parties: Parties
    contact: str | None
    language: str | None
    time_zone: str | None
    last_good: datetime | None
    open: list[tuple[Finding, datetime | None]] = field(default_factory=list)
    served: dict[str, tuple[str, str, datetime | None]] = field(default_factory=dict)
    accepted: list[Acceptance] = field(default_factory=list)
    taken: list[Acceptance] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)
    told: list[Mapping[str, Any]] = field(default_factory=list)
    own_addresses: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


def load(database: Database, target: Target, now: datetime) -> HostContext | None:
    """None where neither the host nor the domain above it is in the inventory."""
    with database.read() as conn:
        place = (
            conn.execute(
                select(endpoint).where(
                    endpoint.c.host == target.host,
                    endpoint.c.port == target.port,
                    endpoint.c.protocol == "https",
                    endpoint.c.state != "retired",
                )
            )
            .mappings()
            .first()
        )
        row = _domain(conn, target, place)
        if row is None:
            return None
        people = contacts.listing(conn, client_id=row["client_id"])
        people.sort(key=lambda p: p["role"] != "owner")
        first = people[0] if people else None
        context = HostContext(
            domain=row["name"],
            client=row["client"],
            client_name=row["client_name"],
            account_manager=row["account_manager"],
            server=row["server"],
            purpose=row["purpose"],
            parties=row["parties"],
            contact=first["name"] if first else None,
            language=next((p["language"] for p in people if p["language"]), None),
            time_zone=next((p["time_zone"] for p in people if p["time_zone"]), None),
            last_good=None,
            paths=tuple(row["paths"].split()),
        )
        if row["server_id"] is not None:
            machine = conn.execute(
                select(server.c.addresses).where(server.c.id == row["server_id"])
            ).scalar()
            context.own_addresses = tuple((machine or "").split())
        if place is not None:
            context.fixed = tuple((place["addresses"] or "").split())
            _endpoint(conn, context, place, row, now)
        context.edits = _edits(conn, row["id"])
        context.told = list(
            outbox.told_about(
                conn, row["client_id"], place["id"] if place is not None else None, row["id"]
            )
        )
    return context


def _domain(conn: Connection, target: Target, place: Any) -> Any:
    """The domain of the endpoint; else the host's own, or the registered domain above it."""
    if place is not None:
        query = select(domain_table.c.client_id, domain_table.c.id).where(
            domain_table.c.id == place["domain_id"]
        )
        found = conn.execute(query).first()
        client_id, domain_id = (found[0], found[1]) if found else (None, None)
    else:
        active = domains.active(conn, target.host) or (
            None if target.is_address else domains.active(conn, registered_domain(target.host))
        )
        client_id, domain_id = (active["client_id"], active["id"]) if active else (None, None)
    if client_id is None:
        return None
    row = next(
        (r for r in domains.listing(conn, client_id=client_id) if r["id"] == domain_id), None
    )
    if row is None:
        return None
    manager = conn.execute(
        select(client_table.c.account_manager).where(client_table.c.id == client_id)
    ).scalar()
    return dict(row) | {"account_manager": manager}


def _endpoint(conn: Connection, context: HostContext, place: Any, row: Any, now: datetime) -> None:
    state = (
        conn.execute(select(standing).where(standing.c.endpoint_id == place["id"]))
        .mappings()
        .first()
    )
    context.last_good = from_epoch(state["last_good"]) if state else None
    for f in findings.listing(conn, domain_id=row["id"]):
        if f["endpoint_id"] == place["id"]:
            one = Finding(
                code=f["code"],
                severity=f["severity"],
                addresses=tuple(f["addresses"]),
                evidence=f["evidence"],
                actor=f["actor"],
                outcome=f["outcome"],
            )
            context.open.append((one, from_epoch(f["opened_at"])))
    spans = conn.execute(
        select(
            observation.c.address,
            observation.c.leaf,
            observation.c.first_seen,
            certificate.c.serial,
        )
        .join(certificate, certificate.c.sha256 == observation.c.leaf)
        .where(observation.c.endpoint_id == place["id"], observation.c.open == 1)
    )
    context.served = {
        address: (leaf, serial, from_epoch(first)) for address, leaf, first, serial in spans
    }
    scope = (row["client_id"], row["id"], place["id"])
    context.accepted = [a for a in findings.acceptances(conn, now) if a.covers(a.code, *scope, now)]
    context.taken = [
        a for a in findings.acceptances(conn, now, kind="take") if a.covers(a.code, *scope, now)
    ]


def _edits(conn: Connection, domain_id: int) -> list[str]:
    rows = conn.execute(
        select(audit)
        .where(audit.c.kind == "domain", audit.c.row_id == domain_id, audit.c.action != "add")
        .order_by(audit.c.id.desc())
        .limit(3)
    ).mappings()
    said = []
    for row in rows:
        at = from_epoch(row["at"])
        said.append(
            f"{at:%Y-%m-%d} {row['actor']} ({row['action']}):"
            f" {', '.join(json.loads(row['detail']))}"
        )
    return said


def changes(context: HostContext, report: EndpointReport) -> list[str]:
    """What is otherwise than at the last good look that is stored. Pure."""
    said = []
    before, now = set(context.served), {a.address for a in report.addresses}
    if before:
        said += [f"the address {a} is new" for a in sorted(now - before)]
        said += [f"the address {a} is gone" for a in sorted(before - now)]
    for address in report.addresses:
        known = context.served.get(address.address)
        if known is not None and address.seen and address.chain[0] != known[0]:
            said.append(
                f"{address.address} serves another certificate than before (then serial {known[1]})"
            )
        elif known is not None and not address.seen and not address.no_route:
            said.append(f"{address.address} served a certificate, and now does not")
    stored = {f.code for f, _ in context.open}
    said += [
        f"new since the last scan: {f.code}"
        for f in report.findings
        if f.code not in stored and f.severity not in ("info", "low")
    ]
    return said


def facts(
    database: Database | None,
    context: HostContext | None,
    report: EndpointReport,
    networks: tuple[Network, ...],
    clock: datetime | None,
) -> OutcomeFacts:
    """``database`` None: there is no inventory."""
    own: frozenset[str] = frozenset()
    if database is not None:
        with database.read() as conn:
            own = servers.all_addresses(conn)
    ours = frozenset(
        a.address for a in report.addresses if a.address in own or within(a.address, networks)
    )
    if context is None:
        return OutcomeFacts(ours=ours, clock=clock)
    parties = context.parties
    hosted = parties.hosts == "us" or (parties.hosts == "panel" and parties.on_our_server)
    elsewhere = any(f.code == "points-elsewhere" for f in report.findings)
    if not own and not networks and hosted:
        ours = frozenset(a.address for a in report.addresses)
    return OutcomeFacts(
        known=True,
        dns_is_ours=parties.dns == "us",
        own_addresses=context.own_addresses,
        ours=ours,
        we_install=hosted and not elsewhere,
        taken=tuple(context.taken),
        clock=clock,
    )
