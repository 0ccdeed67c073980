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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import partial
from typing import Any

from certmgr import __version__
from certmgr.checks.transport import FailureHistory
from certmgr.config.settings import Settings
from certmgr.inspection.expectations import expectations
from certmgr.inspection.pool import Pool
from certmgr.inspection.reconcile import FindingChanges, OpenFinding, reconcile
from certmgr.inspection.report import CertificateRow, EndpointReport
from certmgr.inspection.worker import ScanJob, ScanResult, ScanSetup, scan_jobs
from certmgr.net.addresses import networks
from certmgr.net.own_name import own_name
from certmgr.scan.dial_request import DialLimits
from certmgr.scan.page_connection import WebOptions
from certmgr.x509.trust import TrustStore
from certmgr.x509.trust_data import load_rules, rules_path
from inventory.clock import Clock, system_clock
from inventory.db.database import Database, Tx, from_epoch, to_epoch
from inventory.errors import CertmgrError
from inventory.records import VisitedEndpoint
from inventory.store import (
    cases,
    certificates,
    clients,
    domains,
    endpoints,
    findings,
    lineages,
    page_observations,
    runs,
    scan_results,
    servers,
)
from inventory.targets import Target, parse
from inventory.vocabulary import Parties

_log = logging.getLogger(__name__)

# Up to this many endpoints are scanned in one process: starting others would cost more time.
POOL_THRESHOLD = 64
# Above this share of undetermined endpoints, a run does not count as a check of the inventory.
UNDETERMINED_PERCENT = 20.0
CHUNK_SIZE = 1000  # endpoints per read


@dataclass(slots=True)
class ScanOptions:
    """The options of one scan, in addition to the configuration.

    Attributes:
        client: Only the endpoints of this client (number or name).
        tag: Only endpoints with this tag.
        deep: Inspect the certificate of the other key type too, TLS 1.0 and 1.1, and post-quantum
            key exchange.
        full: Pass each report to ``on_report``, changed or not.
        overrides: Addresses by (host, port), instead of those from the DNS.
        ca_files: Additional trust anchors.
        accept_suspect: Accept a run in which many endpoints fail together.
        timeout: Seconds per probe; None: as configured.
        connect_timeout: Seconds per connection; None: as configured.
        concurrency: Probes at once; None: as configured.
        cache: Whether results of earlier runs and cached verdicts may be used.
        http: Check plain HTTP too, if the configuration enables it.
        http_port: The port of plain HTTP; None: as configured.
        always_http: Check plain HTTP even if the configuration disables it.
    """

    client: str | None = None
    tag: str | None = None
    deep: bool = False
    full: bool = False
    overrides: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    ca_files: tuple[str, ...] = ()
    accept_suspect: bool = False
    timeout: float | None = None
    connect_timeout: float | None = None
    concurrency: int | None = None
    cache: bool = True
    http: bool = True
    http_port: int | None = None
    always_http: bool = False


@dataclass(slots=True)
class ScanSummary:
    """The result of a run.

    Attributes:
        state: complete, incomplete or suspect.
        reason: Why it is not complete.
        planned: The number of endpoints to check.
        checked: The number of endpoints that gave a result.
        undetermined: Those of which it is unknown what they serve.
        opened: Findings that were opened.
        closed: Findings that were closed.
        no_route: The IP versions to which this machine has no route.
    """

    run_id: int
    state: str
    reason: str | None
    planned: int
    checked: int
    undetermined: int
    opened: int
    closed: int
    started_at: datetime
    finished_at: datetime
    seconds: float
    no_route: frozenset[int] = frozenset()

    @property
    def too_undetermined(self) -> bool:
        """Whether the share of undetermined endpoints is above the limit."""
        return self.checked > 0 and 100.0 * self.undetermined / self.checked > UNDETERMINED_PERCENT


