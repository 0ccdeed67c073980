"""``domain show``: all facts about a domain, limited to its client, as typed records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from certmgr.cases.states import waits_for
from certmgr.cli.history import stamp_in
from certmgr.cli.inventory.domain_facts import (
    AcceptedFacts,
    ContactFacts,
    DomainPage,
    FindingFacts,
    HeldFacts,
    NoticeFacts,
    ShownAddress,
    ShownCase,
    ShownChange,
    ShownEndpoint,
    ShownPurchase,
    ShownRenewal,
)
from certmgr.cli.output import epoch_text, instant
from certmgr.cli.planned import plan_document
from certmgr.config.settings import Settings
from certmgr.diagnose.notice_status import delivery_text, held_text, topic_of
from certmgr.inspection.client_scope import scoped_findings
from certmgr.inspection.finding_states import FindingStanding, FindingState, FindingStates
from certmgr.inspection.trust_ends import StoredTrust, trust_row
from certmgr.renewers.load import load_facts
from certmgr.x509.names import name_covers
from inventory.dates import days_left
from inventory.db.database import Database, from_epoch
from inventory.records import EndpointRecord, ListedDomain, ObservedChain
from inventory.store import (
    audit_log,
    cases,
    contacts,
    decisions,
    domains,
    editing,
    findings,
    notices,
    observations,
    purchases,
)
from inventory.store import endpoints as endpoints_store
from inventory.targets import Target
from inventory.vocabulary import SEVERITY_ORDER, Acceptance, Finding, Verdict, verdict_of
from notifiers.wording.scope import may_be_foreign
from notifiers.wording.sentences import instruction, sentence

# After years these lists are long. The rest is in `case list` and `audit list`.
SHOWN_CASES = 5
SHOWN_CHANGES = 5


def load_page(
    database: Database, name: str, now: datetime, settings: Settings | None = None
) -> DomainPage:
    """Read the page of a domain.

    Args:
        settings: The configuration, with the trust store and the rules of browsers.

    Raises:
        NotFound: There is no such domain.
    """
    used = settings or Settings()
    with database.read() as conn:
        # The page must not show records of a client who does not own this domain.
        domain = domains.find(conn, name)
        row = next(
            r for r in domains.listing(conn, client_id=domain.client_id) if r.id == domain.id
        )
        # Everything is read in one transaction, so that all parts of the page show the same moment.
        renewer = load_facts(conn, now, row.client_id).renewer(row.client_id, row.name)
        return DomainPage(
            name=row.name,
            client=row.client,
            client_name=row.client_name,
            server=row.server,
            purpose=row.purpose,
            paths=list(row.paths),
            policy=row.policy,
            state=row.state,
            note=row.note,
            hosts=row.parties.hosts,
            dns=row.parties.dns,
            buys=row.parties.buys,
            renews=row.parties.renews,
            renewal=ShownRenewal(
                method=str(renewer.method),
                reference=renewer.reference or None,
                automatic=renewer.automatic,
                text=renewer.description,
            ),
            tags=list(editing.tags_of(conn, "domain", [row.id]).get(row.id, ())),
            contacts=_contacts(conn, row),
            endpoints=_endpoints(conn, row, now, used),
            orders=_purchases(conn, row),
            cases=_cases(conn, row),
            notices=_notices(conn, row, used.provider.time_zone),
            held=_held(conn, row, used.provider.time_zone),
            history=_changes(conn, row),
        )


def _contacts(conn: Connection, row: ListedDomain) -> list[ContactFacts]:
    return [
        ContactFacts(
            name=p.name, role=p.role, ways=p.ways, language=p.language, time_zone=p.time_zone
        )
        # Contacts belong to a client, and not to a domain.
        for p in contacts.listing(conn, client_id=row.client_id)
    ]


def _changes(conn: Connection, row: ListedDomain) -> list[ShownChange]:
    return [
        ShownChange(
            at=epoch_text(h.at),
            actor=h.actor,
            action=h.action,
            # The log stores the text that was hashed.
            detail=json.loads(h.detail),
        )
        for h in audit_log.of_row(conn, "domain", row.id, SHOWN_CHANGES)
    ]


def _purchases(conn: Connection, row: ListedDomain) -> list[ShownPurchase]:
    return [
        ShownPurchase(
            order=f"#{p.id}", id=p.id, vendor=p.vendor, number=p.number, ends=epoch_text(p.ends_at)
        )
        # A purchase that ended pays for no renewal.
        for p in purchases.listing(conn, client_id=row.client_id, ended=False)
        # A wildcard or a certificate of several names covers this domain too.
        if any(name_covers(n, row.name) for n in p.names)
    ]


def _cases(conn: Connection, row: ListedDomain) -> list[ShownCase]:
    found = [
        c
        # Ended cases are included: the last one explains the certificate that is served.
        for c in cases.listing(conn, client_id=row.client_id)
        if any(name_covers(n, row.name) for n in c.names)
    ]
    # Open cases come first, the next due at the beginning, because they need an action. The sort
    # is stable, so that open cases keep the order of the listing.
    found.sort(key=lambda c: (c.closed_at is not None, -(c.closed_at or 0)))
    return [
        ShownCase(
            reference=c.reference,
            state=c.state,
            waits_for=waits_for(c),
            due=epoch_text(c.due_at),
            opened=epoch_text(c.opened_at),
        )
        for c in found[:SHOWN_CASES]
    ]


def _notices(conn: Connection, row: ListedDomain, zone: str) -> list[NoticeFacts]:
    # Staff reads this page, so times are in the zone of the provider.
    stamp = stamp_in(zone)
    return [
        NoticeFacts(
            notice=n.id,
            reference=n.reference,
            subject=n.subject,
            state=n.state,
            error=n.error,
            text=delivery_text(n, stamp),
        )
        # A domain that moved here has notices to its previous client, which are left out.
        for n in notices.about_domain(conn, row.client_id, None, row.id)
    ]


def _held(conn: Connection, row: ListedDomain, zone: str) -> list[HeldFacts]:
    stamp = stamp_in(zone)
    # A message may be held about the domain, or about one of its endpoints.
    ids = {e.id for e in endpoints_store.of_domain(conn, row.id)}
    return [
        HeldFacts(topic=topic_of(h.subject), action=h.action, text=held_text(h, stamp))
        for h in decisions.held_about(conn, row.client_id, ids, {row.id})
    ]


def _endpoints(
    conn: Connection, row: ListedDomain, now: datetime, settings: Settings
) -> list[ShownEndpoint]:
    rows = endpoints_store.of_domain(conn, row.id)
    open_rows = findings.listing(conn, domain_id=row.id)
    # The page is passed on to the client, and a shared certificate names other clients.
    limited = scoped_findings(conn, row.client_id, open_rows)
    until = _trusted_until(conn, [r.id for r in rows], now, settings)
    states = FindingStates.read(conn, open_rows, now, client_id=row.client_id)
    found: dict[int, list[FindingState]] = {r.id: [] for r in rows}
    for f in open_rows:
        known = replace(limited[f.id], actor=f.actor, outcome=f.outcome)
        found[f.endpoint_id].append(states.of(f, known))
    return [_endpoint(conn, r, found[r.id], now, until) for r in rows]


def _trusted_until(
    conn: Connection, endpoint_ids: list[int], now: datetime, settings: Settings
) -> dict[tuple[int, str], Mapping[str, Any] | None]:
    """Return (endpoint id, address) -> until when browsers trust what it serves."""
    stored = StoredTrust.of(conn, settings)
    return {
        # The servers behind one name may present different chains.
        (c.endpoint_id, c.address): trust_row(stored.ends(c), now, stored.rules.version)
        for c in stored.chains(endpoint_ids=endpoint_ids)
    }


def _endpoint(
    conn: Connection,
    endpoint: EndpointRecord,
    known: Sequence[FindingState],
    now: datetime,
    until: Mapping[tuple[int, str], Mapping[str, Any] | None],
) -> ShownEndpoint:
    """Return one endpoint with its observations, findings and acceptances."""
    target = Target(endpoint.host, endpoint.port, endpoint.protocol)
    state = observations.probe_state(conn, endpoint.id)
    # The issuer of a self-signed certificate is the site of another client.
    names_issuer = not may_be_foreign(s.finding.code for s in known)
    counted = [s for s in known if s.standing is FindingStanding.OPEN]
    # An accepted finding does not count; an endpoint that was never scanned is undetermined.
    verdict = (
        Verdict.UNKNOWN if state is None else verdict_of({s.finding.severity for s in counted})
    )
    return ShownEndpoint(
        target=target.key,
        verdict=str(verdict),
        fixed_addresses=list(endpoint.addresses or ()),
        last_attempt=epoch_text(state.last_attempt) if state else None,
        last_good=epoch_text(state.last_good) if state else None,
        # A failed probe leaves the earlier observations in place. The error states that they may be
        # outdated.
        error=state.error_reason if state else None,
        # Per address, because the servers behind one name may be configured differently.
        observations=[
            _address(o, now, until.get((endpoint.id, o.address)), names_issuer=names_issuer)
            for o in observations.served_by(conn, endpoint.id)
        ],
        findings=[
            FindingFacts(
                code=s.finding.code,
                severity=s.finding.severity,
                actor=s.finding.actor,
                detail=sentence(s.finding, target),
                do=instruction(s.finding, target),
                assigned=_decided(s.finding, s.assignment),
            )
            # The worst finding decides the verdict, so it comes first.
            for s in sorted(counted, key=lambda s: SEVERITY_ORDER[s.finding.severity])
        ],
        # Accepted findings are listed separately, with who accepted them and until when.
        accepted=[a for s in known if (a := _decided(s.finding, s.acceptance)) is not None],
        planned=plan_document(next((s.plan for s in known if s.plan is not None), None)),
    )


def _decided(finding: Finding, decision: Acceptance | None) -> AcceptedFacts | None:
    """Return who accepted or fixes a finding, and until when."""
    if decision is None:
        return None
    return AcceptedFacts(
        code=finding.code, until=instant(decision.until), by=decision.by, reason=decision.reason
    )


def _address(
    seen: ObservedChain, now: datetime, until: Mapping[str, Any] | None, *, names_issuer: bool
) -> ShownAddress:
    end = from_epoch(seen.not_after)
    return ShownAddress(
        address=seen.address,
        serial=seen.serial,
        issuer=seen.issuer if names_issuer else None,
        key=seen.key,
        not_after=epoch_text(seen.not_after),
        # An address may answer without a certificate that could be stored.
        days_left=days_left(end, now) if end else None,
        tls_version=seen.tls_version,
        # NULL is undetermined, and bool() would turn it into "not trusted".
        trusted=None if seen.trusted is None else bool(seen.trusted),
        trusted_until=until,
        first_seen=epoch_text(seen.first_seen),
        last_seen=epoch_text(seen.last_seen),
        seen_last_time=bool(seen.live),
    )
