"""What the provider's own people hear of the robot that is ours: what it could not do, what waits
for them, and which endpoints it looks after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from certmgr.acme.renewal import CertificateLife, failure, is_near
from certmgr.x509.names import name_covers
from inventory.db.database import from_epoch, to_epoch
from inventory.names import display
from inventory.store import accounts, acme_orders, cases, lineages
from inventory.store.records import Row
from inventory.text import printable

DAY = 86_400
MAX_LINES = 200


@dataclass(frozen=True, slots=True)
class AutomationReport:
    """``lines``: for the daily digest.

    ``alarms``: (key, text) of what cannot wait. ``automated``: endpoint id -> until when the robot
    may be left to it.
    """

    lines: tuple[str, ...]
    alarms: tuple[tuple[str, str], ...]
    automated: Mapping[int, datetime]


def gather(conn: Connection, now: datetime) -> AutomationReport:
    at = to_epoch(now)
    rows = lineages.listing(conn, states=("active",))
    lines: list[str] = []
    alarms: list[tuple[str, str]] = []
    for row in rows:
        _lineage(row, now, lines, alarms)
    for one in lineages.troubled(conn):
        words = (
            f"{one['lineage']} (client {one['client']}): {display(one['name'])} is in quarantine"
            f" since {from_epoch(one['since']):%Y-%m-%d}: {printable(one['reason'] or '', 200)}"
        )
        lines.append(words)
        if one["since"] is not None and at - one["since"] < DAY:
            alarms.append((f"quarantine:{one['lineage']}:{one['name']}", words))
    for one in lineages.failing(conn):
        words = (
            f"{one['name']} (client {one['client']}): target {one['target']} failed"
            f" {one['attempts']} time(s): {printable(one['error'] or '', 200)}"
        )
        lines.append(words)
        alarms.append((f"target:{one['name']}:{one['target']}", words))
    for wait in acme_orders.backoffs(conn):
        if wait["until"] > at:
            who = wait["scope"] or "the whole CA"
            lines.append(
                f"{who} at {wait['directory']} is left alone until"
                f" {from_epoch(wait['until']):%Y-%m-%d %H:%M} UTC: {printable(wait['reason'], 200)}"
            )
    for account in accounts.listing(conn):
        if account["state"] == "lost":
            words = (
                f"the CA does not know the ACME account '{account['name']}' any more:"
                f" {account['lineages']} certificate(s) are not renewed"
            )
            lines.append(words)
            alarms.append((f"account:{account['name']}", words))
    return AutomationReport(
        tuple(lines[:MAX_LINES]), tuple(alarms[:MAX_LINES]), _automated(conn, rows, now)
    )


def _lineage(row: Row, now: datetime, lines: list[str], alarms: list[tuple[str, str]]) -> None:
    who = f"{row['name']} (client {row['client']})"
    if row["sha256"] is not None and row["rolled_back"] == row["sha256"]:
        words = f"{who}: the new certificate did harm and was taken back; somebody has to look"
        lines.append(words)
        alarms.append((f"rolled-back:{row['name']}:{row['sha256'][:12]}", words))
    elif row["proof"] and row["proven_at"] is None and not str(row["proof"]).startswith("no place"):
        lines.append(f"{who}: not seen live: {printable(row['proof'], 300)}")
    if not row["failures"] and row["error"] is None:
        return
    said = printable(failure(row["error"]), 300)
    if row["failures"]:
        lines.append(f"{who}: failed {row['failures']} time(s): {said}")
    elif said:
        lines.append(f"{who}: {said}")
    life = _life(row)
    if row["failures"] and life is not None and is_near(life, now):
        alarms.append(
            (
                f"near:{row['name']}",
                f"{who} ends on {life.not_after:%Y-%m-%d} and could not be renewed: {said}",
            )
        )


def _life(row: Row) -> CertificateLife | None:
    not_before, not_after = from_epoch(row["not_before"]), from_epoch(row["not_after"])
    return (
        CertificateLife(not_before, not_after)
        if not_before is not None and not_after is not None
        else None
    )


def _automated(conn: Connection, rows: list[Row], now: datetime) -> dict[int, datetime]:
    """Endpoints that a lineage in good order covers, until its certificate is near its end.

    One that failed, or was taken back, looks after nothing.
    """
    found: dict[int, datetime] = {}
    good = []
    for row in rows:
        life = _life(row)
        in_use = row["deployed"] == row["sha256"] and row["proven_at"] is not None
        waits = any(n["state"] == "quarantined" for n in row["names"]) and row["shrink"] != "auto"
        if life is None or row["failures"] or not in_use or waits or is_near(life, now):
            continue
        span = life.not_after - life.not_before
        good.append((row, life.not_after - span / 6))
    places = cases.places(conn, {r["client_id"] for r, _ in good})
    for row, until in good:
        names = [n["name"] for n in row["names"] if n["state"] == "active"]
        for place in places.get(row["client_id"], ()):
            if any(name_covers(n, place["host"]) for n in names):
                found[place["id"]] = max(until, found.get(place["id"], until))
    return found
