"""One pass over revocation lists and DNS records (CAA, DANE): what no handshake shows.

The pass opens and closes the findings of these checks. Only one pass per database runs at a time
(job "revocation"). Each list has its own due time. The DNS is queried once a day, or with
``every``. If over half of the lists or of the queries fail, our own network is the likely cause.
Then no unknown status becomes a finding, and the summary reports it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.inspection.reconcile import OpenFinding
from certmgr.net.addresses import networks
from certmgr.net.dns import DnsClient
from certmgr.revocation import lists, policy, settle
from certmgr.revocation.fetch import CrlFetcher
from certmgr.revocation.list_source import CrlSummary
from certmgr.revocation.policy import IdentitiesFor
from certmgr.revocation.status_rows import GRACE
from certmgr.x509.trust import TrustStore
from inventory.certificates import Certificate, parse
from inventory.db.database import Database, Tx, from_epoch, to_epoch
from inventory.errors import abort_reason
from inventory.store import certificates, clients, endpoints, findings, jobs
from inventory.store import revocation as store
from inventory.targets import Target
from inventory.vocabulary import RevocationState

_log = logging.getLogger(__name__)

JOB = "revocation"
# The findings about lists; certmgr/revocation/policy.py changes those about the DNS.
CODES = ("revoked", "revocation-unknown")
# Less than 24 hours: cron may start today's run a little earlier than yesterday's.
DAY = timedelta(hours=23)
MIN_FAILURES = 5  # with fewer failed lists, the network is not considered broken
CHUNK_SIZE = 500  # endpoints per transaction
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class RevocationSummary:
    """The result of one pass.

    Attributes:
        lists: The result for the revocation lists.
        policy: The result for the DNS; None if it was not queried.
        opened: Findings that were opened.
        closed: Findings that were closed.
        suspect: Why no unknown status became a finding; empty if the pass is reliable.
        dns_asked_at: The time of the last pass over the DNS, if this one sent no query.
    """

    lists: CrlSummary = field(default_factory=CrlSummary)
    policy: policy.DnsPolicySummary | None = None
    opened: int = 0
    closed: int = 0
    suspect: list[str] = field(default_factory=list)
    dns_asked_at: datetime | None = None


@dataclass(slots=True)
class RevocationPlan:
    """What a run would fetch and query.

    Attributes:
        lists: URL -> the number of certificates that name it.
        endpoints: The number of endpoints whose DNS records would be queried.
    """

    lists: dict[str, int]
    endpoints: int


def run(
    context: Context,
    *,
    identities_for: IdentitiesFor | None = None,
    client: str | None = None,
    every: bool = False,
    progress: Progress | None = None,
) -> RevocationSummary:
    """Check revocation lists and DNS records, and change the findings about them.

    Args:
        context: The inventory, the configuration and the clock.
        identities_for: How the next certificate of an endpoint would be issued; None: CAA is not
            checked.
        client: Only the endpoints of this client (number or name).
        every: Check also what is not due.
        progress: Called with ("lists" or "names", done, planned).

    Raises:
        Busy: Another pass is running.
    """
    context = context.frozen()
    now = context.now()
    with context.read() as conn:
        client_id = int(clients.find(conn, client).id) if client else None
    with jobs.alone(context.database, JOB):
        _log.info("revocation pass begins")
        # The state of the job is committed first, so that a pass that dies is visible.
        with context.write() as tx:
            jobs.started(tx, JOB)
        try:
            summary = _run(context, client_id, identities_for, every, progress)
        except BaseException as error:
            # Also if the process is interrupted, the job must not stay marked as running.
            with context.write() as tx:
                jobs.failed(tx, JOB, abort_reason(error))
            raise
        with context.write() as tx:
            jobs.succeeded(tx, JOB, _job_detail(tx, summary, client_id, now))
        return summary


def plan(
    context: Context,
    *,
    client: str | None = None,
    every: bool = False,
) -> RevocationPlan:
    """Return what :func:`run` would fetch and query now. Nothing is sent or stored."""
    now = context.now()
    with context.read() as conn:
        client_id = int(clients.find(conn, client).id) if client else None
        count = endpoints.count_visited(conn, client_id, None)
    dns_client, allowed = DnsClient.of(context.settings), _allowed(context.settings)
    # Anchors are needed only to verify a list, and a plan fetches none.
    due = {}
    if context.settings.scan.revocation:
        due = lists.CrlCheck(
            context.database, CrlFetcher(dns_client, allowed), now, anchors={}, every=every
        ).plan(client_id)
    queries = context.settings.scan.dane and (
        every or _last_dns_pass(context.database, client_id, now) is None
    )
    return RevocationPlan(due, count if queries else 0)


def _run(
    context: Context,
    client_id: int | None,
    identities_for: IdentitiesFor | None,
    every: bool,
    progress: Progress | None,
) -> RevocationSummary:
    now = context.now()
    summary = RevocationSummary()
    dns_client = DnsClient.of(context.settings)
    if context.settings.scan.revocation:
        fetcher = CrlFetcher(dns_client, _allowed(context.settings))
        check = lists.CrlCheck(
            context.database,
            fetcher,
            now,
            anchors=_anchors(context.settings),
            every=every,
            progress=_progress_of(progress, "lists"),
        )
        summary.lists = check.run(client_id)
        # If most lists fail at once, the cause is probably our own network.
        failed = len(summary.lists.problems)
        if failed >= MIN_FAILURES and 2 * failed > summary.lists.fetched:
            summary.suspect.append(
                f"{failed} of {summary.lists.fetched} revocation lists could not be fetched"
            )
        _settle(context.database, now, client_id, summary)
    if context.settings.scan.dane:
        summary.dns_asked_at = None if every else _last_dns_pass(context.database, client_id, now)
        if summary.dns_asked_at is None:
            _policy(context, client_id, identities_for, progress, summary)
    return summary


def _policy(
    context: Context,
    client_id: int | None,
    identities_for: IdentitiesFor | None,
    progress: Progress | None,
    summary: RevocationSummary,
) -> None:
    # A separate client counts these queries alone, without those for the hosts of lists.
    now = context.now()
    result = policy.DnsPolicyCheck(
        context.database,
        DnsClient.of(context.settings),
        now,
        identities_for,
        _progress_of(progress, "names"),
    ).run(client_id)
    if result.broken:
        summary.suspect.append(f"{result.failed} of {result.asked} DNS queries failed")
    # Findings of the endpoints that were checked before an abort are valid.
    summary.policy = result
    summary.opened += result.opened
    summary.closed += result.closed


def _progress_of(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, planned: progress(what, done, planned)


def _allowed(settings: Settings) -> tuple[Any, ...]:
    return networks((*settings.network.allow, *settings.network.provider), "[network]")


def _anchors(settings: Settings) -> dict[bytes, list[Certificate]]:
    """Return the trust anchors by the DER of their subject."""
    by_subject: dict[bytes, list[Certificate]] = {}
    for anchor in TrustStore.load(
        settings.trust.store, settings.trust.ca_files, cache=False
    ).anchors.values():
        by_subject.setdefault(anchor.subject_key, []).append(anchor)
    return by_subject


def _settle(
    database: Database, now: datetime, client_id: int | None, summary: RevocationSummary
) -> None:
    with database.read() as conn:
        ids = store.concerned(conn, client_id, CODES)
    # Short transactions, so that other jobs do not wait for the whole pass.
    for start in range(0, len(ids), CHUNK_SIZE):
        part = ids[start : start + CHUNK_SIZE]
        with database.write(now) as tx:
            opened, closed = _settle_part(tx, now, part, suspect=bool(summary.suspect))
        summary.opened += opened
        summary.closed += closed


def _settle_part(tx: Tx, now: datetime, ids: list[int], *, suspect: bool) -> tuple[int, int]:
    conn = tx.conn
    served, known = store.served(conn, ids), findings.open_findings(conn, ids)
    leaves = sorted({s.leaf for addresses in served.values() for s in addresses})
    rows = store.statuses(conn, leaves)
    # A finding names the serial number of a revoked certificate, and only of those.
    serials = {
        h: parse(der).serial
        for h, der in certificates.ders(
            conn, [h for h, r in rows.items() if r.status is RevocationState.REVOKED]
        ).items()
    }
    statuses = {h: asdict(r) | {"serial": serials.get(h, "")} for h, r in rows.items()}
    opened, updated, closed = [], [], []
    for row in endpoints.visited(conn, ids):
        endpoint = settle.EndpointState(
            row.id,
            Target(row.host, row.port, row.protocol),
            row.parties,
            [OpenFinding(i, f) for i, f in known.get(row.id, ())],
            served.get(row.id, ()),
        )
        changes = settle.revocation_changes(
            endpoint, statuses, now, GRACE.total_seconds(), suspect=suspect
        )
        opened += [(endpoint.id, f) for f in changes.opened]
        updated += changes.updated
        closed += changes.closed
    findings.settle(tx, opened, updated, closed)
    return len(opened), len(closed)


def _last_dns_pass(database: Database, client_id: int | None, now: datetime) -> datetime | None:
    """Return when the DNS was queried for this client or for all; None if that is due again."""
    with database.read() as conn:
        stamps: dict[str, int] = jobs.state(conn, JOB).detail.get("dns", {})
    mine = [stamps.get("all"), stamps.get(str(client_id)) if client_id is not None else None]
    # A pass over all clients includes this client.
    last = max((s for s in mine if s is not None), default=None)
    return (
        from_epoch(last)
        if last is not None and 0 <= to_epoch(now) - last < DAY.total_seconds()
        else None
    )


def _job_detail(
    tx: Tx, summary: RevocationSummary, client_id: int | None, now: datetime
) -> dict[str, Any]:
    """Return the state of the job to store: client id (or ``all``) -> last pass over the DNS."""
    # Older passes do not matter any more, and would accumulate.
    since = to_epoch(now - DAY)
    stamps = {k: v for k, v in jobs.state(tx.conn, JOB).detail.get("dns", {}).items() if v > since}
    # A pass that was aborted does not count, so the next run queries again.
    if summary.policy is not None and not summary.policy.broken:
        stamps["all" if client_id is None else str(client_id)] = to_epoch(now)
    return {"dns": stamps}
