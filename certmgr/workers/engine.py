"""The queues of Procrastinate in the inventory's database: the only module that knows the library.

A job is a name and a few ids; everything else is read from the inventory when the job runs. A job
that is deferred twice is waiting once (queueing lock), and a job that runs twice does its work once
(leases of shards, locks of the other parts).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from croniter import croniter
from procrastinate import (
    App,
    BaseRetryStrategy,
    PsycopgConnector,
    RetryDecision,
    SyncPsycopgConnector,
)
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager, migrations_path
from sqlalchemy import Connection
from sqlalchemy.engine import URL

from certmgr.workers import queue_names
from inventory.db.database import Database, database_error
from inventory.errors import DatabaseError
from inventory.store import jobs, work_queues

_log = logging.getLogger(__name__)

# The record of the tables' version, in the table of jobs.
SCHEMA_JOB = "work queues"
SCAN_SHARD, END_SCAN, PART, SCHEDULED = "scan_shard", "end_scan", "part", "scheduled_run"
CALL = "call"
# Failed jobs are kept for a week, so that doctor can show them.
KEEP_FAILED_HOURS = 168
# Notifications of PostgreSQL do not pass a pooler such as PgBouncer, so workers poll.
POLL_SECONDS = 1.0
# A job that loses the database this often is kept as failed; recovery begins a shard again.
MAX_ATTEMPTS = 10

# The queue compares with the clock of the database, from which that of this machine may differ.
AT_ONCE = datetime(2000, 1, 1, tzinfo=UTC)

Handler = Callable[..., Awaitable[None]]
Handlers = Mapping[str, Handler]


def _pool_arguments(url: URL) -> dict[str, Any]:
    return {
        # libpq does not know the name of SQLAlchemy's driver in the scheme.
        "conninfo": url.set(drivername="postgresql").render_as_string(hide_password=False),
        # A pooler runs transactions on connections without each other's prepared statements.
        "kwargs": {"prepare_threshold": None},
        "min_size": 1,
        "max_size": 4,
    }


class WorkQueues:
    """Defers jobs, for commands that wait and for workers that take up lost work."""

    def __init__(self, app: App, url: URL) -> None:
        self._app, self._url = app, url

    def defer_shard(self, shard_id: int, turn: str | None, zone: str) -> None:
        """Defer the scan of a shard. Shards with the same turn run one after the other."""
        queue = queue_names.scan_queue(zone)
        self._defer(SCAN_SHARD, queue, f"shard {shard_id}", lock=turn, shard_id=shard_id)

    def defer_end(self, run_id: int, zone: str) -> None:
        """Defer the end of a run; it goes before the shards of another one."""
        queue = queue_names.scan_queue(zone)
        self._defer(END_SCAN, queue, f"end of run {run_id}", priority=1, run_id=run_id)

    def defer_part(self, part: str) -> None:
        """Defer a part of ``certmgr run``, unless it waits already. It runs once at a time."""
        queue, name = queue_names.QUEUE_OF[part], f"part {part}"
        self._defer(PART, queue, name, lock=name, part=part)

    def defer_call(self, call_id: int, queue: str) -> None:
        """Defer a call. Its command waits for it, so it goes before the shards of a scan."""
        name = f"call {call_id}"
        self._defer(CALL, queue, name, lock=name, priority=2, call_id=call_id)

    def _defer(
        self,
        task: str,
        queue: str,
        queueing_lock: str,
        lock: str | None = None,
        priority: int = 0,
        **arguments: Any,
    ) -> None:
        """Defer a job, unless one with this queueing lock waits already."""
        deferrer = self._app.configure_task(
            task, queue=queue, queueing_lock=queueing_lock, lock=lock, priority=priority
        )
        try:
            deferrer.defer(**arguments)
        # This is expected: several workers take up lost work at the same time.
        except AlreadyEnqueued:
            _log.debug("%s waits already", queueing_lock)


@contextmanager
def work_queues_of(database: Database) -> Iterator[WorkQueues]:
    """Open the queues of a database for a command.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    url = database.engine.url
    app = App(connector=SyncPsycopgConnector(**_pool_arguments(url)))
    with _mapped(url), app.open():
        yield WorkQueues(app, url)


