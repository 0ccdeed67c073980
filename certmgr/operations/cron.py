"""All scheduled work: scan, revocation, renewal, cases, replies, notices, and the heartbeat.

Each part has its own time budget and its own failure. :meth:`_Run.parts` has the reasons for their
order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from certmgr.acme.context import IssuanceContext
from certmgr.acme.preflight.caa_identity import identities_for as configured_identities
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.cases import opening
from certmgr.cases.inbound import CaseMail
from certmgr.cases.service import CaseService
from certmgr.config.context import Context
from certmgr.config.secret_values import secret
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.notices.run import run_of, worker_of
from certmgr.operations import audit_heads
from certmgr.operations.heartbeat import heartbeat
from certmgr.operations.stopping import StopState
from certmgr.revocation.job import run as check_revocation
from inventory.db.database import Tx
from inventory.errors import INTERNAL_ERROR, CertmgrError, NotFound, log_internal_error
from inventory.store import jobs, lineages
from notifiers.inbox.mailbox import read
from notifiers.pipeline.report import problems_of

if TYPE_CHECKING:
    from certmgr.inspection.scan_summary import ScanSummary
    from certmgr.revocation.policy import IdentitiesFor

_log = logging.getLogger(__name__)

JOB, AUDIT_HEAD = "run", "audit head"
# A timestamp authority has 30 seconds for its answer.
_HEAD_MINUTES = 2.0
RECORD_SECONDS = 120.0


# Part, done, planned. The command line shows it; cron has no terminal and sees nothing.
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class CronResult:
    """The result of one run of the cron job.

    Attributes:
        problems: One line per part that failed; empty if all work was done.
        messages: One line per part that did something.
        error: The first internal error, raised after all parts have run.
        interrupted: What was interrupted by Ctrl-C or SIGTERM; empty if the run came to its end.
        not_done: The parts that were not begun because of that.
    """

    problems: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    error: Exception | None = None
    interrupted: str = ""
    not_done: tuple[str, ...] = ()

    def add_scan(self, summary: ScanSummary) -> None:
        """Add what a scan did, and what is wrong with it."""
        if summary.state != "complete":
            self.problems.append(f"scan: run {summary.run_id} is {summary.state}: {summary.reason}")
        elif summary.too_undetermined:
            self.problems.append(
                f"scan: {summary.undetermined} of {summary.checked} endpoints are undetermined"
            )
        self.problems += [f"scan: {note}" for note in summary.notes]
        self.messages.append(
            f"{summary.checked} endpoints, {summary.opened} opened, {summary.closed} closed"
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the run.

    Attributes:
        name: The name in problems.
        minutes: Its time budget; 0: no limit.
        work: Does the work. Its argument are the seconds of the budget.
    """

    name: str
    minutes: float
    work: Callable[[float], None]


