"""One pass over what no handshake shows: the CAs' lists of revoked certificates, and what the DNS
says (CAA, DANE). Opens and closes its own findings.

One at a time for a database (job "revocation"). The lists decide by themselves when they are due;
the DNS is asked once a day, or with ``every``. Where over half of the lists, or of the questions,
fail, it is rather our own way out: then nothing is opened as unknown, and the summary says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from certmgr.config.settings import Settings
from certmgr.inspection.reconcile import OpenFinding
from certmgr.net.addresses import networks
from certmgr.net.dns import DnsClient
from certmgr.revocation import lists, policy, settle
from certmgr.revocation.fetch import CrlFetcher
from certmgr.revocation.policy import IdentitiesFor
from certmgr.x509.trust import TrustStore
from inventory.certificates import Certificate, parse
from inventory.db.database import Database, Tx, from_epoch, to_epoch
from inventory.store import clients, domains, endpoints, findings, jobs, scan_results
from inventory.store import revocation as store
from inventory.targets import Target

JOB = "revocation"
CODES = ("revoked", "revocation-unknown")
DAY = timedelta(
    hours=23
)  # a run that cron begins a little earlier than yesterday's is a day later all the same
LEAST = 5
CHUNK = 500
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class RevocationSummary:
    """``suspect``: why nothing was opened as unknown, empty where it could be.

    ``dns_asked_at``: of the last pass over the DNS, where this one asked nothing.
    """

    lists: lists.CrlSummary = field(default_factory=lists.CrlSummary)
    policy: policy.DnsPolicySummary | None = None
    opened: int = 0
    closed: int = 0
    suspect: list[str] = field(default_factory=list)
    dns_asked_at: datetime | None = None


@dataclass(slots=True)
class RevocationPlan:
    """What a run would ask.

    ``lists``: URL -> certificates. ``endpoints``: whose DNS would be asked.
    """

    lists: dict[str, int]
    endpoints: int


def run(
    database: Database,
    settings: Settings,
    now: datetime,
    *,
    identities_for: IdentitiesFor | None = None,
    client: str | None = None,
    every: bool = False,
    progress: Progress | None = None,
) -> RevocationSummary:
    """``client``: only this one's (its number or name).

    ``every``: also what is not due. Raises :class:`Busy` where another run is under way.
    """
    with database.read() as conn:
        client_id = int(clients.find(conn, client)["id"]) if client else None
    with jobs.alone(database, JOB):
        with database.write(now) as tx:
            jobs.started(tx, JOB)
        try:
            summary = _run(database, settings, now, client_id, identities_for, every, progress)
        except BaseException as error:
            with database.write(now) as tx:
                jobs.failed(tx, JOB, f"{type(error).__name__}: {error}")
            raise
        with database.write(now) as tx:
            jobs.succeeded(tx, JOB, _remembered(tx, summary, client_id, now))
        return summary


def plan(
    database: Database,
    settings: Settings,
    now: datetime,
    *,
    client: str | None = None,
    every: bool = False,
) -> RevocationPlan:
    """What :func:`run` would ask now; nothing is asked and nothing stored."""
    with database.read() as conn:
        client_id = int(clients.find(conn, client)["id"]) if client else None
        count = endpoints.count_visited(conn, client_id, None)
    asker, allowed = DnsClient.of(settings), _allowed(settings)
    due = {}
    if settings.scan.revocation:
        due = lists.CrlCheck(
            database, CrlFetcher(asker, allowed), now, anchors={}, every=every
        ).plan(client_id)
    asks = settings.scan.dane and (every or _asked(database, client_id, now) is None)
    return RevocationPlan(due, count if asks else 0)


def _run(
    database: Database,
    settings: Settings,
    now: datetime,
    client_id: int | None,
    identities_for: IdentitiesFor | None,
    every: bool,
    progress: Progress | None,
) -> RevocationSummary:
    summary = RevocationSummary()
    asker = DnsClient.of(settings)
    if settings.scan.revocation:
        fetcher = CrlFetcher(asker, _allowed(settings))
        look = lists.CrlCheck(
            database,
            fetcher,
            now,
            anchors=_anchors(settings),
            every=every,
            progress=_about(progress, "lists"),
        )
        summary.lists = look.run(client_id)
        failed = len(summary.lists.problems)
        if failed >= LEAST and 2 * failed > summary.lists.fetched:
            summary.suspect.append(
                f"{failed} of {summary.lists.fetched} revocation lists could not be had"
            )
        _settle(database, now, client_id, summary)
    if settings.scan.dane:
        summary.dns_asked_at = None if every else _asked(database, client_id, now)
        if summary.dns_asked_at is None:
            _policy(database, settings, now, client_id, identities_for, progress, summary)
    return summary


def _policy(
    database: Database,
    settings: Settings,
    now: datetime,
    client_id: int | None,
    identities_for: IdentitiesFor | None,
    progress: Progress | None,
    summary: RevocationSummary,
) -> None:
    """With an asker of its own, whose counts are about these questions alone."""
    done = policy.DnsPolicyCheck(
        database, DnsClient.of(settings), now, identities_for, _about(progress, "names")
    ).run(client_id)
    if done.broken:
        summary.suspect.append(f"{done.failed} of {done.asked} questions to the DNS failed")
    summary.policy = done
    summary.opened += done.opened
    summary.closed += done.closed


def _about(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, planned: progress(what, done, planned)


def _allowed(settings: Settings) -> tuple[Any, ...]:
    return networks((*settings.network.allow, *settings.network.provider), "[network]")


def _anchors(settings: Settings) -> dict[bytes, list[Certificate]]:
    found: dict[bytes, list[Certificate]] = {}
    for anchor in TrustStore.load(
        settings.trust.store, settings.trust.ca_files, cache=False
    ).anchors.values():
        found.setdefault(anchor.subject_der, []).append(anchor)
    return found


# -- findings about the lists


def _settle(
    database: Database, now: datetime, client_id: int | None, summary: RevocationSummary
) -> None:
    with database.read() as conn:
        ids = store.concerned(conn, client_id, CODES)
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        with database.write(now) as tx:
            opened, closed = _settle_part(tx, now, part, suspect=bool(summary.suspect))
        summary.opened += opened
        summary.closed += closed


def _settle_part(tx: Tx, now: datetime, ids: list[int], *, suspect: bool) -> tuple[int, int]:
    conn = tx.conn
    served, known = store.served(conn, ids), scan_results.open_findings(conn, ids)
    leaves = sorted({s.leaf for one in served.values() for s in one})
    rows = store.statuses(conn, leaves)
    serials = {
        h: parse(der).serial
        for h, der in store.ders(
            conn, [h for h, r in rows.items() if r["status"] == "revoked"]
        ).items()
    }
    said = {h: {**r, "serial": serials.get(h, "")} for h, r in rows.items()}
    opened, updated, closed = [], [], []
    for row in endpoints.visited(conn, ids):
        place = settle.EndpointState(
            row["id"],
            Target(row["host"], row["port"], row["protocol"]),
            domains.parties_of_row(row),
            [OpenFinding(i, f) for i, f in known.get(row["id"], ())],
            served.get(row["id"], ()),
        )
        changes = settle.revocations(place, said, now, lists.GRACE.total_seconds(), suspect=suspect)
        opened += [(place.id, f) for f in changes.opened]
        updated += changes.updated
        closed += changes.closed
    findings.settle(tx, opened, updated, closed)
    return len(opened), len(closed)


# -- when the DNS was asked


def _asked(database: Database, client_id: int | None, now: datetime) -> datetime | None:
    """When the DNS was asked about this client (or all) less than a day ago; None: it is due."""
    with database.read() as conn:
        stamps: dict[str, int] = jobs.state(conn, JOB)["detail"].get("dns", {})
    mine = [stamps.get("all"), stamps.get(str(client_id)) if client_id is not None else None]
    last = max((s for s in mine if s is not None), default=None)
    return (
        from_epoch(last)
        if last is not None and 0 <= to_epoch(now) - last < DAY.total_seconds()
        else None
    )


def _remembered(
    tx: Tx, summary: RevocationSummary, client_id: int | None, now: datetime
) -> dict[str, Any]:
    """A pass that was given up counts as none: the next run asks again."""
    since = to_epoch(now - DAY)
    stamps = {
        k: v for k, v in jobs.state(tx.conn, JOB)["detail"].get("dns", {}).items() if v > since
    }
    if summary.policy is not None and not summary.policy.broken:
        stamps["all" if client_id is None else str(client_id)] = to_epoch(now)
    return {"dns": stamps}
