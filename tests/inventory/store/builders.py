"""Rows that the tests of inventory/store share.

Each function writes through a transaction of the caller, so that the caller chooses the time.
Clients, domains, cases and the like go through the functions of the store. Rows that only a larger
process makes (a notice, a finding of a scan) are inserted directly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from inventory.db.database import Database, Tx, to_epoch
from inventory.models import (
    AuditEntry,
    Base,
    Case,
    Client,
    Domain,
    Endpoint,
    Notice,
    SentItem,
    StoredFinding,
    Ticket,
)
from inventory.records import CaseRecord, OrderRecord
from inventory.store import (
    accounts,
    acme_orders,
    case_changes,
    cases,
    certificates,
    clients,
    contacts,
    domains,
    lineages,
    scan_results,
)

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday
AT = to_epoch(NOW)
HOUR, DAY = 3600, 86_400
LATER = NOW + timedelta(days=1)

DIRECTORY = "https://ca.example/directory"
ONE, TWO = "1001", "1002"  # the numbers of the clients that `two_clients` adds


def add_client(tx: Tx, number: str, *names: str, tags: tuple[str, ...] = (), **given: Any) -> int:
    """A client with the name ``Client NUMBER`` and one domain per name."""
    row_id = clients.add(tx, {"number": number, "name": f"Client {number}", **given}, tags)
    for name in names:
        domains.add(tx, name, {"client": number})
    return row_id


def two_clients(tx: Tx) -> tuple[int, int]:
    """Clients 1001 and 1002, each with a domain, its endpoint and a contact. Returns their ids."""
    ids = [add_client(tx, number, f"shop{number}.example") for number in (ONE, TWO)]
    for number in (ONE, TWO):
        mail = f"email:owner@shop{number}.example"
        contacts.add(tx, number, {"name": f"Owner {number}"}, (mail,))
    return ids[0], ids[1]


def many_clients(tx: Tx, count: int, *, with_domains: bool = True) -> list[int]:
    """Several hundred clients in few statements, each with one domain and its endpoint.

    Their numbers begin at 50000, their domains at ``d50000.example``. They are not audited.
    """
    numbers = [str(50_000 + i) for i in range(count)]
    values = [{"number": n, "name": f"Client {n}", "created_at": tx.at} for n in numbers]
    tx.conn.execute(insert(Client), values)
    query = select(Client.id).where(Client.number.in_(numbers))
    ids = list(tx.conn.scalars(query.order_by(Client.number)))
    if with_domains:
        many_domains(tx, zip(ids, (f"d{n}.example" for n in numbers), strict=True))
    return ids


def many_domains(tx: Tx, owned: Iterable[tuple[int, str]]) -> list[int]:
    """Domains with their endpoints; ``owned``: (client id, name). Returns ids in order of name."""
    rows = [{"client_id": owner, "name": name, "created_at": tx.at} for owner, name in owned]
    tx.conn.execute(insert(Domain), rows)
    names = [r["name"] for r in rows]
    name = Domain.name
    query = select(Domain.id, name).where(name.in_(names)).order_by(name)
    made = {host: row_id for row_id, host in tx.conn.execute(query)}
    common = {"port": 443, "protocol": "https", "created_at": tx.at}
    visited = [{"domain_id": row_id, "host": host, **common} for host, row_id in made.items()]
    tx.conn.execute(insert(Endpoint), visited)
    return list(made.values())


def domain_id(conn: Connection, name: str) -> int:
    return int(domains.find(conn, name).id)


def endpoint_id(conn: Connection, host: str, port: int = 443) -> int:
    """The endpoint of this host that is not retired."""
    query = select(Endpoint.id).where(Endpoint.host == host, Endpoint.port == port)
    return int(conn.execute(query.where(Endpoint.state != "retired")).scalar_one())


def fingerprint(label: str) -> str:
    """The SHA-256 of the certificate that :func:`add_certificate` makes of this label."""
    return hashlib.sha256(label.encode()).hexdigest()


def add_certificate(
    tx: Tx,
    label: str,
    *names: str,
    not_after: int | None = AT + 90 * DAY,
    is_ca: bool = False,
    serial: str = "01",
) -> str:
    """A certificate, whose DER is the label: the store never parses it. Returns its SHA-256."""
    sha256 = fingerprint(label)
    certificates.add(
        tx,
        [
            {
                "sha256": sha256,
                "der": label.encode(),
                "serial": serial,
                "subject": f"CN={label}",
                "issuer": "CN=Test Issuer",
                "not_before": AT - 30 * DAY,
                "not_after": not_after,
                "names": names,
                "key": "EC P-256",
                "is_ca": int(is_ca),
            }
        ],
    )
    return sha256


def serve(
    tx: Tx,
    at_endpoint: int,
    leaf: str | None,
    *addresses: str,
    issuers: Sequence[str] = (),
) -> None:
    """What a scan stores when an endpoint served this leaf at these addresses."""
    facts = {
        "at": tx.at,
        "chain": (*([leaf] if leaf else []), *issuers),
        "leaf": leaf,
        "tls_version": "TLSv1.3",
        "cipher": "x",
        "group_name": "x",
        "alpn": "",
        "ocsp": None,
        "trusted": 1,
        "public": 1,
    }
    scan_results.write_observations(
        tx, {at_endpoint: dict.fromkeys(addresses or ("192.0.2.1",), facts)}
    )
    scan_results.write_endpoint_status(
        tx,
        [
            {
                "endpoint_id": at_endpoint,
                "fingerprint": "",
                "memo": "",
                "recheck_at": None,
                "judged_at": tx.at,
                "last_run_id": None,
                "last_attempt": tx.at,
                "error_layer": None,
                "error_reason": None,
                "failing_since": None,
                "failing_runs": 0,
                "last_good": tx.at,
                "leaf": leaf,
                "not_after": None,
                "issuer": None,
            }
        ],
    )


def add_finding(tx: Tx, at_endpoint: int, code: str = "certificate-expired", **given: Any) -> int:
    """An open finding; ``given`` overrides its columns. Returns its id."""
    values = {
        "endpoint_id": at_endpoint,
        "code": code,
        "severity": "high",
        "actor": "client",
        "outcome": "you-act",
        "addresses": "192.0.2.1",
        "evidence": "{}",
        "opened_at": tx.at,
        **given,
    }
    return _inserted(tx, StoredFinding, values)


def add_account(tx: Tx, name: str = "letsencrypt", **given: Any) -> int:
    """An ACME account that is active at the CA."""
    values = {
        "name": name,
        "ca": name,
        "directory": DIRECTORY,
        "key_reference": f"machine:/keys/{name}",
    }
    row_id = accounts.add(tx, values | given)
    accounts.edit(tx, row_id, state="active")
    return row_id


def add_lineage(tx: Tx, name: str, client: str, account_id: int, *names: str, **given: Any) -> int:
    """An active lineage of a client; ``names`` must lie under the client's domains."""
    values = {"account_id": account_id, "key_type": "ec-p256", "solver": "http-01"} | given
    return lineages.add(tx, name, client, names, values)


