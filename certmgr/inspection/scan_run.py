"""One scan run of the inventory: endpoints -> evidence -> findings -> store.

The scanning processes are forked before the lock is acquired, since a child must not inherit it.
Each batch of facts commits separately. Findings change in one transaction at the end, and only if
the run is complete: neither suspect nor interrupted.
"""

from __future__ import annotations

import logging
import os
import random
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from certmgr.config.context import Context
from certmgr.inspection.control_targets import failed_control
from certmgr.inspection.expectations import expectations
from certmgr.inspection.pool import Pool
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_job import ScanJob, ScanResult, ScanSetup
from certmgr.inspection.scan_options import ScanOptions, checks_of, setup_for
from certmgr.inspection.scan_rows import jobs_of
from certmgr.inspection.scan_storage import conclude_run, store_results
from certmgr.inspection.scan_summary import ScanSummary
from certmgr.inspection.suspicion import failed_together, suspicious
from certmgr.inspection.worker import scan_jobs
from certmgr.renewers.load import load_lineages
from certmgr.renewers.renewer import RenewalFacts
from certmgr.x509.trust import TrustStore
from inventory.db.database import from_epoch, to_epoch
from inventory.errors import CertmgrError
from inventory.store import (
    certificates,
    clients,
    domains,
    endpoints,
    issuances,
    lineages,
    resumed_runs,
    runs,
    servers,
    zones,
)
from inventory.targets import Target, parse
from inventory.zone_names import DEFAULT_ZONE

_log = logging.getLogger(__name__)

# Up to this many endpoints are scanned in one process: starting others would cost more time.
POOL_THRESHOLD = 64
CHUNK_SIZE = 1000  # endpoints per read
# An interrupted run goes on only if its last result is younger: older facts would be mixed with
# new ones in one run.
RESUME_SECONDS = 3600


