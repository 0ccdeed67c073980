"""The one line for cron: scan, ask what no scan shows, cases, read the answers, notify; then tell
the outside world that this machine lives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import urllib3

from certmgr.acme.caa_identity import identities_for as of
from certmgr.acme.context import IssuanceContext
from certmgr.acme.renewal_run import RenewalRunner
from certmgr.cases import opening
from certmgr.cases.service import CaseService
from certmgr.config.settings import Settings, secret
from certmgr.inspection.scan_run import ScanOptions, ScanRun
from certmgr.notices.run import run_of, worker_of
from certmgr.revocation.job import run as work
from inventory.db.database import Database
from inventory.errors import CertmgrError, NotFound
from inventory.store import jobs, lineages
from notifiers.inbox import read
from notifiers.pipeline.report import problems_of

if TYPE_CHECKING:
    from certmgr.revocation.policy import IdentitiesFor

JOB = "run"


@dataclass(slots=True)
class CronResult:
    """``problems``: what was not done, one line each; empty when all was."""

    problems: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    error: Exception | None = None  # one that should not be


def run(
    database: Database,
    settings: Settings,
    *,
    scan: bool = True,
    identities_for: IdentitiesFor | None = None,
) -> CronResult:
    """Each part by itself: a scan that fails does not keep the notices back (they look again
    themselves), and the other way round.

    ``identities_for``: which CA we would use for a name (certmgr/revocation/policy.py); None: that
    of its lineage, or the default account's.
    """
    done = CronResult()
    with database.write() as tx:
        jobs.started(tx, JOB)
    if scan:
        _part(done, "scan", lambda: _scan(database, settings, done))
    if settings.scan.revocation or settings.scan.dane:
        _part(done, "revocation", lambda: _revocation(database, settings, done, identities_for))
    _part(done, "renew", lambda: _renew(database, settings, done))
    _part(done, "cases", lambda: _cases(database, settings, done))
    if settings.notify.inbox:
        _part(done, "inbox", lambda: _inbox(database, settings, done))
    _part(done, "notify", lambda: _notify(database, settings, done))
    with database.write() as tx:
        if done.problems:
            jobs.failed(tx, JOB, "; ".join(done.problems))
        else:
            jobs.succeeded(tx, JOB)
    if done.error is not None:
        raise done.error
    if settings.notify.heartbeat and not done.problems:
        _part(done, "heartbeat", lambda: heartbeat(secret(settings.notify.heartbeat)))
    return done


def _part(done: CronResult, name: str, work: Callable[[], None]) -> None:
    try:
        work()
    except CertmgrError as error:
        done.problems.append(f"{name}: {error}")
    # an error of ours in one part must not keep the others back; it is raised when they are done
    except Exception as error:
        done.problems.append(f"{name}: {type(error).__name__}")
        done.error = done.error or error


def _scan(database: Database, settings: Settings, done: CronResult) -> None:
    try:
        summary = ScanRun(database, settings, ScanOptions()).run()
    except NotFound:
        return  # an empty inventory is no failure of the scan
    if summary.state != "complete":
        done.problems.append(f"scan: run {summary.run_id} is {summary.state}: {summary.reason}")
    elif summary.too_undetermined:
        done.problems.append(
            f"scan: {summary.undetermined} of {summary.looked} endpoints could not be told"
        )
    done.said.append(
        f"{summary.looked} endpoints, {summary.opened} opened, {summary.closed} closed"
    )


def _revocation(
    database: Database, settings: Settings, done: CronResult, identities_for: IdentitiesFor | None
) -> None:
    """After the scan, whose certificates it checks; before the notices, which report it."""

    summary = work(
        database,
        settings,
        database.clock(),
        identities_for=identities_for or of(database, settings),
    )
    done.problems += [f"revocation: {words}" for words in summary.suspect]
    if summary.opened or summary.closed or summary.lists.fetched:
        done.said.append(
            f"{summary.lists.fetched} revocation list(s) asked, {summary.opened} finding(s) opened,"
            f" {summary.closed} closed"
        )


def _renew(database: Database, settings: Settings, done: CronResult) -> None:
    """After the scan, which says what is revoked or distrusted; before the notices, which say what
    could not be renewed.
    """
    with database.read() as conn:
        if not lineages.any_active(conn):
            return

    summary = RenewalRunner(IssuanceContext(database, settings)).due()
    if summary.failed:
        done.problems += [f"renew: {n}: {said}" for n, _, said in summary.troubles[:20]]
    if summary.planned:
        done.said.append(f"{summary.planned} certificate(s) due, {summary.renewed} renewed")


def _cases(database: Database, settings: Settings, done: CronResult) -> None:
    """After the scan, so that what it saw counts; before the notices, so that they say how it
    stands.
    """
    made = opening.run(CaseService(database, settings, database.clock()))
    done.problems += [f"cases: {p}" for p in made.problems]
    if made.opened or made.closed or made.reopened:
        done.said.append(
            f"{len(made.opened)} case(s) opened, {len(made.closed)} closed, {len(made.reopened)}"
            " reopened"
        )


def _inbox(database: Database, settings: Settings, done: CronResult) -> None:
    counts = read(database, secret(settings.notify.inbox), database.clock())
    if counts:
        done.said.append(f"{sum(counts.values())} mail(s)")


def _notify(database: Database, settings: Settings, done: CronResult) -> None:
    outcome = run_of(database, settings, database.clock()).decide()
    counts = worker_of(database, settings).run()
    done.problems += [f"notify: {p}" for p in problems_of(outcome, counts)]
    done.said.append(f"{outcome.queued} notice(s) queued, {counts.sent} sent")


def heartbeat(url: str) -> None:
    """One GET.

    Raises :class:`CertmgrError`: a monitor that was not told will raise its alarm, and rightly.
    """

    if not url.startswith("https://"):
        raise CertmgrError(
            "The heartbeat URL cannot be used", "it is not https://", "Correct [notify] heartbeat."
        )
    try:
        answer = urllib3.PoolManager(retries=urllib3.Retry(2, redirect=0)).request(
            "GET", url, timeout=10.0, preload_content=False
        )
        status = answer.status
        answer.release_conn()
    except (urllib3.exceptions.HTTPError, ValueError):
        raise CertmgrError(
            "The heartbeat could not be sent",
            "nobody answered there, or not over TLS that is trusted",
            "Look at the monitor.",
        ) from None
    if status >= 400:
        raise CertmgrError("The heartbeat was refused", f"HTTP {status}", "Look at the monitor.")
