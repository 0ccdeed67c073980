"""The worker: takes jobs until it is stopped, and outlives a database that restarts."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from certmgr.config.context import Context
from certmgr.operations.stopping import StopState
from certmgr.workers import recovery
from certmgr.workers.call_handlers import answer
from certmgr.workers.engine import (
    CALL,
    END_SCAN,
    PART,
    SCAN_SHARD,
    SCHEDULED,
    Handlers,
    JobStoppedError,
    QueueWorker,
    work_queues_of,
)
from certmgr.workers.parts import do_part
from certmgr.workers.queue_names import SCAN, SCHEDULE, scan_queue
from certmgr.workers.scan_end import end_scan
from certmgr.workers.shard_scan import scan_shard
from certmgr.workers.spread_run import run as run_spread
from inventory.errors import CertmgrError, DatabaseError, log_internal_error
from inventory.store import shards, worker_calls, zone_workers
from inventory.zone_names import DEFAULT_ZONE

_log = logging.getLogger(__name__)

# Lost work is searched for this often within the time after which a worker counts as dead.
RECOVERIES_PER_SILENCE = 3
# The pause after the database went away doubles up to the second value.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 15.0
CLEANING_SECONDS = 3600.0
SPARE_THREADS = 2


def worker_name() -> str:
    """Return the name of this worker: its machine and its process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class WorkerService:
    """One worker of this machine."""

    def __init__(
        self,
        context: Context,
        queues: Sequence[str],
        concurrency: int,
        schedule: str | None = None,
        zone: str = DEFAULT_ZONE,
    ) -> None:
        """Prepare the worker.

        Args:
            context: The inventory, the configuration of the zone and the clock.
            queues: The queues to take jobs from.
            concurrency: The most jobs at a time.
            schedule: When to begin all scheduled work, as for cron; None: another program does.
            zone: The vantage point from which it scans.
        """
        self.context, self.concurrency = context, concurrency
        # Other workers learn from it which zones can be scanned from.
        self._presence = (worker_name(), zone, tuple(queues))
        self.queues = [scan_queue(zone) if q == SCAN else q for q in queues]
        self.schedule = schedule
        # Ends the wait of a scheduled run, which sees no signal in its thread.
        self._stopping = StopState()
        if schedule is not None:
            # The job that waits for all others must not keep them from their places.
            self.queues.append(SCHEDULE)
            self.concurrency += 1

    def run(self, *, drain: bool = False) -> None:
        """Take jobs until SIGTERM or SIGINT; with ``drain``, until the queues are empty.

        A job that was begun is finished first, but a scheduled run is put back, because it waits
        for jobs of other workers, of which none may be left. A second signal ends the process at
        once. Nothing is lost then: leases end, and other workers take up the jobs.
        """
        try:
            asyncio.run(self._run(drain))
        finally:
            self._end_presence()

    async def _run(self, drain: bool) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # Jobs, and the recovery, must not wait for a thread.
        loop.set_default_executor(ThreadPoolExecutor(self.concurrency + SPARE_THREADS))

        def on_signal(number: int) -> None:
            if stop.is_set():
                os._exit(128 + number)
            self._stopping.terminated = True
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        pause = FIRST_PAUSE_SECONDS
        while True:
            worker = QueueWorker(
                self.context.database.engine.url,
                self._handlers(),
                self.context.settings.workers.silent_seconds,
                self.schedule,
            )
            begun = time.monotonic()
            try:
                await worker.run(
                    self.queues,
                    self.concurrency,
                    drain=drain,
                    stop=stop,
                    alongside=partial(self._recover, worker),
                )
                return
            except DatabaseError as error:
                if stop.is_set():
                    return  # what was not recorded is taken up by other workers
                # The connection held for a while, so the database is back, and the next pause is
                # short again.
                if time.monotonic() - begun > LONGEST_PAUSE_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                _log.warning("%s; trying again in %g s", error, pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            if stop.is_set():
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _handlers(self) -> Handlers:
        return {
            SCAN_SHARD: self._scan_shard,
            END_SCAN: self._end_scan,
            PART: self._part,
            CALL: self._call,
            SCHEDULED: self._scheduled,
        }

    async def _scan_shard(self, shard_id: int) -> None:
        # A scan blocks its thread. The event loop must stay free for the heartbeats.
        await asyncio.to_thread(scan_shard, self.context, shard_id, worker_name())
        # The worker with the last shard defers the end of the run without a wait.
        await asyncio.to_thread(self._take_up)

    async def _end_scan(self, run_id: int) -> None:
        await asyncio.to_thread(end_scan, self.context, run_id)

    async def _part(self, part: str) -> None:
        await asyncio.to_thread(do_part, self.context, part)

    async def _call(self, call_id: int) -> None:
        await asyncio.to_thread(answer, self.context, call_id)

    async def _scheduled(self, timestamp: int) -> None:
        await asyncio.to_thread(self._run_all)

    def _run_all(self) -> None:
        with work_queues_of(self.context.database) as queues:
            result = run_spread(self.context, queues, stop=self._stopping)
        if result.interrupted:
            raise JobStoppedError(result.interrupted)
        # A scheduled run has no command line that could print its problems.
        for problem in result.problems:
            _log.error("%s", problem)

    def _show_presence(self) -> None:
        with self.context.write() as tx:
            zone_workers.seen(tx, *self._presence)

    def _end_presence(self) -> None:
        # If it fails, the row of this worker is too old after [workers] silent_seconds.
        with suppress(CertmgrError), self.context.write() as tx:
            zone_workers.ended(tx, self._presence[0])

    def _remove_old_calls(self) -> None:
        with self.context.write() as tx:
            worker_calls.remove_old(tx)

    def _take_up(self) -> None:
        # The usual case: no scan is running, and no connection to the queues is opened.
        with self.context.read() as conn:
            if not shards.running(conn):
                return
        with work_queues_of(self.context.database) as queues:
            recovery.take_up(self.context, queues)

    async def _recover(self, worker: QueueWorker) -> None:
        """Take up what dead workers left, again and again."""
        cleaned = float("-inf")
        while True:
            try:
                await asyncio.to_thread(self._show_presence)
                await worker.retry_stalled()
                await asyncio.to_thread(self._take_up)
                if time.monotonic() - cleaned > CLEANING_SECONDS:
                    await worker.remove_old()
                    await asyncio.to_thread(self._remove_old_calls)
                    cleaned = time.monotonic()
            except CertmgrError as error:
                # The worker itself notices a database that went away.
                _log.warning("recovery: %s", error)
            # Any error: without recovery, the work of dead workers would be lost in silence.
            except Exception:
                log_internal_error(_log, "the recovery of lost work")
            await asyncio.sleep(
                self.context.settings.workers.silent_seconds / RECOVERIES_PER_SILENCE
            )
