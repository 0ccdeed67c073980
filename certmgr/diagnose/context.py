"""The inventory's data about a host: its client, its open findings, and what changed.

Changes are those since the last scan that observed a certificate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.diagnose import history
from certmgr.diagnose.history import HistoryEntry
from certmgr.diagnose.outcome import OutcomeFacts
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.server_down import NOT_CONNECTED, ServerDown, servers_down
from certmgr.net.addresses import Network, within
from certmgr.renewers.load import load_facts
from certmgr.renewers.plan import (
    EXPIRING,
    RenewalPlan,
    ServedDates,
    assigned_plan,
    renewal_plan,
)
from certmgr.renewers.renewer import RenewalFacts
from inventory.db.database import Database, from_epoch
from inventory.names import registered_domain
from inventory.records import DomainRecord, EndpointRecord, HeldMessage, ListedDomain, NoticeAbout
from inventory.store import (
    audit_log,
    clients,
    contacts,
    decisions,
    domains,
    endpoints,
    findings,
    notices,
    observations,
    server_faults,
    servers,
    tickets,
    zones,
)
from inventory.store.finding_columns import finding_of
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, FindingDecision, Parties, deciding
from inventory.zone_names import DEFAULT_ZONE
from notifiers.wording.catalogue import language
from notifiers.wording.scope import names_in


@dataclass(slots=True)
class HostContext:
    """The inventory's data about a host.

    Attributes:
        contact: The name of the owner, or of another contact.
        last_good: The time of the last scan that observed a certificate.
        open: The stored open findings of the endpoint, each with the time when it was opened.
        served: Address -> (SHA-256, serial, first observed) of the last good scan.
        accepted: The acceptances that cover the endpoint.
        assigned: Which staff member fixes which code, and by when.
        edits: The last changes of the domain's record, in words.
        notices: The notices to the client about the domain, also those that were not delivered.
        held: What the client was not notified of, since it is held or waits.
        history: The time line of the domain, oldest first.
        down: The server of the host, if the last scan found it down for several names.
        references: The code of a fault -> the reference of its open ticket.
        own_addresses: The addresses of its server.
        paths: Paths that each scan visits.
        fixed: Addresses that the administrator set for the endpoint.
        renewal: Who renews the certificate, as one line for staff.
        renewers: Who renews which name of the client.
        zones: The vantage points from which the host is visited, the first one at the beginning.
    """

    domain: str
    client: str
    client_id: int
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
    assigned: list[Acceptance] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)
    notices: list[NoticeAbout] = field(default_factory=list)
    own_addresses: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    renewal: str = ""
    held: list[HeldMessage] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    down: ServerDown | None = None
    renewers: RenewalFacts | None = None
    zones: tuple[str, ...] = (DEFAULT_ZONE,)

    def acting(self, host: str) -> Parties:
        """Return the parties of a host; what our lineage renews is ours."""
        if self.renewers is None:
            return self.parties
        return self.renewers.parties(self.client_id, host, self.parties)

    def plan(self, report: EndpointReport, now: datetime) -> RenewalPlan | None:
        """Return the renewal that is due and in time, for what was served just now."""
        leaf, host = report.certificate, report.target.host
        if (
            self.renewers is None
            or leaf is None
            or leaf.not_before is None
            or leaf.not_after is None
        ):
            return None
        served = ServedDates(leaf.not_before, leaf.not_after)
        codes = {f.code for f in report.findings}
        plan = renewal_plan(self.renewers, self.client_id, host, served, now, codes)
        return plan and assigned_plan(plan, (a for a in self.assigned if a.code == EXPIRING), now)


def load(
    database: Database, target: Target, now: datetime, zone: str = "UTC"
) -> HostContext | None:
    """Return the data about a host; None if neither it nor its registered domain is known.

    Args:
        database: The inventory.
        target: The host, and its port for HTTPS.
        now: The time at which acceptances and renewals are judged.
        zone: The time zone of the provider, for the history.
    """
    with database.read() as conn:
        # A visitor opens HTTPS, so endpoints of other protocols are not considered.
        endpoint_row = endpoints.known(conn, Target(target.host, target.port))
        row = _domain(conn, target, endpoint_row)
        if row is None:
            return None
        people = contacts.listing(conn, client_id=row.client_id)
        manager = clients.by_id(conn, row.client_id).account_manager
        # The owner is addressed first; other contacts keep their order.
        people.sort(key=lambda p: p.role != "owner")
        first = people[0] if people else None
        renewers = load_facts(conn, now, row.client_id)
        context = HostContext(
            domain=row.name,
            client=row.client,
            client_id=row.client_id,
            client_name=row.client_name,
            account_manager=manager,
            server=row.server,
            purpose=row.purpose,
            parties=row.parties,
            contact=first.name if first else None,
            language=next((p.language for p in people if p.language), None),
            time_zone=next((p.time_zone for p in people if p.time_zone), None),
            last_good=None,
            paths=row.paths,
            renewal=renewers.renewer(row.client_id, target.host).description,
            renewers=renewers,
            zones=zones.of_hosts(conn, row.client_id).visiting(target.host, target.port),
        )
        # Without a server, the inventory does not know to which address the host should point.
        if row.server_id is not None:
            context.own_addresses = servers.by_id(conn, row.server_id).addresses
        if endpoint_row is not None:
            context.fixed = endpoint_row.addresses or ()
            _endpoint(conn, context, endpoint_row, row, now)
        context.edits = _edits(conn, row.id, ZoneInfo(zone))
        _messages(conn, context, row.id, endpoint_row)
        context.history = history.load(conn, row.client_id, row.id, row.name, language("en", zone))
    return context


def _messages(
    conn: Connection, context: HostContext, domain_id: int, endpoint_row: EndpointRecord | None
) -> None:
    """Add what the client was notified of about the domain, and what waits or is held."""
    endpoint_id = None if endpoint_row is None else endpoint_row.id
    sent = notices.about_domain(conn, context.client_id, endpoint_id, domain_id)
    context.notices = list(sent)
    endpoint_ids = set() if endpoint_id is None else {endpoint_id}
    about = (context.client_id, endpoint_ids, {domain_id})
    context.held = decisions.held_about(conn, *about)
    context.references = tickets.open_references(conn, *about)


def _domain(
    conn: Connection, target: Target, endpoint_row: EndpointRecord | None
) -> ListedDomain | None:
    """Return the domain of the endpoint, or else of the host, or its registered domain."""
    if endpoint_row is not None:
        owner: DomainRecord | None = domains.by_id(conn, endpoint_row.domain_id)
    else:
        # A host without an endpoint usually belongs to the client of its registered domain.
        owner = domains.active(conn, target.host) or (
            None if target.is_address else domains.active(conn, registered_domain(target.host))
        )
    if owner is None:
        return None
    listed = domains.listing(conn, client_id=owner.client_id)
    return next((r for r in listed if r.id == owner.id), None)


def _endpoint(
    conn: Connection,
    context: HostContext,
    endpoint_row: EndpointRecord,
    row: ListedDomain,
    now: datetime,
) -> None:
    """Add what scans found at the endpoint of the host, and what was decided about it."""
    state = observations.probe_state(conn, endpoint_row.id)
    # An endpoint that was never scanned has no row.
    context.last_good = from_epoch(state.last_good) if state else None
    for f in findings.listing(conn, domain_id=row.id):
        if f.endpoint_id == endpoint_row.id:
            context.open.append((finding_of(f), from_epoch(f.opened_at)))
    not_connected = server_faults.not_connected(conn, NOT_CONNECTED)
    context.down = servers_down(not_connected).get(endpoint_row.id)
    # What each address served last; older observations are closed.
    context.served = {
        o.address: (o.leaf, o.serial or "", from_epoch(o.first_seen))
        for o in observations.served_by(conn, endpoint_row.id)
        if o.leaf is not None
    }
    # An acceptance may cover one endpoint, a domain, or all endpoints of a client.
    scope = (row.client_id, row.id, endpoint_row.id)
    context.accepted = [a for a in findings.acceptances(conn, now) if a.covers(a.code, *scope, now)]
    by_code: dict[str, list[Acceptance]] = {}
    for assignment in findings.acceptances(conn, now, kind=FindingDecision.ASSIGN):
        if assignment.covers(assignment.code, *scope, now):
            by_code.setdefault(assignment.code, []).append(assignment)
    context.assigned = [a for same in by_code.values() if (a := deciding(same, now)) is not None]


def _edits(conn: Connection, domain_id: int, zone: ZoneInfo) -> list[str]:
    """Return the last three changes of the domain's record, in words."""
    # A recent edit of the record may explain the fault, which its creation does not.
    rows = audit_log.of_row(conn, "domain", domain_id, 3, edits_only=True)
    lines = []
    for row in rows:
        at = datetime.fromtimestamp(row.at, zone)
        lines.append(
            f"{at:%Y-%m-%d} {row.actor} ({row.action}): {', '.join(json.loads(row.detail))}"
        )
    return lines