def setup_for(
    settings: Settings, options: ScanOptions, *, guarded: bool, clock: Clock = system_clock
) -> ScanSetup:
    """Return the setup of a scan.

    Args:
        settings: The configuration.
        options: The options of this scan.
        guarded: Whether internal addresses from the DNS are refused. Use False only for targets
            that the user chose.
        clock: Dates each observation.
    """
    scan = settings.scan
    limits = DialLimits(
        timeout=options.timeout or scan.timeout,
        connect_timeout=options.connect_timeout or scan.connect_timeout or None,
        in_flight=options.concurrency or scan.concurrency,
        per_address=scan.per_address,
        rate=scan.rate,
    )
    provider = networks(settings.network.provider, "[network] provider")
    return ScanSetup(
        limits=limits,
        store=settings.trust.store,
        ca_files=(*settings.trust.ca_files, *options.ca_files),
        cache=options.cache,
        deep=options.deep,
        full=options.full,
        guarded=guarded,
        rules=load_rules(rules_path(settings.trust.rules)),
        fetch_issuers=settings.trust.fetch_issuers,
        resolvers=settings.scan.resolvers,
        allowed=(*networks(settings.network.allow, "[network] allow"), *provider),
        provider=provider,
        overrides=options.overrides,
        # DNS queries must leave most of the time of a probe to the handshake.
        dns_timeout=min(2.0, limits.timeout / 3),
        web=_web(settings, options),
        ehlo_name=scan.ehlo_name or own_name(),
        clock=clock,
    )


def _web(settings: Settings, options: ScanOptions) -> WebOptions | None:
    http = settings.http
    # A diagnosis always visits the pages; a scan does so if the configuration enables it.
    if not (options.always_http or (options.http and http.enabled)):
        return None
    # Operators of sites can identify the visits, and reach the contact of the configuration.
    agent = (
        f"certmgr/{__version__} (certificate and HTTPS"
        f" check{'; ' + http.contact if http.contact else ''})"
    )
    return WebOptions(options.http_port or http.port, agent, http.per_address, http.rate)


def scan_targets(
    settings: Settings,
    options: ScanOptions,
    targets: list[Target],
    issuers: tuple[bytes, ...] = (),
    *,
    clock: Clock = system_clock,
) -> list[EndpointReport]:
    """Scan the given targets; store nothing.

    The user chose the targets, so internal addresses are permitted.

    Args:
        settings: The configuration.
        options: The options of this scan.
        targets: The endpoints.
        issuers: Intermediates that the inventory has stored, as DER.
        clock: Dates each observation.

    Returns:
        One report per target, in their order.
    """
    reports: dict[int, EndpointReport] = {}

    def emit(result: ScanResult) -> None:
        if result.report is not None:
            reports[result.key] = result.report

    setup = setup_for(settings, options, guarded=False, clock=clock)
    setup.full, setup.issuers = True, issuers
    scan_jobs(setup, [ScanJob(i, t) for i, t in enumerate(targets)], emit)
    return [reports[i] for i in sorted(reports)]


def probe_targets(
    settings: Settings,
    options: ScanOptions,
    target: Target,
    paths: tuple[str, ...],
    parties: Parties | None,
    purpose: str,
    database: Database | None,
    *,
    ever_good: bool = False,
    clock: Clock = system_clock,
) -> EndpointReport:
    """Scan one target and its pages as a browser would; store nothing.

    The user chose the target, so internal addresses are permitted.

    Args:
        settings: The configuration.
        options: The options of this scan.
        target: The endpoint.
        paths: Paths to visit in addition to the home page.
        parties: Who is responsible for what; None if the inventory does not know the target.
        purpose: The purpose of its domain.
        database: Gives issuers and the addresses of servers; None: there is no inventory.
        ever_good: Whether a certificate was ever observed.
        clock: Dates each observation.
    """
    reports: list[EndpointReport] = []

    def emit(result: ScanResult) -> None:
        if result.report is not None:
            reports.append(result.report)

    setup = setup_for(settings, options, guarded=False, clock=clock)
    setup.full = True
    if database is not None:
        with database.read() as conn:
            setup.issuers, setup.servers = (
                tuple(certificates.issuers(conn)),
                servers.all_addresses(conn),
            )
    scan_jobs(
        setup,
        [ScanJob(0, target, parties=parties, ever_good=ever_good, purpose=purpose, paths=paths)],
        emit,
    )
    return reports[0]


