"""``certmgr run`` over workers: defer each part, wait for it, and report as one process would.

Renewals begin at once, so that a slow scan keeps none of them back. Revocation and cases follow the
scan, whose observations they build on; notices are last. A scan past its budget keeps nothing back
either: the other parts go ahead, and the command waits for the rest of the scan at its end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from certmgr.config.context import Context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.operations.cron import AUDIT_HEAD, JOB, CronResult, conclude, part_names, run_part
from certmgr.operations.stopping import StopState
from certmgr.workers.engine import WorkQueues
from certmgr.workers.parts import now, outcome_since
from certmgr.workers.queue_names import QUEUE_OF
from certmgr.workers.spread_scan import DATABASE_PATIENCE_SECONDS, POLL_SECONDS, SpreadScan
from inventory.errors import CertmgrError, DatabaseError, NotFound
from inventory.store import jobs

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class _SpreadRun:
    """One run: what its parts share.

    Attributes:
        late: Whether the scan had more endpoints than its budget allowed.
        asked: When each part was asked for, by the clock of the database.
    """

    context: Context
    queues: WorkQueues
    stop: StopState
    progress: Progress
    result: CronResult = field(default_factory=CronResult)
    late: bool = False
    current: str = ""
    asked: dict[str, float] = field(default_factory=dict)

    def run(self, *, scan: bool) -> None:
        """Run all parts. Ctrl-C ends the waiting; the workers finish what they have begun."""
        names = part_names(self.context)
        if "renew" in names:
            self._defer("renew")
        if scan:
            self._scan(self.context.settings.run.scan_minutes)
        if "revocation" in names:
            self._defer("revocation")
        for name in ("cases", "inbox", "notify"):
            if name in names:
                self._defer(name)
                self._wait(name)
        # These were deferred before and have run meanwhile, so waiting for them last costs the
        # least time.
        for name in ("revocation", "renew"):
            if name in names:
                self._wait(name)
        # The file is on this machine, so no worker writes it.
        if AUDIT_HEAD in names:
            self._here(AUDIT_HEAD)
        # The workers went on with the scan. This joins the same run, and waits without a limit.
        if self.late:
            self._scan(0.0)

    def _defer(self, part: str) -> None:
        """Defer a part. A database that restarts is waited for, as during the waits."""
        end = time.monotonic() + DATABASE_PATIENCE_SECONDS
        while True:
            try:
                # Read before the job can begin. A job of an earlier run that still waits for a
                # worker is as good: it will begin later than this.
                self.asked[part] = now(self.context)
                self.queues.defer_part(part)
                return
            except DatabaseError:
                if time.monotonic() > end:
                    raise
                self.stop.wait(POLL_SECONDS)

    def _here(self, part: str) -> None:
        """Do a part in this process."""
        self.current = part
        done = run_part(self.context, part)
        self.result.problems += done.problems
        self.result.messages += done.messages
        self.result.error = self.result.error or done.error

    def _scan(self, minutes: float) -> None:
        self.current = "scan"
        self.progress("scan", 0, 0)
        progress = partial(self.progress, "scan")
        scan = SpreadScan(self.context, ScanOptions(), self.queues, progress, self.stop)
        try:
            summary = scan.run(60 * minutes)
        except NotFound:
            return  # There is nothing to scan in an empty inventory, which is not a failure.
        # A scan that fails must not keep renewals and notices back.
        except CertmgrError as error:
            self.result.problems.append(f"scan: {error}")
            return
        if summary.interrupted:
            # Only the end of the budget is handled here. Ctrl-C, SIGTERM and a worker that is
            # stopped end the whole run.
            if not scan.late:
                raise KeyboardInterrupt
            self.late = True
            return
        self.result.add_scan(summary)

    def _wait(self, part: str) -> None:
        """Wait until a worker has done a part, at most for its budget."""
        self.current = part
        self.progress(part, 0, 0)
        minutes = float(getattr(self.context.settings.run, f"{part}_minutes"))
        end = time.monotonic() + 60 * minutes if minutes else None
        while True:
            try:
                with self.context.read() as conn:
                    outcome = outcome_since(conn, part, self.asked[part])
            except DatabaseError:
                outcome = None  # it restarts; the end of the budget is the limit
            if outcome is not None:
                self.result.problems += outcome.problems
                self.result.messages += outcome.messages
                return
            # The job stays in its queue. Only this command stops waiting for it.
            if end is not None and time.monotonic() > end:
                self.result.problems.append(
                    f"{part}: no worker has finished it within its time budget of {minutes:g}"
                    f" minutes; a worker for the queue {QUEUE_OF[part]} goes on"
                )
                return
            self.stop.wait(POLL_SECONDS)


def run(
    context: Context,
    queues: WorkQueues,
    *,
    scan: bool = True,
    stop: StopState | None = None,
    progress: Progress | None = None,
) -> CronResult:
    """Let workers do all scheduled work, and wait for it.

    Args:
        context: The inventory, the configuration and the clock.
        queues: The queues of the workers.
        scan: Whether to scan.
        stop: What interrupts the waiting.
        progress: Called with the part, the number of what is done, and the planned number.
    """
    work = _SpreadRun(
        context, queues, stop or StopState(), progress or (lambda what, done, planned: None)
    )
    with context.write() as tx:
        # The start is durable before any work, so that a run that died can be seen.
        jobs.started(tx, JOB)
    try:
        work.run(scan=scan)
    except CertmgrError as error:
        # The end of the run is recorded, so that its failure is noticed.
        work.result.problems.append(f"{work.current or 'run'}: {error}")
    except KeyboardInterrupt:
        work.result.interrupted = f"{work.current} (the workers finish what they have begun)"
    return conclude(context, work.stop, work.result)
