"""``certmgr run`` over workers: defer each part, wait for it, and report as one process would.

Renewals begin at once, so that a slow scan keeps none of them back. Revocation and cases follow the
scan, whose observations they build on; notices are last. A scan past its budget keeps nothing back
either: the other parts go ahead, and the command waits for the rest of the scan at its end.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from certmgr.config.context import Context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.operations.cron import JOB, CronResult, conclude, part_names
from certmgr.operations.stopping import StopState
from certmgr.workers.engine import WorkQueues
from certmgr.workers.parts import last_round, outcome_of
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
        round_id: Names this run in the records of its parts.
        late: Whether the scan had more endpoints than its budget allowed.
        before: The last finished round of each part whose job waited already.
    """

    context: Context
    queues: WorkQueues
    stop: StopState
    progress: Progress
    result: CronResult = field(default_factory=CronResult)
    round_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    late: bool = False
    current: str = ""
    before: dict[str, str] = field(default_factory=dict)

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
        # The workers went on with the scan. This joins the same run, and waits without a limit.
        if self.late:
            self._scan(0.0)

    def _defer(self, part: str) -> None:
        """Defer a part. A database that restarts is waited for, as during the waits."""
        end = time.monotonic() + DATABASE_PATIENCE_SECONDS
        while True:
            try:
                with self.context.read() as conn:
                    before = last_round(conn, part)
                deferred = self.queues.defer_part(part, self.round_id)
                break
            except DatabaseError:
                if time.monotonic() > end:
                    raise
                time.sleep(POLL_SECONDS)
        if not deferred:
            # A job of an earlier run waits for a worker. It has not begun, so what it will do
            # includes the work of this run; its outcome names the earlier round.
            self.before[part] = before

    def _scan(self, minutes: float) -> None:
        self.current = "scan"
        self.progress("scan", 0, 0)
        scan = SpreadScan(self.context, ScanOptions(), self.queues, partial(self.progress, "scan"))
        try:
            summary = scan.run(60 * minutes)
        except NotFound:
            return  # There is nothing to scan in an empty inventory, which is not a failure.
        # A scan that fails must not keep renewals and notices back.
        except CertmgrError as error:
            self.result.problems.append(f"scan: {error}")
            return
        if summary.interrupted:
            # Only the end of the budget is handled here. Ctrl-C and SIGTERM end the whole run.
            if not scan.late:
                raise KeyboardInterrupt
            self.late = True
            return
        self.result.add_scan(summary)

    def _is_finished(self, part: str, last: str) -> bool:
        """Return whether the last finished round of a part includes the work of this run."""
        return last != self.before[part] if part in self.before else last == self.round_id

    def _wait(self, part: str) -> None:
        """Wait until a worker has done a part, at most for its budget."""
        self.current = part
        self.progress(part, 0, 0)
        minutes = float(getattr(self.context.settings.run, f"{part}_minutes"))
        end = time.monotonic() + 60 * minutes if minutes else None
        while True:
            try:
                with self.context.read() as conn:
                    finished = self._is_finished(part, last_round(conn, part))
                    outcome = outcome_of(conn, part) if finished else None
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
            time.sleep(POLL_SECONDS)


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