def _renewed_by_automation(row: VisitedEndpoint) -> bool:
    """Return whether a panel or CDN renews automatically there.

    It replaces certificates at any time, so no certificate is expected at such an endpoint.
    """
    parties = row.parties
    return (parties.renews or parties.buys) in ("panel", "cdn")


def _jobs_of(
    rows: list[VisitedEndpoint],
    use_cache: bool,
    expected: Mapping[int, frozenset[str]],
    now: int,
) -> list[ScanJob]:
    jobs = []
    for row in rows:
        history = None
        # After several failed runs, a time-out becomes a finding of its endpoint.
        if row.failing_since is not None:
            history = FailureHistory(from_epoch(row.failing_since), row.failing_runs or 0)
        jobs.append(
            ScanJob(
                key=row.id,
                target=Target(row.host, row.port, row.protocol),
                fixed=tuple((row.addresses or "").split()),
                client_id=row.client_id,
                parties=row.parties,
                history=history,
                ever_good=row.last_good is not None,
                was_good=bool(row.good),
                fingerprint=row.fingerprint or "",
                # After this time the same evidence may give other findings, such as an expiry.
                evidence_key=(row.memo or "") if use_cache and (row.recheck_at or 0) > now else "",
                purpose=row.purpose,
                paths=tuple(row.paths.split()),
                expected=frozenset()
                if _renewed_by_automation(row)
                else expected.get(row.id, frozenset()),
            )
        )
    return jobs


