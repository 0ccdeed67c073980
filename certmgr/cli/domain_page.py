"""``domain show``: all facts about a domain on one page, limited to its client."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from certmgr.cases.states import waits_for
from certmgr.cli.history import stamp_in
from certmgr.cli.output import cell, epoch_text, instant, pairs
from certmgr.config.settings import Settings
from certmgr.diagnose.told import delivery_text, held_text, topic_of
from certmgr.inspection.status import split_accepted
from certmgr.inspection.trust_ends import StoredTrust, trust_row, trust_text
from certmgr.renewers.load import load_facts
from certmgr.x509.names import name_covers
from certmgr.x509.trust_rules import BROWSER_NAMES
from inventory.dates import days_left
from inventory.db.database import Database, from_epoch
from inventory.names import display
from inventory.records import DomainRecord, EndpointRecord, ListedFinding
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
)
from inventory.store import endpoints as endpoints_store
from inventory.store import purchases as purchases_store
from inventory.targets import Target, parse
from inventory.vocabulary import SEVERITY_ORDER, Finding, Verdict, verdict_of
from notifiers.wording.english import ACTORS, VERDICTS
from notifiers.wording.sentences import instruction, sentence


def document(
    database: Database, name: str, now: datetime, settings: Settings | None = None
) -> dict[str, Any]:
    """Return the page as ``certmgr.domain/1``.

    Args:
        settings: The configuration, with the trust store and the rules of browsers.
    """
    with database.read() as conn:
        # The page must not show records of a client who does not own this domain.
        domain = domains.find(conn, name)
        row = next(
            r for r in domains.listing(conn, client_id=domain.client_id) if r.id == domain.id
        )
        client_contacts = contacts.listing(conn, client_id=row.client_id)
        endpoint_rows = endpoints_store.of_domain(conn, row.id)
        open_rows = findings.listing(conn, domain_id=row.id)
        until = _trusted_until(conn, [r.id for r in endpoint_rows], now, settings or Settings())
        accepted = findings.acceptances(conn, now)
        endpoints = [
            _endpoint(conn, endpoint_row, row, open_rows, accepted, now, until)
            for endpoint_row in endpoint_rows
        ]
        told = notices.about_domain(conn, row.client_id, None, row.id)
        ids = {r.id for r in endpoint_rows}
        held = decisions.held_about(conn, row.client_id, ids, {row.id})
        stamp = stamp_in((settings or Settings()).provider.time_zone)
        tags = editing.tags_of(conn, "domain", [row.id]).get(row.id, ())
        history = audit_log.of_row(conn, "domain", row.id, 5)
        # A wildcard or a certificate of several names covers this domain too.
        purchases = [
            o
            for o in purchases_store.listing(conn, client_id=row.client_id, ended=False)
            if any(name_covers(n, row.name) for n in o.names)
        ]
        domain_cases = [
            c
            for c in cases.listing(conn, client_id=row.client_id)
            if any(name_covers(n, row.name) for n in c.names)
        ]
        renewer = load_facts(conn, now, row.client_id).renewer(row.client_id, row.name)
    return {
        "schema": "certmgr.domain/1",
        "name": row.name,
        "client": row.client,
        "client_name": row.client_name,
        "server": row.server,
        "purpose": row.purpose,
        "paths": list(row.paths),
        "policy": row.policy,
        "state": row.state,
        "note": row.note,
        "hosts": row.parties.hosts,
        "dns": row.parties.dns,
        "buys": row.parties.buys,
        "renews": row.parties.renews,
        "renewal": {
            "method": str(renewer.method),
            "reference": renewer.reference or None,
            "automatic": renewer.automatic,
            "text": renewer.description,
        },
        "tags": list(tags),
        "contacts": [
            {k: getattr(p, k) for k in ("name", "role", "ways", "language", "time_zone")}
            for p in client_contacts
        ],
        "endpoints": endpoints,
        "orders": [
            {
                "order": f"#{o.id}",
                "id": o.id,
                "vendor": o.vendor,
                "number": o.number,
                "ends": epoch_text(o.ends_at),
            }
            for o in purchases
        ],
        "cases": [
            {
                "reference": c.reference,
                "state": c.state,
                "waits_for": waits_for(c),
                "due": epoch_text(c.due_at),
                "opened": epoch_text(c.opened_at),
            }
            for c in domain_cases[-5:]
        ],
        "notices": [
            {
                "notice": n.id,
                "reference": n.reference,
                "subject": n.subject,
                "state": n.state,
                "error": n.error,
                "text": delivery_text(n, stamp),
            }
            for n in told
        ],
        "held": [
            {"topic": topic_of(h.subject), "action": h.action, "text": held_text(h, stamp)}
            for h in held
        ],
        "history": [
            {
                "at": epoch_text(h.at),
                "actor": h.actor,
                "action": h.action,
                "detail": json.loads(h.detail),
            }
            for h in history
        ],
    }


def _trusted_until(
    conn: Any, endpoint_ids: list[int], now: datetime, settings: Settings
) -> dict[tuple[int, str], Any]:
    """Return (endpoint id, address) -> until when browsers trust what it serves."""
    stored = StoredTrust.of(conn, settings)
    return {
        (c.endpoint_id, c.address): trust_row(stored.ends(c), now, stored.rules.version)
        for c in stored.chains(endpoint_ids=endpoint_ids)
    }


def _endpoint(
    conn: Any,
    endpoint_row: EndpointRecord,
    row: DomainRecord,
    open_rows: list[ListedFinding],
    accepted: Any,
    now: datetime,
    until: dict[tuple[int, str], Any],
) -> dict[str, Any]:
    """Return one endpoint with its observations, findings and acceptances."""
    target = Target(endpoint_row.host, endpoint_row.port, endpoint_row.protocol)
    state = observations.probe_state(conn, endpoint_row.id)
    observed = observations.served_by(conn, endpoint_row.id)
    known = [
        Finding(
            code=f.code,
            severity=f.severity,
            addresses=tuple(f.addresses),
            evidence=f.evidence,
            actor=f.actor,
            outcome=f.outcome,
        )
        for f in open_rows
        if f.endpoint_id == endpoint_row.id
    ]
    # Accepted findings are listed separately, with who accepted them and until when.
    counted, waived = split_accepted(known, accepted, row.client_id, row.id, endpoint_row.id, now)
    # An accepted finding does not count; an endpoint that was never scanned is undetermined.
    verdict = Verdict.UNKNOWN if state is None else verdict_of({f.severity for f in counted})
    return {
        "target": target.key,
        "verdict": str(verdict),
        "fixed_addresses": list(endpoint_row.addresses or ()),
        "last_attempt": epoch_text(state.last_attempt) if state else None,
        "last_good": epoch_text(state.last_good) if state else None,
        "error": state.error_reason if state else None,
        "observations": [
            {
                "address": o.address,
                "serial": o.serial,
                "issuer": o.issuer,
                "key": o.key,
                "not_after": epoch_text(o.not_after),
                "days_left": days_left(end, now) if (end := from_epoch(o.not_after)) else None,
                "tls_version": o.tls_version,
                "trusted": None if o.trusted is None else bool(o.trusted),
                "trusted_until": until.get((endpoint_row.id, o.address)),
                "first_seen": epoch_text(o.first_seen),
                "last_seen": epoch_text(o.last_seen),
                "seen_last_time": bool(o.live),
            }
            for o in observed
        ],
        "findings": [
            {
                "code": f.code,
                "severity": f.severity,
                "actor": f.actor,
                "detail": sentence(f, target),
                "do": instruction(f, target),
            }
            for f in sorted(counted, key=lambda f: SEVERITY_ORDER[f.severity])
        ],
        "accepted": [
            {"code": f.code, "until": instant(a.until), "by": a.by, "reason": a.reason}
            for f, a in waived
        ],
    }


def _until_text(row: dict[str, Any] | None) -> str:
    if row is None:
        return "trusted until: not determined, since no path to a public root is known"
    days = ", ".join(
        f"{name} {row[key]['at'][:10] if row[key]['at'] else 'no longer'}"
        for key, name in BROWSER_NAMES.items()
        if key in row
    )
    early = trust_text(row)
    return f"trusted until: {days} (rules {row['rules']})" + (f"; {cell(early)}" if early else "")


def render(page: dict[str, Any]) -> None:
    """Print the page for a terminal."""
    unicode_name = display(page["name"])
    pairs(
        [
            (
                "domain",
                unicode_name
                if unicode_name == page["name"]
                else f"{unicode_name} ({page['name']})",
            ),
            ("client", f"{page['client']} {page['client_name']}"),
            ("server", page["server"]),
            ("purpose", page["purpose"]),
            ("paths", page["paths"]),
            ("policy", page["policy"]),
            ("state", page["state"]),
            (
                "who",
                "; ".join(
                    f"{k} {page[k] or 'unknown'}" for k in ("hosts", "dns", "buys", "renews")
                ),
            ),
            ("renewal", page["renewal"]["text"]),
            ("tags", page["tags"]),
            ("note", page["note"]),
        ]
    )
    for person in page["contacts"]:
        click.echo(
            f"contact  {cell(person['name'])} ({person['role']}):"
            f" {cell(person['ways']) or 'no contact method'}"
        )
    for purchase in page["orders"]:
        click.echo(
            f"purchase {purchases_store.reference(purchase['id'])} {cell(purchase['vendor'])}"
            f" {cell(purchase['number'] or '')}, until {purchase['ends'][:10]}"
        )
    for case in page["cases"]:
        due = f", due {case['due'][:10]}" if case["due"] else ""
        click.echo(
            f"case     {case['reference']}: {case['state']}, waits for {case['waits_for']}{due}"
        )
    for notice in page["notices"]:
        click.echo(f"notice   {cell(notice['subject'])} ({cell(notice['text'], 400)})")
    for message in page["held"]:
        click.echo(f"notice   {cell(message['text'], 400)}")
    for endpoint in page["endpoints"]:
        click.echo(f"\n{parse(endpoint['target'])}  {VERDICTS[endpoint['verdict']]}")
        attempts = (
            f"last attempt {endpoint['last_attempt'] or 'never'}, last good"
            f" {endpoint['last_good'] or 'never'}"
        )
        click.echo(
            f"  {attempts}" + (f"; error: {cell(endpoint['error'])}" if endpoint["error"] else "")
        )
        for o in endpoint["observations"]:
            trust = {True: "trusted", False: "not trusted", None: "trust undetermined"}[
                o["trusted"]
            ]
            # A silent address keeps its last certificate, which may be outdated.
            last_seen = "" if o["seen_last_time"] else f" (not seen since {o['last_seen']})"
            click.echo(
                f"  {o['address']}: {cell(o['issuer'])}, serial {cell(o['serial'])}, {o['key']},"
                f" ends {o['not_after']} ({o['days_left']} days), {trust}, since"
                f" {o['first_seen']}{last_seen}"
            )
            click.echo(f"    {_until_text(o['trusted_until'])}")
        for f in endpoint["findings"]:
            click.echo(f"  {f['severity']}: {f['detail']}\n    {ACTORS[f['actor']]}: {f['do']}")
        for a in endpoint["accepted"]:
            click.echo(
                f"  accepted: {a['code']} until {a['until']} by {cell(a['by'])}:"
                f" {cell(a['reason'])}"
            )
    if page["history"]:
        click.echo("\nLast changes")
        for h in page["history"]:
            click.echo(
                f"  {h['at']} {cell(h['actor'])}: {h['action']}"
                f" {cell(json.dumps(h['detail']), 160)}"
            )
