"""A scan of the inventory that workers do: begin it, wait for it, and report it.

The run and its shards are stored in one transaction, before a job is deferred. If this process dies
after it, the workers find the shards (recovery), and the next ``certmgr run`` waits for the run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from certmgr.config.context import Context
from certmgr.inspection.control_targets import failed_control
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.inspection.scan_storage import conclude_run
from certmgr.inspection.scan_summary import ScanSummary
from certmgr.operations.stopping import StopState
from certmgr.workers.database_clock import with_database_clock
from certmgr.workers.engine import WorkQueues
from certmgr.workers.recovery import ending_zone, live_zones, take_up
from certmgr.workers.run_options import covers, from_document, to_document
from certmgr.workers.scan_plan import plan_scan, wanted_zones
from certmgr.x509.trust import TrustStore
from inventory.db.database import from_epoch
from inventory.errors import CertmgrError, DatabaseError
from inventory.records import RunRecord, SpreadRun
from inventory.store import clients, endpoints, proposals, runs, servers, shards
from inventory.targets import parse
from inventory.zone_names import DEFAULT_ZONE

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RECOVERY_SECONDS = 5.0
# A database that restarts is waited for; the workers do so too.
DATABASE_PATIENCE_SECONDS = 300.0
# Without a worker for this long, the command ends; the run goes on when a worker comes.
WORKER_PATIENCE_SECONDS = 120.0

Progress = Callable[[int, int], None]


class SpreadScan:
    """One scan that is spread over workers.

    ``progress`` is called with (checked, planned) about once a second.

    Attributes:
        late: Whether the wait ended by its limit, while the workers go on.
    """

    def __init__(
        self,
        context: Context,
        options: ScanOptions,
        queues: WorkQueues,
        progress: Progress | None = None,
        stop: StopState | None = None,
    ) -> None:
        self.context, self.options, self.queues = context, options, queues
        self._stop = stop or StopState()
        self.late = False
        self._stated: set[str] = set()
        self.progress = progress or (lambda checked, planned: None)

    def run(self, limit: float = 0.0) -> ScanSummary:
        """Begin a scan, or join the one that is running, and wait for its end.

        Args:
            limit: Seconds after which the wait ends, and :attr:`late` is set; 0: no limit. The
                workers go on.

        Raises:
            NotFound: The selection contains no endpoint.
            Busy: A scan with another selection, or one in a single process, is running.
            CertmgrError: No worker is there.
        """
        begun = time.monotonic()
        run_id, joined = self._begin()
        try:
            self.late = not self._wait(run_id, begun + limit if limit else float("inf"))
        except KeyboardInterrupt:
            return self._summary(run_id, begun, joined, interrupted=True)
        return self._summary(run_id, begun, joined, interrupted=self.late)

    def _begin(self) -> tuple[int, int]:
        """Return the run, and how many endpoints it had checked before this command."""
        context, options = with_database_clock(self.context), self.options
        # Invalid settings are reported here and not by a worker.
        setup = setup_for(context.settings, options, guarded=True, clock=context.clock)
        TrustStore.load(setup.store, setup.ca_files)
        document = to_document(options)
        with context.read() as conn:
            wanted_zones(conn, options)  # a misspelt zone is reported before anything begins
            client = clients.find(conn, options.client) if options.client else None
            client_id = client.id if client else None
            server_id = servers.find(conn, options.server).id if options.server else None
            planned = endpoints.count_visited(conn, client_id, options.tag, server_id)
            endpoints.require_some(planned, options.client, options.tag, options.server)
        # The number, because a client may be given by its name too.
        number = client.number if client else None
        scope = runs.scope_of(number, options.tag, options.server)
        # Commands with the same selection share one run, so that no server is scanned twice.
        if (running := self._joined(scope)) is not None:
            return running
        controls = [parse(text) for text in context.settings.scan.controls]
        # Before the lock, because a silent control target takes its whole time limit.
        failed = failed_control(setup, controls)
        # The lock keeps a scan in a single process from starting at the same time.
        with runs.exclusive(context.database):
            # Checked again under the lock, because another command may have begun a run meanwhile.
            if (running := self._joined(scope)) is not None:
                return running
            with context.read() as conn:
                plan = plan_scan(conn, context.settings, options, client_id, server_id)
            with context.write() as tx:
                run_id = runs.start(tx, scope, planned)
                if failed is not None and DEFAULT_ZONE in plan.zones:
                    conclude_run(
                        tx,
                        run_id,
                        state="suspect",
                        reason=f"the control target {failed} failed before the run",
                        checked=0,
                        undetermined=0,
                    )
                    return run_id, 0
                shards.create(tx, run_id, document, plan.shards)
        # Durable now: from here on, any worker can take up what this process does not defer.
        take_up(context, self.queues)
        return run_id, 0

    def _joined(self, scope: str) -> tuple[int, int] | None:
        with self.context.read() as conn:
            for run in shards.running(conn):
                done = shards.progress(conn, run.id)
                if run.scope != scope or not covers(from_document(run.options), self.options):
                    continue
                if done.idle < runs.SPREAD_IDLE_SECONDS:
                    _log.info("joining run %d", run.id)
                    return run.id, done.checked
        return None

    def _wait(self, run_id: int, end: float) -> bool:
        """Wait until the run has ended. Return False if it has not at ``end``.

        Args:
            run_id: The run.
            end: A time of the monotonic clock. No signal is used, since a worker with a schedule
                waits in a thread.
        """
        away_since: float | None = None
        alone_since: float | None = None
        recovered = time.monotonic()
        while True:
            now = time.monotonic()
            try:
                run, able = self._poll(run_id)
                if run is None:
                    return True
                if now > end:
                    return False
                if now - recovered >= RECOVERY_SECONDS:
                    take_up(self.context, self.queues)
                    recovered = now
                away_since = None
            except DatabaseError:
                away_since = away_since or now
                if now - away_since > DATABASE_PATIENCE_SECONDS:
                    raise
                self._stop.wait(POLL_SECONDS)
                continue
            alone_since = None if able else (alone_since or now)
            if alone_since is not None and now - alone_since > WORKER_PATIENCE_SECONDS:
                raise CertmgrError(
                    f"No worker scans for run {run_id}",
                    "no worker sent a heartbeat for two minutes",
                    "Start certmgr worker on a machine that reaches the database; the run goes on"
                    " there.",
                )
            self._stop.wait(POLL_SECONDS)

    def _poll(self, run_id: int) -> tuple[SpreadRun | None, bool]:
        """Return the run, None if it has ended, and whether workers can go on with it."""
        with self.context.read() as conn:
            run = next((r for r in shards.running(conn) if r.id == run_id), None)
            if run is None:
                return None, True
            done = shards.progress(conn, run_id)
            waiting = {
                z.zone: z.endpoints for z in shards.without_result(conn, run_id) if z.doubt is None
            }
            involved = shards.zones_of(conn, run_id)
            workers = live_zones(conn, self.context.settings)
        self.progress(done.checked, run.planned)
        self._state_missing(waiting, workers)
        if waiting and DEFAULT_ZONE not in waiting:
            return run, True  # other zones are left out in the end ([workers] zone_minutes)
        ending = ending_zone(involved, workers)
        return run, bool(workers.get(DEFAULT_ZONE if waiting else ending))

    def _state_missing(self, waiting: Mapping[str, int], workers: Mapping[str, int]) -> None:
        """State once which zones have no worker."""
        for zone in waiting.keys() - workers.keys() - self._stated - {DEFAULT_ZONE}:
            self._stated.add(zone)
            _log.warning(
                "the zone %s has no worker; %d endpoint(s) wait up to %g minutes for one: certmgr"
                " worker --zone %s",
                zone,
                waiting[zone],
                self.context.settings.workers.zone_minutes,
                zone,
            )

    def _summary(
        self, run_id: int, begun: float, joined: int, *, interrupted: bool = False
    ) -> ScanSummary:
        with self.context.read() as conn:
            run: RunRecord = runs.get(conn, run_id)
            opened, closed = proposals.changed_by(conn, run_id)
            # Only a run that has ended has its final number. Until then, the shards have it.
            checked = shards.progress(conn, run_id).checked if interrupted else run.looked
        return ScanSummary(
            run_id=run_id,
            state="incomplete" if interrupted else run.state,
            reason="this command was interrupted; its workers go on" if interrupted else run.reason,
            planned=run.planned,
            checked=checked,
            undetermined=run.undetermined,
            notes=run.notes,
            opened=opened,
            closed=closed,
            started_at=from_epoch(run.started_at) or self.context.now(),
            finished_at=from_epoch(run.finished_at) or self.context.now(),
            seconds=time.monotonic() - begun,
            resumed=joined,
            interrupted=interrupted,
        )