class ScanRun:
    """One scan run of the inventory.

    ``progress`` is called with (checked, planned) after each batch. ``on_report`` is called with
    the endpoint id and each report that a worker sent.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        options: ScanOptions,
        progress: Callable[[int, int], None] | None = None,
        on_report: Callable[[int, EndpointReport], None] | None = None,
    ) -> None:
        self.database, self.settings, self.options = database, settings, options
        self.progress, self.on_report = progress, on_report
        self.checked = self.undetermined = self.was_good = self.fell = 0
        self.no_route: frozenset[int] = frozenset()
        self.run_id = 0
        self.visits = False
        self.sent = 0
        self.expected: Mapping[int, frozenset[str]] = {}

    def run(self) -> ScanSummary:
        """Scan the selected endpoints, and store the results.

        Raises:
            NotFound: The selection contains no endpoint.
            Busy: Another scan is running.
        """
        _log.info("scan run begins")
        started, begun = self.database.clock(), time.monotonic()
        with self.database.read() as conn:
            client_id = clients.find(conn, self.options.client).id if self.options.client else None
            planned = endpoints.count_visited(conn, client_id, self.options.tag)
            endpoints.require_some(planned, self.options.client, self.options.tag)
            own_servers = servers.all_addresses(conn)
            self.expected = expectations(
                [*cases.expected(conn), *lineages.expected(conn)],
                partial(cases.endpoints_of_clients, conn),
                to_epoch(started),
            )
        setup = setup_for(self.settings, self.options, guarded=True, clock=self.database.clock)
        setup.servers = own_servers
        self.visits = setup.web is not None
        controls = [parse(text) for text in self.settings.scan.controls]
        processes = self.settings.scan.processes or os.cpu_count() or 1
        if setup.web is not None and setup.web.per_address:
            # Each process visits an address at least once at a time. More processes than the limit
            # would exceed it together.
            processes = min(processes, setup.web.per_address)
        pool = None
        # An invalid trust store is reported before a process or a run is started.
        TrustStore.load(setup.store, setup.ca_files)
        if planned > POOL_THRESHOLD:
            # A forked child must not share a database connection with its parent.
            self.database.close()
            pool = Pool(setup, processes, self._names)
        try:
            with runs.exclusive(self.database):
                with self.database.write() as tx:
                    self.run_id = runs.start(tx, self._scope(), planned)
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

    def _scope(self) -> str:
        parts = [
            f"client {self.options.client}" if self.options.client else "",
            f"tag {self.options.tag}" if self.options.tag else "",
        ]
        return ", ".join(p for p in parts if p)

    def _names(self, client_id: int) -> frozenset[str]:
        with self.database.read() as conn:
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
        if (failed := self._failed_control(setup, controls)) is not None:
            return "suspect", f"the control target {failed} failed before the run"
        with self.database.read() as conn:
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
        if (failed := self._failed_control(setup, controls)) is not None:
            return "suspect", f"the control target {failed} failed after the run"
        # If many good endpoints fail together, the cause is probably the network between.
        share = 100.0 * self.fell / self.was_good if self.was_good else 0.0
        if (
            not self.options.accept_suspect
            and share > self.settings.scan.suspect_percent
            and self.fell >= self.settings.scan.suspect_least
        ):
            return (
                "suspect",
                (f"{self.fell} of {self.was_good} good endpoints failed together ({share:.0f}%)"),
            )
        return "complete", None

    def _failed_control(self, setup: ScanSetup, controls: list[Target]) -> Target | None:
        if not controls:
            return None
        failed: list[Target] = []

        def emit(result: ScanResult) -> None:
            if not result.good:
                failed.append(controls[result.key])

        # The administrator configured the control targets, so internal addresses are permitted.
        scan_jobs(
            replace(setup, guarded=False, full=False),
            [ScanJob(i, t) for i, t in enumerate(controls)],
            emit,
        )
        return failed[0] if failed else None

    def _chunks(self, client_id: int | None) -> Iterator[list[ScanJob]]:
        """Yield the jobs in chunks.

        Each chunk is read separately, so that no snapshot is held for the length of the run.
        """
        with self.database.read() as conn:
            ids = endpoints.visited_ids(conn, client_id, self.options.tag)
        if self.visits:
            # Names of one machine often follow each other. In a random order, none of them waits
            # long for its turn at that address.
            random.Random(self.run_id).shuffle(ids)  # noqa: S311 - the order is not a secret
        for start in range(0, len(ids), CHUNK_SIZE):
            with self.database.read() as conn:
                rows = endpoints.visited(conn, ids[start : start + CHUNK_SIZE])
            self.sent += len(rows)
            yield _jobs_of(rows, self.options.cache, self.expected, to_epoch(self.database.clock()))

    # -- storing

    def _handle(self, results: list[ScanResult], planned: int) -> None:
        """Store a batch of results in one transaction, and count them."""
        if not results:
            return
        with self.database.write() as tx:
            self._store(tx, results)
        for result in results:
            self.checked += 1
            self.no_route |= result.no_route
            self.undetermined += result.undetermined
            self.was_good += result.was_good
            self.fell += result.was_good and not result.good
            if self.on_report is not None and result.report is not None:
                self.on_report(result.key, result.report)
        if self.progress is not None:
            self.progress(self.checked, planned)

    def _store(self, tx: Tx, results: list[ScanResult]) -> None:
        # Results arrive in any order; rows are written in a fixed one.
        results.sort(key=lambda r: r.key)
        unchanged = [
            (r.key, to_epoch(r.at), r.good, r.undetermined) for r in results if r.report is None
        ]
        # An unchanged endpoint costs two updates, and no new row.
        scan_results.seen_again(tx, self.run_id, unchanged)
        if self.visits:
            page_observations.seen_again(tx, [(key, at) for key, at, good, _ in unchanged if good])
        scan_results.update_cache_keys(
            tx, [_cache_keys(r) for r in results if r.report is None and r.evidence_key]
        )
        changed = [(r, r.report) for r in results if r.report is not None]
        if not changed:
            return
        certificates.add(
            tx,
            [
                {f: getattr(c, f) for f in _CERTIFICATE_FIELDS}
                for r, _ in changed
                for c in r.certificates
            ],
        )
        # Read in the same transaction in which the proposals are stored.
        known = findings.open_findings(tx.conn, [r.key for r, _ in changed])
        proposals, status_rows = [], []
        for result, report in changed:
            changes = reconcile([OpenFinding(i, f) for i, f in known.get(result.key, ())], report)
            row = _endpoint_status_row(result.key, self.run_id, report)
            # The cache keys of an endpoint are stored only together with its findings. While the
            # changes of its findings wait for the end of the run, the keys wait with them. If the
            # run dies, the next run judges the endpoint again.
            if changes:
                proposals.append((_cache_keys(result), _proposal(changes, to_epoch(report.at))))
            else:
                row |= {
                    "fingerprint": result.fingerprint,
                    "memo": result.evidence_key,
                    "recheck_at": result.recheck_at,
                    "judged_at": tx.at,
                }
            status_rows.append(row)
        scan_results.write_endpoint_status(tx, status_rows)
        scan_results.write_observations(tx, {r.key: _observations(report) for r, report in changed})
        pages = {
            r.key: (to_epoch(report.at), report.web)
            for r, report in changed
            if report.web is not None
        }
        page_observations.write(
            tx,
            {
                k: None if w.document is None else (at, w.digest, w.document)
                for k, (at, w) in pages.items()
            },
        )
        scan_results.propose(tx, self.run_id, proposals)

    def _finish(
        self, state: str, reason: str | None, planned: int, started: datetime, begun: float
    ) -> ScanSummary:
        opened = closed = 0
        # Only a complete run changes findings.
        with self.database.write() as tx:
            if state == "complete":
                opened, closed = scan_results.apply_proposals(tx, self.run_id)
            runs.finish(tx, self.run_id, state, reason, self.checked, self.undetermined)
        return ScanSummary(
            run_id=self.run_id,
            state=state,
            reason=reason,
            planned=planned,
            checked=self.checked,
            undetermined=self.undetermined,
            opened=opened,
            closed=closed,
            started_at=started,
            finished_at=self.database.clock(),
            seconds=time.monotonic() - begun,
            no_route=self.no_route,
        )


_CERTIFICATE_FIELDS = tuple(f.name for f in fields(CertificateRow))


def _cache_keys(result: ScanResult) -> scan_results.CacheKeys:
    """Return what the next scan of the endpoint is compared with."""
    return result.key, result.fingerprint, result.evidence_key, result.recheck_at


def _endpoint_status_row(key: int, run_id: int, report: EndpointReport) -> dict[str, Any]:
    """Return the columns of table ``standing``, with empty cache keys."""
    at = to_epoch(report.at)
    # A failed scan leaves the last good certificate in the table as it was.
    leaf = report.certificate if report.good else None
    layer, reason = report.error or (None, None)
    return {
        "endpoint_id": key,
        "fingerprint": "",
        "memo": "",
        "recheck_at": None,
        "judged_at": None,
        "last_run_id": run_id,
        "last_attempt": at,
        "error_layer": layer,
        "error_reason": reason,
        # Only undetermined failures are counted; a determined one is a finding at once.
        "failing_since": at if report.undetermined else None,
        "failing_runs": 1 if report.undetermined else 0,
        "last_good": at if report.good else None,
        "leaf": leaf.sha256 if leaf else None,
        "not_after": to_epoch(leaf.not_after) if leaf and leaf.not_after else None,
        "issuer": leaf.issuer if leaf else None,
    }


def _observations(report: EndpointReport) -> dict[str, dict[str, Any]]:
    """Return address -> the columns of table ``observation``, of addresses that answered."""
    at = to_epoch(report.at)
    return {
        a.address: {
            "at": at,
            "chain": " ".join(a.chain),
            "leaf": a.chain[0],
            "tls_version": a.tls_version,
            "cipher": a.cipher,
            "group_name": a.group,
            "alpn": a.alpn,
            "ocsp": a.ocsp,
            "trusted": None if a.trusted is None else int(a.trusted),
            "public": None if a.public is None else int(a.public),
        }
        for a in report.addresses
        if a.seen
    }


def _proposal(changes: FindingChanges, at: int) -> dict[str, Any]:
    """Return changes of findings as they wait for the end of the run."""
    return {
        "at": at,
        "close": changes.closed,
        "open": [findings.columns_of(f) for f in changes.opened],
        "update": [[i, findings.columns_of(f)] for i, f in changes.updated],
    }
