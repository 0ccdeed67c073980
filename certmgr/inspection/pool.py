"""The scanning processes.

The parent feeds jobs and takes results; it alone writes. A process ends when its parent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
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

from certmgr.inspection.worker import ScanJob, ScanResult, ScanSetup, ScanWorker
from inventory.errors import CertmgrError

BATCH = 200
FLUSH_SECONDS = 0.2


class Pool:
    """``processes`` scanning processes.

    Start it before a database or a lock is opened: they are forked where that exists.
    """

    def __init__(
        self, setup: ScanSetup, processes: int, names: Callable[[int], frozenset[str]] | None = None
    ) -> None:
        context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        limits = setup.limits
        share = replace(
            limits,
            in_flight=max(1, limits.in_flight // processes),
            per_address=-(-limits.per_address // processes),
            rate=limits.rate / processes,
        )
        self._ahead = share.in_flight + 2 * BATCH
        web = setup.web
        if web is not None:
            # Politeness towards an address is shared; and many wait for their turn, so more are
            # handed out.
            self._ahead += 10 * BATCH
            web = replace(
                web, per_address=-(-web.per_address // processes), rate=web.rate / processes
            )
        self._members: list[tuple[Any, Connection]] = []
        ends: list[Connection] = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            ends.append(ours)
            process = context.Process(
                target=_main,
                args=(
                    theirs,
                    list(ends),
                    replace(setup, limits=share, web=web),
                    names,
                    os.getpid(),
                ),
                daemon=True,
            )
            process.start()
            theirs.close()
            self._members.append((process, ours))

    def run(
        self,
        jobs: Iterator[list[ScanJob]],
        handle: Callable[[list[ScanResult]], None],
        issuers: Sequence[bytes],
    ) -> None:
        """Feeds every job and hands over every result.

        ``issuers``: intermediates known before; those that are seen are shared at the end.

        Raises CertmgrError when a scanning process dies.
        """
        outstanding = {conn: 0 for _, conn in self._members}
        for _, conn in self._members:
            conn.send(("issuers", list(issuers)))
        seen: dict[str, bytes] = {}
        backlog: list[ScanJob] = []
        exhausted = False
        while True:
            for _, conn in self._members:
                while not exhausted and len(backlog) < BATCH:
                    chunk = next(jobs, None)
                    exhausted = chunk is None
                    backlog += chunk or []
                while backlog and outstanding[conn] <= self._ahead - BATCH:
                    batch, backlog = backlog[:BATCH], backlog[BATCH:]
                    outstanding[conn] += len(batch)
                    conn.send(("jobs", batch))
                    if len(backlog) < BATCH:
                        break
            if exhausted and not backlog and not any(outstanding.values()):
                break
            self._collect(handle, outstanding, seen, 0.5)
        for _, conn in self._members:
            outstanding[conn] = 1
            conn.send(("finish", list(seen.values())))
        while any(outstanding.values()):
            self._collect(handle, outstanding, seen, 0.5)

    def _collect(
        self,
        handle: Callable[[list[ScanResult]], None],
        outstanding: dict[Connection, int],
        seen: dict[str, bytes],
        timeout: float,
    ) -> None:
        for ready in wait([conn for _, conn in self._members], timeout):
            conn = ready if isinstance(ready, Connection) else None
            if conn is None:
                continue
            try:
                done, results = conn.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                raise CertmgrError(
                    "A scanning process ended",
                    "it was killed, or ran out of memory",
                    "Lower [scan] concurrency and scan again.",
                ) from None
            outstanding[conn] -= done
            for result in results:
                for certificate in result.certificates:
                    if certificate.is_ca and len(seen) < 20_000:
                        seen[certificate.sha256] = certificate.der
            if results:
                handle(results)

    def close(self) -> None:
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
    """One scanning process. Signals go to the parent, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What was there before the fork lives as long as the process; a collection need not walk it.
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:
        with contextlib.suppress(OSError):
            other.close()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_Member(conn, setup, names, parent).serve())
    os._exit(0)


class _Member:
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
        # A thread of its own sends, so that this side always reads and neither side can wait for
        # the other.
        self.outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.ended: asyncio.Event

    async def serve(self) -> None:
        self.ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        self.examiner = ScanWorker(self.setup, self.results.append, self.names)
        self.tasks: set[asyncio.Task[None]] = set()
        loop.add_reader(self.conn.fileno(), self._receive)
        while not self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), FLUSH_SECONDS)
            self._flush()
            if os.getppid() != self.parent:
                return
        await self.examiner.close()

    def _send(self) -> None:
        while True:
            message = self.outgoing.get()
            try:
                self.conn.send(message)
            except OSError:
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
                task = asyncio.ensure_future(self.examiner.examine(job))
                self.tasks.add(task)
                task.add_done_callback(self._done)
        elif verb == "issuers":
            self.examiner.finish(content)
        elif verb == "finish":
            self.examiner.finish(content)
            self.finished_jobs += 1
            self._flush()
        else:
            self.ended.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.finished_jobs += 1
        if self.finished_jobs >= BATCH:
            self._flush()

    def _flush(self) -> None:
        if self.finished_jobs or self.results:
            self.outgoing.put((self.finished_jobs, self.results[:]))
            self.results.clear()
            self.finished_jobs = 0