@dataclass(slots=True)
class _Run:
    """One run: what its parts share.

    Attributes:
        late: Whether the scan had more endpoints than its budget allowed.
        scanned: What the interrupted scan had checked, for people.
    """

    context: Context
    identities_for: IdentitiesFor | None
    stop: StopState
    progress: Progress
    result: CronResult = field(default_factory=CronResult)
    late: bool = False
    scanned: str = ""

    def parts(self, *, scan: bool) -> Iterator[Part]:
        """Yield the parts in their order.

        The scan is first: renewals need what it finds (a revoked or distrusted certificate), cases
        close by what it observes, and a notice about what is fixed already would be wrong. Replies
        are read before the notices, because an acknowledgement stops a reminder. Notices are last,
        since they report on all other parts. A scan that is late is interrupted by its budget, and
        goes on after the notices: it never keeps renewals, cases and notices back.
        """
        settings, context, result = self.context.settings, self.context, self.result
        budgets = settings.run
        if scan:
            yield Part("scan", budgets.scan_minutes, lambda _: self._scan())
        if settings.scan.revocation or settings.scan.dane:
            yield Part("revocation", budgets.revocation_minutes, lambda _: self._revocation())
        # Before the notices: a client need not hear of a certificate that is renewed in the same
        # run.
        yield Part("renew", budgets.renew_minutes, lambda _: self._renew())
        yield Part("cases", budgets.cases_minutes, lambda _: _cases(context, result))
        # Without a mailbox in the configuration, replies are recorded by hand (certmgr notice ack).
        if settings.notify.inbox:
            yield Part("inbox", budgets.inbox_minutes, lambda _: _inbox(context, result))
        yield Part("notify", budgets.notify_minutes, lambda s: _notify(context, result, s))
        # After all changes of this run, except for those of a rest of the scan.
        if settings.audit.head_file:
            yield Part(AUDIT_HEAD, _HEAD_MINUTES, lambda _: audit_heads.record(context))
        # The parts are a generator: whether the scan was late is known by now.
        if self.late:
            yield Part("rest of the scan", 0.0, lambda _: self._scan())

    def do(self, part: Part) -> None:
        """Do one part. Only Ctrl-C and SIGTERM leave it as an exception."""
        _log.info("%s", part.name)
        self.progress(part.name, 0, 0)
        seconds = 60 * part.minutes
        # Notices end between two messages, so that no delivery is interrupted. The grace is for
        # the last message of each channel.
        grace = self.context.settings.notify.timeout + 60 if part.name == "notify" else 0.0
        try:
            with self.stop.budget(seconds + grace if seconds else 0.0):
                part.work(seconds)
        except CertmgrError as error:
            self.result.problems.append(f"{part.name}: {error}")
        except KeyboardInterrupt:
            if not self.stop.late or self.stop.terminated:
                raise
            self.result.problems.append(
                f"{part.name}: its time budget of {part.minutes:g} minutes has ended; the next run"
                " goes on"
            )
        # An internal error in one part must not stop the others. It is raised after they have run.
        # A library may raise more than Exception: SystemExit, or the panic of one in Rust.
        except BaseException as error:
            log_internal_error(_log, part.name)
            self.result.problems.append(f"{part.name}: {INTERNAL_ERROR}")
            self.result.error = self.result.error or _as_exception(error)

    def _scan(self) -> None:
        try:
            # A run that a reboot or a time limit interrupted goes on where it was.
            options = ScanOptions(resume=True)
            summary = ScanRun(self.context, options, partial(self.progress, "scan")).run()
        except NotFound:
            return  # There is nothing to scan in an empty inventory, which is not a failure.
        if summary.interrupted:
            self.scanned = (
                f"{summary.checked:,} of {summary.planned:,} endpoints; the next run goes on there"
            )
            if not self.stop.late or self.stop.terminated:
                raise KeyboardInterrupt
            self.late = True
            return
        self.result.add_scan(summary)

    def _revocation(self) -> None:
        """Check revocation after the scan, which found the certificates."""
        summary = check_revocation(
            self.context,
            identities_for=self.identities_for or configured_identities(self.context),
            progress=lambda what, done, planned: self.progress(f"revocation {what}", done, planned),
        )
        result = self.result
        # Lists that fail together are a fault of our network, and never a finding about a site.
        result.problems += [f"revocation: {reason}" for reason in summary.suspect]
        # A pass that changed nothing prints nothing, so that cron sends no mail.
        if summary.opened or summary.closed or summary.lists.fetched:
            result.messages.append(
                f"{summary.lists.fetched} revocation list(s) fetched, {summary.opened} finding(s)"
                f" opened, {summary.closed} closed"
            )

    def _renew(self) -> None:
        """Renew what is due; the notices report failed renewals."""
        with self.context.read() as conn:
            # An inventory without ACME has no renewal run, and its absence raises no alarm.
            if not lineages.any_active(conn):
                return
        context = IssuanceContext.of(self.context)
        summary = RenewalRunner(context, partial(self.progress, "renew")).run_due()
        result = self.result
        # A pending retry is no problem of the run. Twenty lines are enough for a mail of cron.
        if summary.failed:
            result.problems += [f"renew: {n}: {message}" for n, _, message in summary.problems[:20]]
        if summary.planned:
            result.messages.append(f"certificates: {summary.sentence}")


@contextmanager
def _recording(context: Context, stop: StopState) -> Iterator[Tx]:
    """Yield a transaction for the state of the run.

    Raises:
        CertmgrError: The database does not answer. It has no budget of a part here.
    """
    try:
        with stop.budget(RECORD_SECONDS), context.write() as tx:
            yield tx
    except KeyboardInterrupt:
        if not stop.late or stop.terminated:
            raise
        raise CertmgrError(
            "The state of the run was not recorded",
            f"the database did not answer within {RECORD_SECONDS:g} seconds",
            "Check the database server.",
        ) from None


