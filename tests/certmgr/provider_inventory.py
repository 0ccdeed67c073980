"""The inventory of a provider with 301 domains of 40 clients, as a scan leaves it.

Its rows are those of a scan: three servers, expired and expiring certificates, other faults,
remarks (no HSTS), endpoints that could not be determined, long issuers, and wide (CJK) names.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select

from certmgr.checks.certificate import date_findings_of
from inventory import finding_codes
from inventory.db.database import Database, Tx, from_epoch
from inventory.models import Domain, Endpoint, PageObservation, StoredFinding
from inventory.store import (
    certificates,
    clients,
    contacts,
    deadlines,
    decisions,
    domains,
    findings,
    incidents,
    purchase_changes,
    runs,
    scan_results,
    servers,
    snoozes,
)
from inventory.store.incidents import NewIncidentItem
from inventory.vocabulary import (
    DecisionAction,
    Finding,
    FindingDecision,
    IncidentCategory,
    IncidentKind,
    SnoozeScope,
)
from tests.inventory.store import builders, scan_rows

CODES = frozenset(finding_codes.CODES)
DOMAINS, CLIENTS = 301, 40
DAY = 86_400
LONG_ISSUER = "CN=Sectigo Public Server Authentication CA DV R36, O=Sectigo Limited, C=GB"
SHORT_ISSUER = "CN=R12, O=Let's Encrypt, C=US"
_NAMES = (
    "Autohaus Nguyen",
    "株式会社さくらインターネットサービス東京本社",
    "Hotel Schäfer & Söhne Gaststättenbetriebsgesellschaft mbH",
    "北京数字证书管理有限公司",
    "Rosen Blumen-Meier",
)
_WORDS = ("autohaus", "hotel-seeblick", "blumen-meier", "kanzlei", "verkehrsbetriebe-nordheide")


def client_name(index: int) -> str:
    """Return the name of a client by its index."""
    return f"{_NAMES[index % len(_NAMES)]} {index}"


def host_name(index: int) -> str:
    """Return the name of a domain by its index; every 50th is an internationalized one."""
    if index % 50 == 7:
        return f"例え{index}.example"
    return f"www{index}.{_WORDS[index % len(_WORDS)]}-{index}.example"


def fill(database: Database) -> None:
    """Write the inventory. The time is that of the database's clock."""
    with database.write() as tx:
        _records(tx)
        _scan(tx)


def _records(tx: Tx) -> None:
    for name, address in (("web1", "192.0.2.1"), ("web2", "192.0.2.2"), ("web3", "192.0.2.3")):
        servers.add(tx, {"name": name, "kind": "web", "addresses": [address], "keeper": "Ines"})
    parties: dict[str, Any] = {"hosts": "us", "dns": "client", "buys": "client", "renews": "client"}
    for index in range(CLIENTS):
        number = str(10_000 + index)
        clients.add(tx, {"number": number, "name": client_name(index), **parties})
        owner = {"name": f"Owner of {client_name(index)}", "role": "owner"}
        contacts.add(tx, number, owner, (f"email:owner@client{number}.example",))
    contacts.add(
        tx, None, {"name": "Ada", "role": "administrator"}, ("email:ada@provider.example",)
    )
    for index in range(DOMAINS):
        values = {"client": str(10_000 + index % CLIENTS), "server": f"web{index % 3 + 1}"}
        domains.add(tx, host_name(index), values)
    ends = from_epoch(tx.at + 60 * DAY)
    deadline = {"at": ends, "rule": "https-only", "title": "All sites of our clients on HTTPS"}
    leads = {"purchase_days": 10, "validation_days": 7, "installation_days": 5}
    rules = ("https-only",)
    deadlines.add(tx, "all-https", deadline | leads, rules, for_clients=(), tags=())


def days_left(index: int) -> int:
    """Return the days until the certificate of a domain ends, negative after it."""
    if index % 30 == 1:
        return -(index % 7) - 1
    if index % 12 == 2:
        return index % 7
    return 20 + index % 170


def _other_findings(index: int, host: str) -> list[Finding]:
    found: list[Finding] = []
    at = (f"192.0.2.{index % 3 + 1}",)
    if index % 2 == 0:
        found.append(Finding("hsts-missing", "low", at, actor="provider"))
    if index % 25 == 3:
        evidence: dict[str, Any] = {"names": [f"default{index}.hosting.example"]}
        found.append(Finding("name-mismatch", "critical", at, evidence, "provider", "we-act"))
    if index % 20 == 5:
        evidence = {"url": f"http://{host}/"}
        found.append(Finding("http-served", "high", at, evidence, "provider", "we-act"))
    if index % 33 == 8:
        found.append(Finding("connection-timeout", "undetermined", at, actor="staff"))
    if index % 40 == 9:
        evidence = {"url": f"http://{host}/"}
        found.append(Finding("redirect-missing", "medium", at, evidence, "provider"))
    return found