def owners(database: Database | None, report: EndpointReport) -> dict[str, int]:
    """Return the owners of the names that the findings contain, as far as they are known."""
    if database is None:
        return {}
    with database.read() as conn:
        return domains.owners_of(conn, names_in(report.findings))


def changes(context: HostContext, report: EndpointReport) -> list[str]:
    """Return what changed since the last good scan that is stored, in words. Pure."""
    lines = []
    # Without a stored scan, each address would be "new".
    before, now = set(context.served), {a.address for a in report.addresses}
    if before:
        lines += [f"the address {a} is new" for a in sorted(now - before)]
        lines += [f"the address {a} is gone" for a in sorted(before - now)]
    for address in report.addresses:
        known = context.served.get(address.address)
        if known is not None and address.seen and address.chain[0] != known[0]:
            lines.append(
                f"{address.address} serves another certificate than before (serial {known[1]})"
            )
        # Without a route from this machine, nothing is known about the address.
        elif known is not None and not address.seen and not address.no_route:
            lines.append(f"{address.address} served a certificate before, and serves none now")
    # The last scan may be hours old, so the diagnosis can find more.
    stored = {f.code for f, _ in context.open}
    lines += [
        f"new since the last scan: {f.code}"
        for f in report.findings
        if f.code not in stored and f.severity not in ("info", "low")
    ]
    return lines


def facts(
    database: Database | None,
    context: HostContext | None,
    report: EndpointReport,
    networks: tuple[Network, ...],
    clock: datetime | None,
    plan: RenewalPlan | None = None,
) -> OutcomeFacts:
    """Return the facts for the outcome.

    Args:
        database: The inventory; None if there is none.
        context: The inventory's data about the host; None if the host is not in it.
        report: The result of the scan.
        networks: The networks of the provider.
        clock: What the clock of the visitor's device shows, if it is known.
        plan: The renewal that is due and in time.
    """
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
    # The provider installs certificates on its servers, also under a panel.
    hosted = parties.hosts == "us" or (parties.hosts == "panel" and parties.on_our_server)
    elsewhere = any(f.code == "points-elsewhere" for f in report.findings)
    # Without any configured address of the provider, the responsibilities decide.
    if not own and not networks and hosted:
        ours = frozenset(a.address for a in report.addresses)
    return OutcomeFacts(
        known=True,
        dns_is_ours=parties.dns == "us",
        own_addresses=context.own_addresses,
        ours=ours,
        we_install=hosted and not elsewhere,
        assigned=tuple(context.assigned),
        clock=clock,
        planned=plan is not None,
    )