def _as_exception(error: BaseException) -> Exception:
    """Return an error that ends the program with the exit code of internal errors."""
    if isinstance(error, Exception):
        return error
    raised = RuntimeError(f"{type(error).__name__}: {error}")
    raised.__cause__ = error
    return raised


def _ignore(what: str, done: int, planned: int) -> None:
    """Show no progress."""


def run(
    context: Context,
    *,
    scan: bool = True,
    identities_for: IdentitiesFor | None = None,
    stop: StopState | None = None,
    progress: Progress | None = None,
) -> CronResult:
    """Run all scheduled work.

    Each part has its own time budget ([run]), and runs even if another part fails. Notices can go
    out after a failed scan, because they recheck their endpoints themselves. Ctrl-C and SIGTERM end
    the run: no other part is begun.

    Args:
        context: The inventory, the configuration and the clock.
        scan: Whether to scan.
        identities_for: Returns the CA for a name (certmgr/revocation/policy.py). None: the CA of
            its lineage, or of the default account.
        stop: What interrupts the run.
        progress: Called with the part, the number of what is done, and the planned number (0 if
            it is unknown).

    Raises:
        Exception: The first internal error of a part, after all parts have run.
    """
    work = _Run(context, identities_for, stop or StopState(), progress or _ignore)
    result = work.result
    with _recording(context, work.stop) as tx:
        # Recorded before the first part, so that a run that dies is a start without an end.
        jobs.started(tx, JOB)
    parts = work.parts(scan=scan)
    for part in parts:
        try:
            work.do(part)
        except KeyboardInterrupt:
            result.interrupted = f"{part.name} ({work.scanned})" if work.scanned else part.name
            # The generator still knows the parts that come after this one.
            result.not_done = tuple(p.name for p in parts)
            break
    return conclude(context, work.stop, result)


def conclude(context: Context, stop: StopState, result: CronResult) -> CronResult:
    """Record how the run ended, and call the heartbeat URL if all was done.

    Raises:
        Exception: The first internal error of a part.
    """
    with _recording(context, stop) as tx:
        if result.interrupted:
            jobs.failed(tx, JOB, f"it was interrupted: {result.interrupted}")
        elif result.problems:
            jobs.failed(tx, JOB, "; ".join(result.problems))
        else:
            jobs.succeeded(tx, JOB)
    if result.error is not None:
        raise result.error
    # A missing heartbeat makes the outside monitor raise an alarm, so a failed run sends none.
    if context.settings.notify.heartbeat and not (result.problems or result.interrupted):
        work = _Run(context, None, stop, _ignore, result)
        work.do(
            Part("heartbeat", 1.0, lambda _: heartbeat(secret(context.settings.notify.heartbeat)))
        )
    return result


def part_names(context: Context) -> list[str]:
    """Return the names of the parts that the configuration enables, without the scan."""
    work = _Run(context, None, StopState(), _ignore)
    return [part.name for part in work.parts(scan=False)]


def run_part(context: Context, name: str) -> CronResult:
    """Run one part, as a worker does. Its failures are problems of the result."""
    work = _Run(context, None, StopState(), _ignore)
    for part in work.parts(scan=False):
        if part.name == name:
            work.do(part)
    return work.result


def _cases(context: Context, result: CronResult) -> None:
    """Update cases after the scan, whose observations count, and before the notices."""
    changes = opening.run(CaseService(context))
    result.problems += [f"cases: {p}" for p in changes.problems]
    if changes.opened or changes.closed or changes.reopened:
        result.messages.append(
            f"{len(changes.opened)} case(s) opened, {len(changes.closed)} closed,"
            f" {len(changes.reopened)} reopened"
        )


def _inbox(context: Context, result: CronResult) -> None:
    case_mail = CaseMail(CaseService(context))
    url = secret(context.settings.notify.inbox)
    counts = read(context.database, url, context.now(), on_mail=case_mail.record)
    if counts:
        result.messages.append(f"{sum(counts.values())} mail(s)")


def _notify(context: Context, result: CronResult, seconds: float) -> None:
    # Decided and queued in one transaction, then delivered: a death in between leaves queued
    # notices, which the next run sends.
    outcome = run_of(context).decide()
    counts = worker_of(context, seconds=seconds).run()
    result.problems += [f"notify: {p}" for p in problems_of(outcome, counts)]
    result.messages.append(f"{outcome.queued} notice(s) queued, {counts.sent} sent")
