"""The pool of scanning processes.

The parent sends jobs and receives results. Only the parent writes to the database. A scanning
process exits when its parent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from certmgr.inspection.scan_job import ScanJob, ScanResult, ScanSetup
from certmgr.inspection.worker import ScanWorker
from inventory.errors import CertmgrError
from inventory.names import load_suffixes

_log = logging.getLogger(__name__)

BATCH = 200  # jobs per message
MAX_ISSUERS = 20_000  # of one run
MAX_ISSUER_BYTES = 16_777_216
# Results are sent at least this often, if the scan goes on. A transaction of few rows costs several
# times as much per row.
FLUSH_SECONDS = 1.0
POLL_SECONDS = 0.2


def next_batch(waiting: int, outstanding: Sequence[int], ahead: int) -> tuple[int, int]:
    """Return the process that gets the next jobs, and how many; none if all have enough.

    The process with the fewest jobs is next, and the last jobs are divided: otherwise the first
    process would get all jobs of a short run.

    Args:
        waiting: Jobs that no process has.
        outstanding: Unfinished jobs of each process.
        ahead: Unfinished jobs that a process may have.
    """
    least = min(range(len(outstanding)), key=outstanding.__getitem__)
    size = min(BATCH, -(-waiting // len(outstanding)))
    return least, size if outstanding[least] + size <= ahead else 0


class Pool:
    """A fixed number of scanning processes.

    On Linux the processes are forked. So create the pool before a database or a lock is opened.
    """

    def __init__(
        self, setup: ScanSetup, processes: int, names: Callable[[int], frozenset[str]] | None = None
    ) -> None:
        context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        limits = setup.limits
        # All processes together must respect the limits, so each gets a share of them.
        share = replace(
            limits,
            in_flight=max(1, limits.in_flight // processes),
            # Rounded up: a share of 0 would mean no limit.
            per_address=-(-limits.per_address // processes),
            rate=limits.rate / processes,
        )
        # Two batches more than a process can probe at once, so that it does not wait for the
        # parent.
        self._ahead = share.in_flight + 2 * BATCH
        web = setup.web
        if web is not None:
            # The limits per address hold for all processes together. Jobs wait for their turn at
            # an address, so more of them are sent ahead to keep the process busy.
            self._ahead += 10 * BATCH
            # Read once before the fork, instead of by each process at its first page.
            load_suffixes()
            web = replace(
                web, per_address=-(-web.per_address // processes), rate=web.rate / processes
            )
        self._issuer_bytes = 0
        self._members: list[tuple[Any, Connection]] = []
        parent_ends: list[Connection] = []
        for _ in range(processes):
            parent_end, child_end = context.Pipe()
            parent_ends.append(parent_end)
            process = context.Process(
                target=_main,
                args=(
                    child_end,
                    list(parent_ends),
                    replace(setup, limits=share, web=web),
                    names,
                    os.getpid(),
                ),
                # A daemon is terminated when the parent exits, even after an error.
                daemon=True,
            )
            process.start()
            # Only the child may hold its end: otherwise its death would not close the pipe.
            child_end.close()
            self._members.append((process, parent_end))

    def run(
        self,
        jobs: Iterator[list[ScanJob]],
        handle: Callable[[list[ScanResult]], None],
        issuers: Sequence[bytes],
    ) -> None:
        """Send all jobs, and pass all results to ``handle``.

        Args:
            jobs: The jobs in chunks.
            handle: Called with each list of results.
            issuers: Intermediates that are known already, as DER. Those that the run observes are
                sent to all processes at the end.

        Raises:
            CertmgrError: A scanning process died.
        """
        outstanding = {conn: 0 for _, conn in self._members}
        for _, conn in self._members:
            conn.send(("issuers", list(issuers)))
        seen: dict[bytes, None] = {}
        backlog: list[ScanJob] = []
        exhausted = False
        while True:
            while True:
                while not exhausted and len(backlog) < BATCH:
                    chunk = next(jobs, None)
                    exhausted = chunk is None
                    backlog += chunk or []
                least, size = next_batch(len(backlog), list(outstanding.values()), self._ahead)
                if not size:
                    break
                _, conn = self._members[least]
                batch, backlog = backlog[:size], backlog[size:]
                outstanding[conn] += size
                conn.send(("jobs", batch))
            if exhausted and not backlog and not any(outstanding.values()):
                break
            self._collect(handle, outstanding, seen, 0.5)
        # An intermediate that one process observed may complete a chain of another process.
        for _, conn in self._members:
            outstanding[conn] = 1
            conn.send(("finish", list(seen)))
        while any(outstanding.values()):
            self._collect(handle, outstanding, seen, 0.5)

    def _collect(
        self,
        handle: Callable[[list[ScanResult]], None],
        outstanding: dict[Connection, int],
        seen: dict[bytes, None],
        timeout: float,
    ) -> None:
        for ready in wait([conn for _, conn in self._members], timeout):
            conn = ready if isinstance(ready, Connection) else None
            if conn is None:
                continue  # only narrows the type: the pool waits for connections only
            try:
                done, results, issuers = conn.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                _log.warning("a scanning process ended unexpectedly")
                raise CertmgrError(
                    "A scanning process stopped unexpectedly",
                    "it was killed, or it ran out of memory",
                    "Lower [scan] concurrency and start the scan again.",
                ) from None
            outstanding[conn] -= done
            for der in issuers:
                # The limit bounds the memory of the parent.
                if len(seen) < MAX_ISSUERS and der not in seen:
                    self._issuer_bytes += len(der)
                    if self._issuer_bytes <= MAX_ISSUER_BYTES:
                        seen[der] = None
            if results:
                handle(results)

    def close(self) -> None:
        """End all processes; terminate those that do not end within two seconds."""
        for process, conn in self._members:
            with contextlib.suppress(OSError):
                conn.send(("end", None))
            conn.close()
            process.join(2)
            if process.is_alive():
                process.terminate()
                process.join(2)


def _main(
    conn: Connection,
    inherited: list[Connection],
    setup: ScanSetup,
    names: Callable[[int], frozenset[str]] | None,
    parent: int,
) -> None:
    """Run one scanning process."""
    # Ctrl-C reaches the whole process group. The parent handles it and ends the children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Objects from before the fork live as long as the process, so collections can skip them.
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    # The fork copied the handlers of the parent. close() relies on SIGTERM to end a process that
    # hangs.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The fork copied the parent's ends of the pipes. While one is open, its pipe never closes.
    for other in inherited:
        with contextlib.suppress(OSError):
            other.close()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_Member(conn, setup, names, parent).serve())
    # Exit handlers and buffers belong to the parent, since the fork copied them. They must not run
    # here.
    os._exit(0)


class _Member:
    """The child's side of one scanning process."""

    def __init__(
        self,
        conn: Connection,
        setup: ScanSetup,
        names: Callable[[int], frozenset[str]] | None,
        parent: int,
    ) -> None:
        self.conn, self.setup, self.names, self.parent = conn, setup, names, parent
        self.results: list[ScanResult] = []
        self.finished_jobs = 0
        # A separate thread sends. So the event loop always reads, and parent and child cannot wait
        # for each other with full pipes.
        self.outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.ended: asyncio.Event
        self.flushed = 0.0  # when results were sent, in loop time

    async def serve(self) -> None:
        self.ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        self.worker = ScanWorker(self.setup, self.results.append, self.names)
        self.tasks: set[asyncio.Task[None]] = set()
        loop.add_reader(self.conn.fileno(), self._receive)
        while not self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), POLL_SECONDS)
            if loop.time() >= self.flushed + FLUSH_SECONDS:
                self._flush()
            if os.getppid() != self.parent:
                # The parent died, and there is no process to report to. An orderly end would wait
                # for what the scan has begun. The page parsers end with their pipes.
                os._exit(0)
        await self.worker.close()

    def _send(self) -> None:
        while True:
            message = self.outgoing.get()
            try:
                self.conn.send(message)
            except OSError:
                # The parent closed its end, so no result can be delivered any more.
                os._exit(0)

    def _receive(self) -> None:
        try:
            verb, content = self.conn.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self.conn.fileno())
            self.ended.set()
            return
        if verb == "jobs":
            for job in content:
                task = asyncio.ensure_future(self.worker.scan(job))
                self.tasks.add(task)
                task.add_done_callback(self._done)
        elif verb == "issuers":
            self.worker.finish(content)
        elif verb == "finish":
            self.worker.finish(content)
            self.finished_jobs += 1
            self._flush()
        else:
            self.ended.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.finished_jobs += 1
        # Without a job, nothing more is to be waited for.
        if self.finished_jobs >= BATCH or not self.tasks:
            self._flush()

    def _flush(self) -> None:
        # An endpoint that waits for an issuer has no result yet. What it served may complete the
        # chain of another process, so issuers are sent apart from results.
        self.flushed = asyncio.get_running_loop().time()
        issuers = self.worker.observed_issuers()
        if self.finished_jobs or self.results or issuers:
            self.outgoing.put((self.finished_jobs, self.results[:], issuers))
            self.results.clear()
            self.finished_jobs = 0