def intend(tx: Tx, lineage_id: int, account_id: int, **given: Any) -> OrderRecord:
    """An open ACME order of the lineage, held by this process."""
    values = {
        "lineage_id": lineage_id,
        "account_id": account_id,
        "reason": "due",
        "names": ("shop1001.example",),
    }
    return acme_orders.intend(tx, values | given)


def open_case(tx: Tx, client_id: int, *names: str, **given: Any) -> CaseRecord:
    """A new case; what a case gets later only (a reason, an end) is written afterwards."""
    values = {"kind": "new", "bought_by": "client"} | given
    first = {f.name for f in fields(case_changes.NewCase)}
    case = case_changes.NewCase(
        client_id=client_id, **{k: v for k, v in values.items() if k in first}
    )
    row = case_changes.open_case(tx, case, names, "opened by hand")
    if later := {k: v for k, v in values.items() if k not in first}:
        tx.conn.execute(update(Case).where(Case.id == row.id).values(later))
    return cases.find(tx.conn, row.reference)


def add_ticket(tx: Tx, client_id: int | None, key: str, **given: Any) -> int:
    """Add a ticket whose reference follows from its key. Returns its id."""
    values = {
        "reference": f"CM-{fingerprint(key)[:6].upper()}",
        "key": key,
        "kind": "fault",
        "client_id": client_id,
        "opened_at": tx.at,
    }
    return _inserted(tx, Ticket, values | given)


