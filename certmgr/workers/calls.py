"""Calls: a command leaves work to workers, waits for the results, and goes on with them.

The call is stored, then its job is deferred. If the job is lost, the command defers it again; if
the command dies, its calls are deleted later, and a worker that still has one does nothing.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Protocol

from certmgr.config.context import Context
from certmgr.operations.stopping import StopState
from certmgr.workers.queue_names import SCAN, scan_queue
from inventory import errors
from inventory.errors import CertmgrError, DatabaseError
from inventory.records import CallResult
from inventory.store import work_queues, worker_calls, zone_workers
from inventory.vocabulary import CallKind
from inventory.zone_names import DEFAULT_ZONE

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
# A job that was lost is deferred again after this time.
RECOVERY_SECONDS = 5.0
# A database that restarts is waited for; the workers do so too.
DATABASE_PATIENCE_SECONDS = 300.0
# Without a worker for this long, the command ends.
WORKER_PATIENCE_SECONDS = 120.0
# Results that wait to be read. Their number bounds what stands in the database.
AHEAD = 32

# A worker reports an error by its type, which decides the exit code of the command.
_ERRORS: Mapping[str, type[CertmgrError]] = {
    t.__name__: t
    for t in (
        CertmgrError,
        errors.UsageError,
        errors.InvalidName,
        errors.ConfigError,
        errors.NotFound,
        errors.Conflict,
        errors.Busy,
    )
}


class CallQueue(Protocol):
    """Defers jobs (certmgr/workers/engine.py)."""

    def defer_call(self, call_id: int, queue: str) -> None: ...


def error_document(error: CertmgrError) -> dict[str, str]:
    """Return an error as it is stored for the command that waits."""
    # The nearest type that every version knows, with the same exit code.
    known = next(t.__name__ for t in type(error).__mro__ if t.__name__ in _ERRORS)
    return {"type": known, "what": error.what, "why": error.why, "todo": error.todo}


def stored_error(document: Mapping[str, str]) -> CertmgrError:
    """Return the error that a worker stored."""
    kind = _ERRORS.get(document.get("type", ""), CertmgrError)
    return kind(document.get("what", ""), document.get("why", ""), document.get("todo", ""))


class RemoteCalls:
    """Calls of one command to the workers of a queue, or of a zone."""

    def __init__(
        self,
        context: Context,
        queues: CallQueue,
        queue: str,
        *,
        zone: str = DEFAULT_ZONE,
        stop: StopState | None = None,
        patience: float = WORKER_PATIENCE_SECONDS,
        limit: float = float("inf"),
    ) -> None:
        """Prepare the calls.

        Args:
            context: The inventory and the configuration.
            queues: The queues of the workers.
            queue: The queue whose workers do the work.
            zone: For the queue of scans: the zone whose workers do it.
            stop: What interrupts the waiting.
            patience: Seconds to wait for a worker if there is none.
            limit: Seconds to wait for a result.
        """
        self._context, self._queues = context, queues
        self._base, self._zone = queue, zone
        self._queue = scan_queue(zone) if queue == SCAN else queue
        self._stop = stop or StopState()
        self._patience, self._limit = patience, limit

    def one(self, kind: CallKind, arguments: Mapping[str, Any]) -> CallResult:
        """Return the result of one call (see :meth:`each`)."""
        (result,) = self.each(kind, [arguments])
        return result

    def each(self, kind: CallKind, arguments: Iterable[Mapping[str, Any]]) -> Generator[CallResult]:
        """Yield the result of each call, in their order.

        Raises:
            CertmgrError: The error of a worker; or no worker takes jobs of this queue.
            DatabaseError: The database was unavailable.
        """
        pending: deque[int] = deque()
        try:
            for values in arguments:
                if len(pending) >= AHEAD:
                    yield self._result(pending)
                pending.append(self._begin(kind, values))
            while pending:
                yield self._result(pending)
        finally:
            # After Ctrl-C or an error: a worker need not do what no command waits for.
            if pending:
                self._remove(list(pending))

    def _begin(self, kind: CallKind, arguments: Mapping[str, Any]) -> int:
        with self._context.write() as tx:
            call_id = worker_calls.add(tx, kind, arguments)
        self._queues.defer_call(call_id, self._queue)
        return call_id

    def _result(self, pending: deque[int]) -> CallResult:
        call_id = pending[0]
        self._wait(call_id)
        with self._context.write() as tx:
            result = worker_calls.take(tx, call_id)
        pending.popleft()
        return result

    def _wait(self, call_id: int) -> None:
        """Wait until a call has a result. Its error is raised."""
        away_since: float | None = None
        alone_since: float | None = None
        begun = checked = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                if self._is_done(call_id):
                    return
                if now - checked >= RECOVERY_SECONDS or alone_since is not None:
                    checked = now
                    able = self._recover(call_id)
                    alone_since = None if able else (alone_since or self._alone(now))
                elif away_since is None and not self._has_worker():
                    alone_since = self._alone(now)
                away_since = None
            except DatabaseError:
                away_since = away_since or now
                if now - away_since > DATABASE_PATIENCE_SECONDS:
                    raise
            if alone_since is not None and now - alone_since >= self._patience:
                raise self._no_worker()
            if now - begun >= self._limit:
                raise CertmgrError(
                    f"No worker of the queue {self._queue} has answered",
                    f"they were busy for {self._limit:.0f} seconds",
                    "Start another one, or try again later.",
                )
            self._stop.wait(POLL_SECONDS)

    def _alone(self, now: float) -> float:
        """Report that a worker is awaited, which no progress line shows without a terminal."""
        _log.warning(
            "no worker takes jobs of the queue %s; waiting up to %.0f seconds for one",
            self._queue,
            self._patience,
        )
        return now

    def _is_done(self, call_id: int) -> bool:
        with self._context.read() as conn:
            state = worker_calls.state(conn, call_id)
        # An erasure deletes all calls, and so does a restored backup.
        if state is None:
            raise CertmgrError(
                "The work that this command left to a worker was deleted",
                "a client was erased meanwhile, or the database was restored",
                "Run the command again.",
            )
        if state.error is not None:
            raise stored_error(state.error)
        return state.finished

    def _recover(self, call_id: int) -> bool:
        """Defer a job that was lost. Return whether there is a worker."""
        with self._context.read() as conn:
            lost = not work_queues.has_live_call(conn, call_id)
        if lost:
            self._queues.defer_call(call_id, self._queue)
        return self._has_worker()

    def _has_worker(self) -> bool:
        silent = self._context.settings.workers.silent_seconds
        with self._context.read() as conn:
            return bool(zone_workers.live(conn, self._base, silent).get(self._zone))

    def _no_worker(self) -> CertmgrError:
        option = f"--queues {self._base}" if self._zone == DEFAULT_ZONE else f"--zone {self._zone}"
        return CertmgrError(
            f"No worker takes jobs of the queue {self._queue}",
            "none sent a heartbeat",
            f"Start certmgr worker {option}, or do the work in this process with --here.",
        )

    def _remove(self, ids: list[int]) -> None:
        try:
            with self._context.write() as tx:
                worker_calls.remove(tx, ids)
        except DatabaseError:
            _log.warning("%d call(s) were not deleted; a worker deletes them in a day", len(ids))