@contextmanager
def _mapped(url: URL) -> Iterator[None]:
    """Raise errors of the library as those of the inventory."""
    try:
        yield
    except (ConnectorException, psycopg.Error) as error:
        # The cause is the error of the driver, which states what PostgreSQL reported.
        raise database_error(error.__cause__ or error, url) from error


class _WatchedManager(JobManager):
    """Reports a job whose end could not be recorded.

    Such a job stays marked as running by a worker that lives, so that no other worker takes it up.
    """

    def __init__(self, app: App, lost: Callable[[], None]) -> None:
        super().__init__(app.connector)
        self._lost = lost

    async def finish_job(self, *arguments: Any, **named: Any) -> None:
        with self._watched():
            await super().finish_job(*arguments, **named)

    async def retry_job(self, *arguments: Any, **named: Any) -> None:
        with self._watched():
            await super().retry_job(*arguments, **named)

    async def retry_job_by_id_async(self, job_id: int, *arguments: Any, **named: Any) -> None:
        """Put a job back, unless another one with its queueing lock waits, which does its work."""
        try:
            await super().retry_job_by_id_async(job_id, *arguments, **named)
        except UniqueViolation:
            await self.finish_job_by_id_async(job_id, Status.ABORTED, delete_job=True)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except ConnectorException:
            self._lost()
            raise


class JobStoppedError(Exception):
    """The worker is stopped in the middle of a job, which another worker is to begin again."""