class ScanRun:
    """One scan run of the inventory.

    ``progress`` is called with (checked, planned) after each batch. ``on_report`` is called with
    the endpoint id and each report that a worker sent.
    """

    def __init__(
        self,
        context: Context,
        options: ScanOptions,
        progress: Callable[[int, int], None] | None = None,
        on_report: Callable[[int, EndpointReport], None] | None = None,
    ) -> None:
        self.context, self.options = context, options
        self.progress, self.on_report = progress, on_report
        self.checked = self.undetermined = self.was_good = self.fell = 0
        self.fell_ids: set[int] = set()
        self.no_route: frozenset[int] = frozenset()
        self.run_id = 0
        self.client: str | None = None
        self.started: datetime | None = None
        self.checks = self.not_resumed = ""
        self.resumed = self.interrupted = False
        self.before = 0
        self.server_id: int | None = None
        self.visits = False
        self.sent = 0
        self.expected: Mapping[int, frozenset[str]] = {}
        self.renewals = RenewalFacts(context.now())
        # Endpoints of other zones, which this process must not visit.
        self.elsewhere: Mapping[int, tuple[str, ...]] = {}

    def run(self) -> ScanSummary:
        """Scan the selected endpoints, and store the results.

        Raises:
            NotFound: The selection contains no endpoint.
            Busy: Another scan is running.
        """
        _log.info("scan run begins")
        started, begun = self.context.now(), time.monotonic()
        setup = setup_for(
            self.context.settings, self.options, guarded=True, clock=self.context.clock
        )
        self.checks = checks_of(self.options, setup)
        with self.context.read() as conn:
            client = clients.find(conn, self.options.client) if self.options.client else None
            # The number, because a client may be given by its name too.
            client_id, self.client = (client.id, client.number) if client else (None, None)
            planned = self._plan(conn, client_id, started)
            setup.servers = servers.all_addresses(conn)
        self.visits = setup.web is not None
        controls = [parse(text) for text in self.context.settings.scan.controls]
        pool = None
        # An invalid trust store is reported before a process or a run is started.
        TrustStore.load(setup.store, setup.ca_files)
        if planned > POOL_THRESHOLD:
            # A forked child must not share a database connection with its parent.
            self.context.database.close()
            pool = Pool(setup, self._processes(setup), self._names)
        try:
            with runs.exclusive(self.context.database):
                planned = self._begin(planned, client_id)
                try:
                    state, reason = self._scan_all(setup, pool, planned, client_id, controls)
                except Exception:
                    # After any error, the run must not stay marked as running.
                    self._finish(
                        "incomplete", "an internal error of certmgr", planned, started, begun
                    )
                    raise
                return self._finish(state, reason, planned, started, begun)
        finally:
            if pool is not None:
                pool.close()

    def _plan(self, conn: Connection, client_id: int | None, started: datetime) -> int:
        """Read what the run needs, and return how many endpoints it visits."""
        self.server_id = servers.find(conn, self.options.server).id if self.options.server else None
        planned = endpoints.count_visited(conn, client_id, self.options.tag, self.server_id)
        endpoints.require_some(planned, self.options.client, self.options.tag, self.options.server)
        self.elsewhere = _of_other_zones(
            zones.of_endpoints(conn, client_id, self.options.tag, self.server_id)
        )
        self.expected = expectations(
            [*issuances.expected(conn), *lineages.expected(conn)],
            partial(endpoints.of_clients, conn),
            to_epoch(started),
        )
        self.renewals = load_lineages(conn, started)
        return planned - len(self.elsewhere)

    def _processes(self, setup: ScanSetup) -> int:
        processes = self.context.settings.scan.processes or os.cpu_count() or 1
        if setup.web is not None and setup.web.per_address:
            # Each process visits an address at least once at a time. More processes than the limit
            # would exceed it together.
            processes = min(processes, setup.web.per_address)
        return processes

    def _begin(self, planned: int, client_id: int | None) -> int:
        """Begin a run, or take up the last one if it was interrupted shortly before.

        Returns:
            The number of its endpoints.
        """
        since = to_epoch(self.context.now()) - RESUME_SECONDS
        with self.context.write() as tx:
            resumed: resumed_runs.Resumed | resumed_runs.NotResumed = resumed_runs.NotResumed("")
            if self.options.resume:
                resumed = resumed_runs.resume(tx, self._scope(), self.checks, since)
            if isinstance(resumed, resumed_runs.NotResumed):
                self.not_resumed = resumed.reason
                self.run_id = runs.start(tx, self._scope(), planned, self.checks)
                return planned
            self.run_id, self.resumed = resumed.run_id, True
            self.started = from_epoch(resumed.started_at)
            # Endpoints may be new, retired or moved since the interruption.
            left = sum(map(len, self._to_visit(tx.conn, client_id)))
            planned = resumed.checked + left
            resumed_runs.set_planned(tx, self.run_id, planned)
        _log.info("run %d goes on after %d endpoints", resumed.run_id, resumed.checked)
        # Earlier results count as sent too: _scan_between_controls compares the two at the end.
        self.checked = self.sent = self.before = resumed.checked
        self.undetermined = resumed.undetermined
        self.was_good, self.fell = resumed.was_good, resumed.fell
        return planned

    def _scope(self) -> str:
        zone = DEFAULT_ZONE if self.elsewhere else ""
        return runs.scope_of(self.client, self.options.tag, self.options.server, zone)

    def _names(self, client_id: int) -> frozenset[str]:
        with self.context.read() as conn:
            return domains.names_of_client(conn, client_id)

    def _scan_all(
        self,
        setup: ScanSetup,
        pool: Any,
        planned: int,
        client_id: int | None,
        controls: list[Target],
    ) -> tuple[str, str | None]:
        """Return the state of the run, and the reason if it is not complete."""
        try:
            return self._scan_between_controls(setup, pool, planned, client_id, controls)
        # The facts of the finished batches stay. Findings change only after a complete run.
        except KeyboardInterrupt:
            self.interrupted = True
            return "incomplete", "it was interrupted"
        except CertmgrError as error:
            return "incomplete", str(error)

    def _scan_between_controls(
        self,
        setup: ScanSetup,
        pool: Any,
        planned: int,
        client_id: int | None,
        controls: list[Target],
    ) -> tuple[str, str | None]:
        # A control target that fails shows that the network of this machine is at fault. Then no
        # failure of an endpoint may become a finding.
        if (failed := failed_control(setup, controls)) is not None:
            return "suspect", f"the control target {failed} failed before the run"
        with self.context.read() as conn:
            known = certificates.issuers(conn)
        if pool is not None:
            pool.run(self._chunks(client_id), lambda results: self._handle(results, planned), known)
        else:
            setup.issuers = tuple(known)
            for chunk in self._chunks(client_id):
                results: list[ScanResult] = []
                scan_jobs(setup, chunk, results.append, self._names)
                self._handle(results, planned)
        # A worker that lost a job must not pass for a complete run.
        if self.checked < self.sent:
            return (
                "incomplete",
                f"{self.sent - self.checked} of {self.sent} endpoints gave no result",
            )
        # The network may have failed during the run.
        if (failed := failed_control(setup, controls)) is not None:
            return "suspect", f"the control target {failed} failed after the run"
        # If many good endpoints fail together, the cause is probably the network between.
        if not self.options.accept_suspect and (counts := self._failed_together()) is not None:
            return "suspect", suspicious(*counts)
        return "complete", None

    def _failed_together(self) -> tuple[int, int] | None:
        scan = self.context.settings.scan
        # The rows are read only if there are enough failures.
        if self.fell < max(1, scan.suspect_least):
            return None
        with self.context.read() as conn:
            endpoints = runs.good_endpoints(conn, self.run_id, self.fell_ids)
        return failed_together(endpoints, scan.suspect_percent, scan.suspect_least)

    def _to_visit(self, conn: Connection, client_id: int | None) -> list[array[int]]:
        """Return the ids of the endpoints that are left, by the hour of the last attempt."""
        groups = endpoints.visit_order(
            conn,
            client_id,
            self.options.tag,
            self.server_id,
            done_in=self.run_id if self.resumed else None,
        )
        if not self.elsewhere:
            return groups
        return [array("q", [key for key in g if key not in self.elsewhere]) for g in groups]

    def _chunks(self, client_id: int | None) -> Iterator[list[ScanJob]]:
        """Yield the jobs in chunks.

        Each chunk is read separately, so that no snapshot is held for the length of the run.
        """
        with self.context.read() as conn:
            groups = self._to_visit(conn, client_id)
        # Eight bytes per id. A list of integers takes several times that for a large inventory.
        ids = array("q")
        order = random.Random(self.run_id)  # noqa: S311 - the order is not a secret
        for group in groups:
            if self.visits:
                # Names of one machine often follow each other. In a random order, none of them
                # waits long for its turn at that address.
                order.shuffle(group)
            ids.extend(group)
        for start in range(0, len(ids), CHUNK_SIZE):
            with self.context.read() as conn:
                rows = endpoints.visited(conn, ids[start : start + CHUNK_SIZE])
            self.sent += len(rows)
            now = to_epoch(self.context.now())
            yield jobs_of(rows, self.options.cache, self.expected, now, self.renewals)

    def _handle(self, results: list[ScanResult], planned: int) -> None:
        """Store a batch of results in one transaction, and count them."""
        if not results:
            return
        with self.context.write() as tx:
            store_results(tx, self.run_id, results, visits=self.visits)
        for result in results:
            self.checked += 1
            self.no_route |= result.no_route
            self.undetermined += result.undetermined
            self.was_good += result.was_good
            if result.was_good and not result.good:
                self.fell += 1
                self.fell_ids.add(result.key)
            if self.on_report is not None and result.report is not None:
                self.on_report(result.key, result.report)
        if self.progress is not None:
            self.progress(self.checked, planned)

    def _finish(
        self, state: str, reason: str | None, planned: int, started: datetime, begun: float
    ) -> ScanSummary:
        with self.context.write() as tx:
            opened, closed = conclude_run(
                tx,
                self.run_id,
                state=state,
                reason=reason,
                checked=self.checked,
                undetermined=self.undetermined,
            )
        return ScanSummary(
            run_id=self.run_id,
            state=state,
            reason=reason,
            planned=planned,
            checked=self.checked,
            undetermined=self.undetermined,
            opened=opened,
            closed=closed,
            started_at=self.started or started,
            finished_at=self.context.now(),
            seconds=time.monotonic() - begun,
            no_route=self.no_route,
            resumed=self.before,
            not_resumed=self.not_resumed,
            interrupted=self.interrupted,
            notes=_zone_notes(self.elsewhere),
        )


def _of_other_zones(assigned: Mapping[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
    """Return the endpoints whose state another zone gives. Pure."""
    return {key: zones_ for key, zones_ in assigned.items() if zones_[0] != DEFAULT_ZONE}


def _zone_notes(elsewhere: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
    """Return what a run states about endpoints of other zones. Pure."""
    counts = Counter(zones_[0] for zones_ in elsewhere.values())
    return tuple(
        f"zone {zone}: {counts[zone]} endpoint(s) are visited by its workers alone; this process is"
        " in the default zone (set [workers] enabled, and leave out --here)"
        for zone in sorted(counts)
    )
