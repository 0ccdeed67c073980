"""One shard of a scan, from its lease to its stored results.

The lease is committed before the first endpoint is visited, and is extended while the scan goes on.
All facts of the shard and its mark as finished are one transaction. If the process dies before it,
the lease ends and another worker scans the shard; if it dies after it, nothing is left to do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from certmgr.config.context import Context
from certmgr.inspection.control_targets import failed_control
from certmgr.inspection.expectations import expectations
from certmgr.inspection.scan_job import ScanJob, ScanResult, ScanSetup
from certmgr.inspection.scan_options import setup_for
from certmgr.inspection.scan_rows import jobs_of
from certmgr.inspection.scan_storage import store_results
from certmgr.inspection.worker import scan_jobs
from certmgr.inspection.zone_results import view_of
from certmgr.renewers.load import load_lineages
from certmgr.workers.database_clock import with_database_clock
from certmgr.workers.run_options import from_document
from inventory.db.database import to_epoch
from inventory.errors import CertmgrError, DatabaseError
from inventory.records import ShardLease
from inventory.store import (
    certificates,
    domains,
    endpoints,
    issuances,
    lineages,
    servers,
    shards,
    zone_views,
)
from inventory.targets import parse
from inventory.vocabulary import ShardRole
from inventory.zone_names import DEFAULT_ZONE

_log = logging.getLogger(__name__)

# So three attempts to extend a lease may fail before it ends.
EXTENSIONS_PER_LEASE = 4
# Results of a finished scan wait this long for a database that restarts.
STORE_PATIENCE_SECONDS = 600
STORE_RETRY_SECONDS = 2.0


def scan_shard(context: Context, shard_id: int, worker: str) -> bool:
    """Scan one shard, and store its results.

    Args:
        context: The inventory, the configuration and the clock of this worker.
        shard_id: The shard.
        worker: The name of this worker, for people.

    Returns:
        Whether results were stored; False if another worker has the shard or has finished it, or
        if its run has ended.

    Raises:
        CertmgrError: An endpoint gave no result, or the database was unavailable.
    """
    context = with_database_clock(context)
    # Longer than the time after which a worker counts as dead, so that a slow one keeps its shard.
    lease_seconds = int(2 * context.settings.workers.silent_seconds)
    with context.write() as tx:
        held = shards.lease(tx, shard_id, worker, lease_seconds)
    if held is None:
        return False
    _log.info("shard %d: lease %d for %d endpoints", held.id, held.token, len(held.endpoints))
    with _extended(context, held, lease_seconds) as lost:
        try:
            return _scan_and_store(context, held, lost)
        except shards.LeaseLost as error:
            _log.warning("%s", error)
            return False
        # Also at Ctrl-C and SIGTERM: another worker need not wait for the end of the lease.
        except BaseException:
            _release(context, held)
            raise


def _scan_and_store(context: Context, held: ShardLease, lost: threading.Event) -> bool:
    """Scan a shard under its lease. Return whether results were stored."""
    setup, jobs = _prepare(context, held)
    # The command and the end of the run probe the control targets of the default zone. The control
    # targets of another zone can be probed by its workers only, and zones are compared only if both
    # are well.
    watched = held.zone != DEFAULT_ZONE or held.role is not ShardRole.ONLY
    controls = [parse(t) for t in context.settings.scan.controls] if watched else []
    failed = failed_control(setup, controls)
    results: list[ScanResult] = []
    if failed is None:
        scan_jobs(setup, jobs, results.append, partial(_names_of_client, context))
        # A shard is stored as a whole. A missing result would count as an endpoint that was
        # checked.
        if len(results) < len(jobs):
            raise CertmgrError(
                f"Shard {held.id} is not finished",
                f"{len(jobs) - len(results)} of {len(jobs)} endpoints gave no result",
            )
        failed = failed_control(setup, controls)
    if lost.is_set():
        # The transaction would refuse the results; it need not be tried.
        _log.warning("shard %d: another worker has taken it", held.id)
        return False
    if failed is not None:
        # The network of this zone is at fault, so nothing that it saw is a fault of a site.
        _log.error("shard %d: the control target %s failed", held.id, failed)
        _store(context, held, [], visits=False, doubt=f"its control target {failed} failed")
        return True
    _store(context, held, results, visits=setup.web is not None)
    return True


def _prepare(context: Context, held: ShardLease) -> tuple[ScanSetup, list[ScanJob]]:
    """Return the setup and the jobs of a shard."""
    options = from_document(held.options)
    with context.read() as conn:
        rows = {r.id: r for r in endpoints.visited(conn, held.endpoints)}
        own_servers = servers.all_addresses(conn)
        known = tuple(certificates.issuers(conn))
        expected = expectations(
            [*issuances.expected(conn), *lineages.expected(conn)],
            partial(endpoints.of_clients, conn),
            to_epoch(context.now()),
        )
        renewals = load_lineages(conn, context.now())
    setup = setup_for(context.settings, options, guarded=True, clock=context.clock)
    setup.servers, setup.issuers = own_servers, known
    if held.role is not ShardRole.ONLY:
        # Views are compared as a whole, so that each endpoint is judged, changed or not.
        setup.full = True
    # The order of the shard: what was not attempted for longest is first.
    ordered = [rows[key] for key in held.endpoints if key in rows]
    jobs = list(jobs_of(ordered, options.cache, expected, to_epoch(context.now()), renewals))
    return _shared(setup, held.share), jobs


def _shared(setup: ScanSetup, share: int) -> ScanSetup:
    """Return the setup with its share of the limits per address."""
    if share <= 1:
        return setup
    limits, web = setup.limits, setup.web
    # Rounded up, because a limit of 0 connections would stop the scan.
    limits = replace(limits, per_address=-(-limits.per_address // share), rate=limits.rate / share)
    if web is not None:
        web = replace(web, per_address=-(-web.per_address // share), rate=web.rate / share)
    return replace(setup, limits=limits, web=web)


def _names_of_client(context: Context, client_id: int) -> frozenset[str]:
    with context.read() as conn:
        return domains.names_of_client(conn, client_id)


def _store(
    context: Context,
    held: ShardLease,
    results: list[ScanResult],
    *,
    visits: bool,
    doubt: str | None = None,
) -> None:
    """Store the results and finish the shard in one transaction.

    A database that restarts is waited for: the scan is not repeated for it.
    """
    further = held.role is ShardRole.FURTHER
    end = time.monotonic() + STORE_PATIENCE_SECONDS
    while True:
        try:
            with context.write() as tx:
                if held.role is not ShardRole.ONLY:
                    views = [view_of(r.key, r.report) for r in results if r.report is not None]
                    zone_views.write(tx, held.run_id, held.zone, views, first=not further)
                # A second opinion changes nothing of the endpoint.
                if not further:
                    compared = held.role is ShardRole.FIRST
                    store_results(tx, held.run_id, list(results), visits=visits, compared=compared)
                shards.finish(
                    tx,
                    held,
                    checked=len(results),
                    undetermined=sum(r.undetermined for r in results),
                    fell=() if further else [r.key for r in results if r.was_good and not r.good],
                    doubt=doubt,
                )
            return
        except DatabaseError as error:
            if time.monotonic() > end:
                raise
            _log.warning("shard %d: its results wait for the database: %s", held.id, error)
            time.sleep(STORE_RETRY_SECONDS)


def _release(context: Context, held: ShardLease) -> None:
    """Let another worker take the shard at once. If that fails, the lease ends later."""
    try:
        with context.write() as tx:
            shards.release(tx, held)
    except DatabaseError:
        _log.warning("shard %d: the lease was not released", held.id)


@contextmanager
def _extended(context: Context, held: ShardLease, seconds: int) -> Iterator[threading.Event]:
    """Extend the lease until the block ends. The event is set if another worker took the shard."""
    ended, lost = threading.Event(), threading.Event()

    def extend() -> None:
        while not ended.wait(seconds / EXTENSIONS_PER_LEASE):
            try:
                with context.write() as tx:
                    if not shards.extend(tx, held, seconds):
                        lost.set()
                        return
            except DatabaseError as error:
                # The next attempt may succeed before the lease ends.
                _log.warning("shard %d: the lease was not extended: %s", held.id, error)

    thread = threading.Thread(target=extend, name=f"lease of shard {held.id}", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        ended.set()
        thread.join()