def _scan(tx: Tx) -> None:
    run_id = runs.start(tx, "", DOMAINS)
    query = select(Endpoint.id, Endpoint.host).join(Domain, Domain.id == Endpoint.domain_id)
    endpoints = list(tx.conn.execute(query.order_by(Endpoint.id)))
    rows, leaves, spans, found = [], [], {}, []
    for index, (endpoint_id, host) in enumerate(endpoints):
        end = tx.at + days_left(index) * DAY + 3600
        issuer = LONG_ISSUER if index % 9 == 0 else SHORT_ISSUER
        leaf = scan_rows.certificate_row(
            host, host, not_before=end - 199 * DAY, not_after=end, issuer=issuer
        )
        leaves.append(leaf)
        facts = {"last_run_id": run_id, "leaf": leaf["sha256"], "not_after": end, "issuer": issuer}
        rows.append(scan_rows.status_row(endpoint_id, tx.at, **facts))
        spans[endpoint_id] = {
            f"192.0.2.{index % 3 + 1}": scan_rows.facts(tx.at, str(leaf["sha256"]))
        }
        start, stop = from_epoch(end - 199 * DAY), from_epoch(end)
        assert start is not None
        assert stop is not None
        now = from_epoch(tx.at)
        assert now is not None
        dated = [
            Finding(f.code, f.severity, f.addresses, f.evidence, "client", "you-act")
            for f in date_findings_of(start, stop, now, ())
        ]
        found += [
            {
                "endpoint_id": endpoint_id,
                "code": f.code,
                "severity": f.severity,
                "actor": f.actor,
                "outcome": f.outcome,
                "addresses": f.addresses,
                "evidence": f.evidence,
                # Each finding was opened at its own time.
                "opened_at": tx.at - index * 60,
                "opened_run": run_id,
            }
            for f in (*dated, *_other_findings(index, host))
        ]
    certificates.add(tx, leaves)
    scan_results.write_endpoint_status(tx, rows)
    scan_results.write_observations(tx, spans)
    tx.conn.execute(insert(StoredFinding), found)
    visited = {"first_seen": tx.at, "last_seen": tx.at, "open": 1, "digest": "x"}
    page = visited | {"document": '{"visits": []}'}
    pages = [page | {"endpoint_id": endpoint_id} for endpoint_id, _ in endpoints]
    tx.conn.execute(insert(PageObservation), pages)
    runs.finish(tx, run_id, "complete", None, DOMAINS, 0)


def add_work(tx: Tx) -> None:
    """Add a lineage, cases, purchases, tickets, notices, an incident, a snooze and acceptances.

    Their texts are long, and in the first client's names wide.
    """
    owner = clients.find(tx.conn, "10001")
    site = builders.site(tx, host_name(1))
    account_id = builders.add_account(tx)
    builders.add_lineage(tx, "autohaus-and-its-many-names", "10001", account_id, host_name(1))
    builders.open_case(tx, owner.id, host_name(1), host_name(41), bought_by="client")
    bought = {"vendor": "株式会社サイバートラスト電子認証センター", "years": 3}
    purchase_changes.add(
        tx, "10001", bought | {"price": "90.00", "currency": "EUR"}, [host_name(1)]
    )
    key = f"cover:{site.endpoint_id}:{owner.id}"
    ticket_id = builders.add_ticket(tx, owner.id, key, domain_id=site.domain_id)
    contact_id = contacts.listing(tx.conn, client_id=owner.id)[0].id
    subject = "証明書の有効期限が近づいています: " + host_name(1)
    builders.add_notice(tx, owner.id, contact_id, ticket_id, subject=subject)
    reason = "the client acknowledged the ticket on Monday, and reminders start again in five days"
    decision = {"subject": key, "client_id": owner.id, "contact_id": contact_id, "threshold": "7"}
    decisions.record(
        tx, [decision | {"round": "", "action": DecisionAction.SUPPRESS, "reason": reason}]
    )
    week = from_epoch(tx.at + 7 * DAY)
    assert week is not None
    incident = incidents.add(tx, IncidentKind.SERIALS, "list-of-the-ca.csv", tx.at + DAY, reason)
    item = NewIncidentItem(
        serial="01",
        sha256=builders.fingerprint(host_name(1)),
        client_id=owner.id,
        names=(host_name(1),),
        sort=IncidentCategory.CLIENT,
    )
    incidents.add_items(tx, incident.id, [item])
    snoozes.add(tx, SnoozeScope.DOMAIN, site.domain_id, tx.at, tx.at + 7 * DAY, reason, "Ada")
    findings.accept(tx, "certificate-expired", CODES, week, reason, client_id=owner.id)
    findings.accept(
        tx,
        "hsts-missing",
        CODES,
        week,
        reason,
        client_id=owner.id,
        kind=FindingDecision.ASSIGN,
        by="Ada",
    )
