"""Reports to the provider's staff about automatic renewal: failures, pending approvals, and the
endpoints that the automation renews.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from certmgr.acme.renewal.renewal import CertificateLife, error_sentence, is_near
from certmgr.x509.names import name_covers
from inventory.db.database import from_epoch, to_epoch
from inventory.names import display
from inventory.records import ListedLineage
from inventory.store import accounts, acme_orders, deployments, endpoints, lineage_names, lineages
from inventory.text import printable
from inventory.vocabulary import OnFailedName

DAY = 86_400
# A digest of more lines is not read; certmgr lineage list has all of them.
MAX_LINES = 200


@dataclass(frozen=True, slots=True)
class AutomationReport:
    """The state of automatic renewal.

    Attributes:
        lines: Lines for the daily digest.
        alarms: Urgent messages: (key, text).
        automated: Endpoint id -> the time until which the automation is responsible for it.
    """

    lines: tuple[str, ...]
    alarms: tuple[tuple[str, str], ...]
    automated: Mapping[int, datetime]


def gather(conn: Connection, now: datetime) -> AutomationReport:
    """Return the state of automatic renewal of all clients."""
    at = to_epoch(now)
    rows = lineages.listing(conn, states=("active",))
    lines: list[str] = []
    alarms: list[tuple[str, str]] = []
    for row in rows:
        _report_lineage(row, now, lines, alarms)
    for name in lineage_names.quarantined(conn):
        text = (
            f"{name.lineage} (client {name.client}): {display(name.name)} is in quarantine"
            f" since {from_epoch(name.since):%Y-%m-%d}: {printable(name.reason or '', 200)}"
        )
        lines.append(text)
        # Only a new quarantine is an alarm; the digest repeats it every day.
        if name.since is not None and at - name.since < DAY:
            alarms.append((f"quarantine:{name.lineage}:{name.name}", text))
    for target in deployments.failing(conn):
        text = (
            f"{target.name} (client {target.client}): target {target.target} failed"
            f" {target.attempts} time(s): {printable(target.error or '', 200)}"
        )
        lines.append(text)
        alarms.append((f"target:{target.name}:{target.target}", text))
    # A backoff ends without help, so it is no alarm.
    for wait in acme_orders.backoffs(conn):
        if wait.until > at:
            scope = wait.scope or "the whole CA"
            lines.append(
                f"requests for {scope} at {wait.directory} are suspended until"
                f" {from_epoch(wait.until):%Y-%m-%d %H:%M} UTC: {printable(wait.reason, 200)}"
            )
    for account in accounts.listing(conn):
        if account.state == "lost":
            text = (
                f"the CA does not know the ACME account '{account.name}' any more:"
                f" {account.lineages} certificate(s) are not renewed"
            )
            lines.append(text)
            alarms.append((f"account:{account.name}", text))
    return AutomationReport(
        tuple(lines[:MAX_LINES]), tuple(alarms[:MAX_LINES]), _automated_endpoints(conn, rows, now)
    )


def _report_lineage(
    row: ListedLineage, now: datetime, lines: list[str], alarms: list[tuple[str, str]]
) -> None:
    title = f"{row.name} (client {row.client})"
    if row.sha256 is not None and row.rolled_back == row.sha256:
        text = (
            f"{title}: the new certificate caused a regression and was rolled back; fix the cause,"
            f" then run certmgr lineage deploy {row.name}"
        )
        lines.append(text)
        alarms.append((f"rolled-back:{row.name}:{row.sha256[:12]}", text))
    # Without an endpoint in the inventory there is nothing that staff could check.
    elif row.proof and row.proven_at is None and row.verification is not None:
        lines.append(f"{title}: not verified live: {printable(row.proof, 300)}")
    if not row.failures and row.error is None:
        return
    reason = printable(error_sentence(row.error), 300)
    if row.failures:
        lines.append(f"{title}: failed {row.failures} time(s): {reason}")
    elif reason:
        lines.append(f"{title}: {reason}")
    # A failure is an alarm only close to expiry; before that the retries have time.
    life = _life_of(row)
    if row.failures and life is not None and is_near(life, now):
        alarms.append(
            (
                f"near:{row.name}",
                f"{title} expires on {life.not_after:%Y-%m-%d} and could not be renewed: {reason}",
            )
        )


def _life_of(row: ListedLineage) -> CertificateLife | None:
    not_before, not_after = from_epoch(row.not_before), from_epoch(row.not_after)
    return (
        CertificateLife(not_before, not_after)
        if not_before is not None and not_after is not None
        else None
    )


def _automated_endpoints(
    conn: Connection, rows: list[ListedLineage], now: datetime
) -> dict[int, datetime]:
    """Return the endpoints that healthy lineages cover, until their certificates expire soon.

    The clients of these endpoints get no expiry notices. A lineage that failed, waits for approval
    or was rolled back covers no endpoint, so that its clients are notified.
    """
    automated: dict[int, datetime] = {}
    healthy = []
    for row in rows:
        life = _life_of(row)
        in_use = row.deployed == row.sha256 and row.proven_at is not None
        waits = row.shrink is OnFailedName.ASK
        held = waits and any(n.state == "quarantined" for n in row.names)
        if life is None or row.failures or not in_use or held or is_near(life, now):
            continue
        span = life.not_after - life.not_before
        # Until a sixth of its life is left: from then on a renewal is urgent, and the client is
        # notified as if nothing was automatic.
        healthy.append((row, life.not_after - span / 6))
    visited = endpoints.of_clients(conn, {r.client_id for r, _ in healthy})
    for row, until in healthy:
        names = [n.name for n in row.names if n.state == "active"]
        for endpoint in visited.get(row.client_id, ()):
            if any(name_covers(n, endpoint.host) for n in names):
                automated[endpoint.id] = max(until, automated.get(endpoint.id, until))
    return automated