def add_notice(
    tx: Tx,
    client_id: int | None,
    contact_id: int | None,
    *tickets: int,
    **given: Any,
) -> int:
    """Add a queued notice with one item per ticket. Return its id."""
    values = {
        "contact_id": contact_id,
        "client_id": client_id,
        "kind": "client",
        "reference": "CM-TEST22",
        "secret": "secret",
        "outcome": "you-act",
        "channel": "mail",
        "subject": "Your certificate",
        "text": "It ends.",
        "html": "<p>It ends.",
        "state": "queued",
        "next_at": tx.at,
        "expires_at": tx.at + 7 * DAY,
        "created_at": tx.at,
    } | given
    row_id = _inserted(tx, Notice, values)
    for ticket_id in tickets:
        _inserted(
            tx,
            SentItem,
            {
                "notice_id": row_id,
                "contact_id": contact_id or 0,
                "subject": f"fault:{ticket_id}:{row_id}",
                "step": "owner",
                "threshold": "30",
                "round": "",
                "matter_id": ticket_id,
            },
        )
    return row_id


def _inserted(tx: Tx, table: type[Base], values: Mapping[str, Any]) -> int:
    key = tx.conn.execute(insert(table).values(dict(values))).inserted_primary_key
    assert key is not None
    return int(key[0])


def count(conn: Connection, table: type[Base]) -> int:
    return int(conn.execute(select(func.count()).select_from(table)).scalar_one())


def rows(conn: Connection, table: type[Base]) -> list[Mapping[str, Any]]:
    """All rows of a table, in the order of their primary key."""
    query = select(table).order_by(*table.__table__.primary_key)
    return [dict(r) for r in conn.execute(query).mappings()]


AuditedChange = tuple[str, str, int | None, dict[str, Any]]  # action, kind, row id, detail


def audited(database: Database, after: int = 0) -> list[AuditedChange]:
    """The audit entries in their order, without the first ``after`` ones."""
    with database.read() as conn:
        query = select(AuditEntry).order_by(AuditEntry.id).offset(after)
        return [(r.action, r.kind, r.row_id, json.loads(r.detail)) for r in conn.execute(query)]


def entry_count(database: Database) -> int:
    """How many audit entries there are, to pass to :func:`audited` later."""
    with database.read() as conn:
        return count(conn, AuditEntry)


def insert_row(tx: Tx, table: type[Base], **values: Any) -> int:
    """One row of a table whose key is a number. Returns it."""
    return _inserted(tx, table, values)


@dataclass(frozen=True, slots=True)
class Site:
    """A domain with its endpoint on port 443."""

    client_id: int
    domain_id: int
    endpoint_id: int
    host: str


def add_site(tx: Tx, client: str, host: str, **given: Any) -> Site:
    """A domain of a client that exists."""
    row_id = domains.add(tx, host, {"client": client, **given})
    return site(tx, host, row_id)


def site(tx: Tx, host: str, row_id: int | None = None) -> Site:
    """The active domain with this name."""
    found = domains.find(tx.conn, host)
    assert row_id in (None, found.id)
    query = select(Endpoint.id).where(Endpoint.domain_id == found.id, Endpoint.port == 443)
    at_endpoint = tx.conn.execute(query).scalar_one()
    return Site(found.client_id, found.id, at_endpoint, host)


def two_endpoints(database: Database) -> tuple[int, int]:
    """Add two sites of two clients, and return the ids of their endpoints."""
    with database.write(NOW) as tx:
        return site(tx, "shop1001.example").endpoint_id, site(tx, "shop1002.example").endpoint_id
