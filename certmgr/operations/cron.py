"""All scheduled work: scan, revocation, renewal, cases, replies, notices, and the heartbeat."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certmgr.acme.caa_identity import identities_for as configured_identities
from certmgr.acme.context import IssuanceContext
from certmgr.acme.renewal_run import RenewalRunner
from certmgr.cases import opening
from certmgr.cases.inbound import CaseMail
from certmgr.cases.service import CaseService
from certmgr.config.context import Context
from certmgr.config.settings import secret
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.notices.run import run_of, worker_of
from certmgr.operations.heartbeat import heartbeat
from certmgr.revocation.job import run as check_revocation
from inventory.errors import INTERNAL_ERROR, CertmgrError, NotFound, log_internal_error
from inventory.store import jobs, lineages
from notifiers.inbox.mailbox import read
from notifiers.pipeline.report import problems_of

if TYPE_CHECKING:
    from certmgr.revocation.policy import IdentitiesFor

_log = logging.getLogger(__name__)

JOB = "run"


@dataclass(slots=True)
class CronResult:
    """The result of one run of the cron job.

    Attributes:
        problems: One line per part that failed; empty if all work was result.
        messages: One line per part that did something.
        error: The first internal error, raised after all parts have run.
    """

    problems: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    error: Exception | None = None


def run(
    context: Context,
    *,
    scan: bool = True,
    identities_for: IdentitiesFor | None = None,
) -> CronResult:
    """Run all scheduled work.

    Each part runs even if another part fails. Notices can go out after a failed scan, because they
    recheck their endpoints themselves.

    Args:
        context: The inventory, the configuration and the clock.
        scan: Whether to scan.
        identities_for: Returns the CA for a name (certmgr/revocation/policy.py). None: the CA of
            its lineage, or of the default account.

    Raises:
        Exception: The first internal error of a part, after all parts have run.
    """
    result = CronResult()
    with context.write() as tx:
        jobs.started(tx, JOB)
    if scan:
        _part(result, "scan", lambda: _scan(context, result))
    if context.settings.scan.revocation or context.settings.scan.dane:
        _part(result, "revocation", lambda: _revocation(context, result, identities_for))
    _part(result, "renew", lambda: _renew(context, result))
    _part(result, "cases", lambda: _cases(context, result))
    if context.settings.notify.inbox:
        _part(result, "inbox", lambda: _inbox(context, result))
    _part(result, "notify", lambda: _notify(context, result))
    with context.write() as tx:
        if result.problems:
            jobs.failed(tx, JOB, "; ".join(result.problems))
        else:
            jobs.succeeded(tx, JOB)
    if result.error is not None:
        raise result.error
    # A missing heartbeat makes the outside monitor raise an alarm, so a failed run sends none.
    if context.settings.notify.heartbeat and not result.problems:
        _part(result, "heartbeat", lambda: heartbeat(secret(context.settings.notify.heartbeat)))
    return result


def _part(result: CronResult, name: str, work: Callable[[], None]) -> None:
    _log.info("%s", name)
    try:
        work()
    except CertmgrError as error:
        result.problems.append(f"{name}: {error}")
    # An internal error in one part must not stop the others. It is raised after they have run.
    except Exception as error:
        log_internal_error(_log, name)
        result.problems.append(f"{name}: {INTERNAL_ERROR}")
        result.error = result.error or error


def _scan(context: Context, result: CronResult) -> None:
    try:
        # A run that a reboot or a time limit interrupted goes on where it was.
        summary = ScanRun(context, ScanOptions(resume=True)).run()
    except NotFound:
        return  # There is nothing to scan in an empty inventory, which is not a failure.
    if summary.state != "complete":
        result.problems.append(f"scan: run {summary.run_id} is {summary.state}: {summary.reason}")
    elif summary.too_undetermined:
        result.problems.append(
            f"scan: {summary.undetermined} of {summary.checked} endpoints are undetermined"
        )
    result.messages.append(
        f"{summary.checked} endpoints, {summary.opened} opened, {summary.closed} closed"
    )


def _revocation(context: Context, result: CronResult, identities_for: IdentitiesFor | None) -> None:
    """Check revocation after the scan, which found the certificates, and before the notices."""

    summary = check_revocation(
        context, identities_for=identities_for or configured_identities(context)
    )
    result.problems += [f"revocation: {reason}" for reason in summary.suspect]
    if summary.opened or summary.closed or summary.lists.fetched:
        result.messages.append(
            f"{summary.lists.fetched} revocation list(s) fetched, {summary.opened} finding(s)"
            f" opened, {summary.closed} closed"
        )


def _renew(context: Context, result: CronResult) -> None:
    """Renew after the scan and before the notices.

    The scan finds certificates that are revoked or distrusted. The notices report failed renewals.
    """
    with context.read() as conn:
        if not lineages.any_active(conn):
            return

    summary = RenewalRunner(IssuanceContext.of(context)).run_due()
    if summary.failed:
        result.problems += [f"renew: {n}: {message}" for n, _, message in summary.problems[:20]]
    if summary.planned:
        result.messages.append(f"{summary.planned} certificate(s) due, {summary.renewed} renewed")


def _cases(context: Context, result: CronResult) -> None:
    """Update cases after the scan, whose observations count, and before the notices."""
    changes = opening.run(CaseService(context.database, context.settings, context.now()))
    result.problems += [f"cases: {p}" for p in changes.problems]
    if changes.opened or changes.closed or changes.reopened:
        result.messages.append(
            f"{len(changes.opened)} case(s) opened, {len(changes.closed)} closed,"
            f" {len(changes.reopened)} reopened"
        )


def _inbox(context: Context, result: CronResult) -> None:
    now = context.now()
    case_mail = CaseMail(CaseService(context.database, context.settings, now))
    url = secret(context.settings.notify.inbox)
    counts = read(context.database, url, now, on_mail=case_mail.record)
    if counts:
        result.messages.append(f"{sum(counts.values())} mail(s)")


def _notify(context: Context, result: CronResult) -> None:
    outcome = run_of(context.database, context.settings, context.now()).decide()
    counts = worker_of(context.database, context.settings).run()
    result.problems += [f"notify: {p}" for p in problems_of(outcome, counts)]
    result.messages.append(f"{outcome.queued} notice(s) queued, {counts.sent} sent")
