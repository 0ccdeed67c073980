"""``domain show``: everything known about a name on one screen, scoped to its client."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click
from sqlalchemy import select

from certmgr.cases.states import waits_for
from certmgr.cli.output import cell, epoch_text, instant, pairs
from certmgr.inspection.status import split_accepted
from certmgr.x509.names import name_covers
from inventory.dates import days_left
from inventory.db.database import Database, from_epoch
from inventory.models.tables import audit, certificate, endpoint, observation, standing
from inventory.names import display
from inventory.store import cases, contacts, domains, findings, records
from inventory.store import purchases as orders
from inventory.targets import Target, parse
from inventory.vocabulary import SEVERITY_ORDER, Finding, Verdict, verdict_of
from notifiers.wording.english import ACTORS, VERDICTS
from notifiers.wording.sentences import instruction, sentence


def document(database: Database, name: str, now: datetime) -> dict[str, Any]:
    """The page as values: ``certmgr.domain/1``."""
    with database.read() as conn:
        found = domains.find(conn, name)
        row = next(
            r for r in domains.listing(conn, client_id=found["client_id"]) if r["id"] == found["id"]
        )
        people = contacts.listing(conn, client_id=row["client_id"])
        places = (
            conn.execute(
                select(endpoint).where(
                    endpoint.c.domain_id == row["id"], endpoint.c.state != "retired"
                )
            )
            .mappings()
            .all()
        )
        open_rows = findings.listing(conn, domain_id=row["id"])
        accepted = findings.acceptances(conn, now)
        endpoints = [_endpoint(conn, place, row, open_rows, accepted, now) for place in places]
        tags = records.tags_of(conn, "domain", [row["id"]]).get(row["id"], ())
        history = (
            conn.execute(
                select(audit)
                .where(audit.c.kind == "domain", audit.c.row_id == row["id"])
                .order_by(audit.c.id.desc())
                .limit(5)
            )
            .mappings()
            .all()
        )
        purchases = [
            o
            for o in orders.listing(conn, client_id=row["client_id"], ended=False)
            if any(name_covers(n, row["name"]) for n in o["names"])
        ]
        led = [
            c
            for c in cases.listing(conn, client_id=row["client_id"])
            if any(name_covers(n, row["name"]) for n in c["names"])
        ]
    return {
        "schema": "certmgr.domain/1",
        "name": row["name"],
        "client": row["client"],
        "client_name": row["client_name"],
        "server": row["server"],
        "purpose": row["purpose"],
        "paths": row["paths"].split(),
        "policy": row["policy"],
        "state": row["state"],
        "note": row["note"],
        "hosts": row["parties"].hosts,
        "dns": row["parties"].dns,
        "buys": row["parties"].buys,
        "renews": row["parties"].renews,
        "tags": list(tags),
        "contacts": [
            {k: p[k] for k in ("name", "role", "ways", "language", "time_zone")} for p in people
        ],
        "endpoints": endpoints,
        "orders": [
            {
                "order": f"#{o['id']}",
                "vendor": o["vendor"],
                "number": o["number"],
                "ends": epoch_text(o["ends_at"]),
            }
            for o in purchases
        ],
        "cases": [
            {
                "reference": c["reference"],
                "state": c["state"],
                "waits_for": waits_for(c),
                "due": epoch_text(c["due_at"]),
                "opened": epoch_text(c["opened_at"]),
            }
            for c in led[-5:]
        ],
        "history": [
            {
                "at": epoch_text(h["at"]),
                "actor": h["actor"],
                "action": h["action"],
                "detail": json.loads(h["detail"]),
            }
            for h in history
        ],
    }


def _endpoint(
    conn: Any, place: Any, row: Any, open_rows: Any, accepted: Any, now: datetime
) -> dict[str, Any]:
    target = Target(place["host"], place["port"], place["protocol"])
    state = (
        conn.execute(select(standing).where(standing.c.endpoint_id == place["id"]))
        .mappings()
        .first()
    )
    seen = (
        conn.execute(
            select(
                observation,
                certificate.c.serial,
                certificate.c.issuer,
                certificate.c.not_after,
                certificate.c.key,
            )
            .outerjoin(certificate, certificate.c.sha256 == observation.c.leaf)
            .where(observation.c.endpoint_id == place["id"], observation.c.open == 1)
            .order_by(observation.c.address)
        )
        .mappings()
        .all()
    )
    known = [
        Finding(
            code=f["code"],
            severity=f["severity"],
            addresses=tuple(f["addresses"]),
            evidence=f["evidence"],
            actor=f["actor"],
            outcome=f["outcome"],
        )
        for f in open_rows
        if f["endpoint_id"] == place["id"]
    ]
    counted, waived = split_accepted(known, accepted, row["client_id"], row["id"], place["id"], now)
    verdict = Verdict.UNKNOWN if state is None else verdict_of({f.severity for f in counted})
    return {
        "target": target.key,
        "verdict": str(verdict),
        "fixed_addresses": (place["addresses"] or "").split(),
        "last_attempt": epoch_text(state["last_attempt"]) if state else None,
        "last_good": epoch_text(state["last_good"]) if state else None,
        "error": state["error_reason"] if state else None,
        "observations": [
            {
                "address": o["address"],
                "serial": o["serial"],
                "issuer": o["issuer"],
                "key": o["key"],
                "not_after": epoch_text(o["not_after"]),
                "days_left": days_left(end, now) if (end := from_epoch(o["not_after"])) else None,
                "tls_version": o["tls_version"],
                "trusted": None if o["trusted"] is None else bool(o["trusted"]),
                "first_seen": epoch_text(o["first_seen"]),
                "last_seen": epoch_text(o["last_seen"]),
                "seen_last_time": bool(o["live"]),
            }
            for o in seen
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


def render(page: dict[str, Any]) -> None:
    shown = display(page["name"])
    pairs(
        [
            ("domain", shown if shown == page["name"] else f"{shown} ({page['name']})"),
            ("client", f"{page['client']} {page['client_name']}"),
            ("server", page["server"]),
            ("purpose", page["purpose"]),
            ("paths", page["paths"]),
            ("policy", page["policy"]),
            ("state", page["state"]),
            (
                "who",
                "; ".join(
                    f"{k} {page[k] or 'nobody said'}" for k in ("hosts", "dns", "buys", "renews")
                ),
            ),
            ("tags", page["tags"]),
            ("note", page["note"]),
        ]
    )
    for person in page["contacts"]:
        click.echo(
            f"contact  {cell(person['name'])} ({person['role']}):"
            f" {cell(person['ways']) or 'no way to reach them'}"
        )
    for order in page["orders"]:
        click.echo(
            f"order    {order['order']} {cell(order['vendor'])} {cell(order['number'] or '')},"
            f" until {order['ends'][:10]}"
        )
    for case in page["cases"]:
        due = f", due {case['due'][:10]}" if case["due"] else ""
        click.echo(
            f"case     {case['reference']}: {case['state']}, waits for {case['waits_for']}{due}"
        )
    for place in page["endpoints"]:
        click.echo(f"\n{parse(place['target'])}  {VERDICTS[place['verdict']]}")
        when = (
            f"last attempt {place['last_attempt'] or 'never'}, last good"
            f" {place['last_good'] or 'never'}"
        )
        click.echo(f"  {when}" + (f"; then: {cell(place['error'])}" if place["error"] else ""))
        for o in place["observations"]:
            trust = {True: "trusted", False: "not trusted", None: "trust not determined"}[
                o["trusted"]
            ]
            now_and_then = "" if o["seen_last_time"] else f" (not seen since {o['last_seen']})"
            click.echo(
                f"  {o['address']}: {cell(o['issuer'])}, serial {cell(o['serial'])}, {o['key']},"
                f" ends {o['not_after']} ({o['days_left']} days), {trust}, since"
                f" {o['first_seen']}{now_and_then}"
            )
        for f in place["findings"]:
            click.echo(f"  {f['severity']}: {f['detail']}\n    {ACTORS[f['actor']]}: {f['do']}")
        for a in place["accepted"]:
            click.echo(
                f"  accepted: {a['code']} until {a['until']} by {cell(a['by'])}:"
                f" {cell(a['reason'])}"
            )
    if page["history"]:
        click.echo("\nlast changes")
        for h in page["history"]:
            click.echo(
                f"  {h['at']} {cell(h['actor'])}: {h['action']}"
                f" {cell(json.dumps(h['detail']), 160)}"
            )