class _Again(BaseRetryStrategy):
    """Begins a job again that lost the database or its worker: each is safe to repeat."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        lost = isinstance(exception, DatabaseError) and job.attempts < MAX_ATTEMPTS
        again = lost or isinstance(exception, JobStoppedError)
        return RetryDecision(retry_at=AT_ONCE) if again else None


class QueueWorker:
    """Takes jobs from queues, and sends heartbeats while it does."""

    def __init__(
        self, url: URL, handlers: Handlers, silent: float, schedule: str | None = None
    ) -> None:
        """Register the handlers.

        Args:
            url: The database.
            handlers: Coroutine functions by the name of their job.
            silent: Seconds without a heartbeat after which a worker counts as dead.
            schedule: When to begin all scheduled work, as for cron; None: another program does.
        """
        self.url, self._silent = url, silent
        self._app = App(connector=PsycopgConnector(**_pool_arguments(url)))
        self._lost = asyncio.Event()
        self._app.job_manager = _WatchedManager(self._app, self._lost.set)
        for name, handler in handlers.items():
            if name != SCHEDULED:
                self._app.task(name=name, retry=_Again())(self._patient(handler))
        if schedule is not None:
            # Of all workers with this schedule, one defers the job of each tick. A run that still
            # waits or goes on is not joined by a second one.
            task = self._app.task(
                name=SCHEDULED,
                queue=queue_names.SCHEDULE,
                queueing_lock=SCHEDULED,
                lock=SCHEDULED,
                retry=_Again(),
            )(self._patient(handlers[SCHEDULED]))
            self._app.periodic(cron=schedule, periodic_id="run")(task)

    def _patient(self, handler: Handler) -> Handler:
        """Return a handler that gives a database that went away time to come back."""

        async def handle(**arguments: Any) -> None:
            try:
                await handler(**arguments)
            except DatabaseError:
                await asyncio.sleep(self._silent / 3)
                raise

        return handle

    async def run(
        self,
        queues: Iterable[str],
        concurrency: int,
        *,
        drain: bool,
        stop: asyncio.Event,
        alongside: Callable[[], Awaitable[None]],
    ) -> None:
        """Take jobs until ``stop`` is set; with ``drain``, until the queues are empty.

        Jobs that were begun are finished first.

        Args:
            queues: The queues to take jobs from.
            concurrency: The most jobs at a time.
            drain: Whether to end when no job waits.
            stop: Ends the worker.
            alongside: Runs while the worker runs.

        Raises:
            DatabaseError: The database went away, and a new worker must be begun. What this one
                has not recorded is taken up when its heartbeat is missing.
        """
        with _mapped(self.url):
            async with self._app.open_async():
                watch = asyncio.ensure_future(alongside())
                work = asyncio.ensure_future(
                    self._app.run_worker_async(
                        queues=list(queues),
                        concurrency=concurrency,
                        wait=not drain,
                        listen_notify=False,
                        fetch_job_polling_interval=POLL_SECONDS,
                        abort_job_polling_interval=30.0,
                        update_heartbeat_interval=self._silent / 3,
                        stalled_worker_timeout=self._silent,
                        # The results are in the inventory. Records of successful jobs would only
                        # fill the table.
                        delete_jobs="successful",
                        install_signal_handlers=False,
                    )
                )
                events = [asyncio.ensure_future(e.wait()) for e in (stop, self._lost)]
                try:
                    await asyncio.wait([work, *events], return_when=asyncio.FIRST_COMPLETED)
                    # The library finishes what was begun when it is cancelled.
                    work.cancel()
                    with suppress(asyncio.CancelledError):
                        await work
                finally:
                    # The recovery ends with the worker, because its connections are closed then.
                    for task in (watch, *events):
                        task.cancel()
        # The library also ends a worker that could not send a heartbeat.
        if self._lost.is_set() or not (stop.is_set() or drain):
            raise database_error(ConnectionError("a job or a heartbeat was lost"), self.url)

    async def retry_stalled(self) -> int:
        """Put jobs whose worker sends no heartbeat back into their queues."""
        manager = self._app.job_manager
        with _mapped(self.url):
            stalled = list(await manager.get_stalled_jobs(seconds_since_heartbeat=self._silent))
            for job in stalled:
                _log.warning("%s: its worker sends no heartbeat", job.call_string)
                assert job.id is not None  # it was read from the table
                try:
                    await manager.retry_job_by_id_async(job.id, retry_at=AT_ONCE)
                except ConnectorException as error:
                    # The function of the library refuses a job that another worker has put back
                    # meanwhile.
                    if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                        raise
        return len(stalled)

    async def remove_old(self) -> None:
        """Delete the records of jobs that failed more than a week ago."""
        with _mapped(self.url):
            await self._app.job_manager.delete_old_jobs(
                KEEP_FAILED_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
            )


def valid_schedule(schedule: str) -> bool:
    """Return whether a text is a schedule as for cron, such as ``0 * * * *``."""
    return bool(croniter.is_valid(schedule))


def install_schema(database: Database) -> None:
    """Create the tables of the queues, or bring them to the version of the installed library.

    Each step and its record are one transaction, so a step that was interrupted is repeated whole.
    """
    steps = {path.name: path.read_text() for path in Path(migrations_path).glob("*.sql")}
    newest = max(steps)
    with database.write() as tx:
        known = jobs.state(tx.conn, SCHEMA_JOB).detail.get("step", "")
        if not work_queues.installed(tx.conn):
            _execute(tx.conn, SchemaManager.get_schema())
            known = newest
        # Tables that the library's own command created are of its version.
        jobs.succeeded(tx, SCHEMA_JOB, {"step": known or newest})
    # The names begin with the version, so their order is that of the steps.
    for name in sorted(n for n in steps if known and n > known):
        with database.write() as tx:
            _execute(tx.conn, steps[name])
            jobs.succeeded(tx, SCHEMA_JOB, {"step": name})


def _execute(conn: Connection, statements: str) -> None:
    # Without parameters, psycopg sends several statements as they are.
    cursor = conn.connection.cursor()
    cursor.execute(statements)
    cursor.close()
