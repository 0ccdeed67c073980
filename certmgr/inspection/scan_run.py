"""One survey of the inventory: endpoints -> evidence -> findings -> store.

The scanning processes are forked first, then the lock is taken: a child must not inherit it. Each
batch of facts commits on its own; findings change in one transaction at the end, and only when the
run is neither suspect nor cut short.
"""

from __future__ import annotations

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
from certmgr.inspection.worker import ScanJob, ScanResult, ScanSetup, examine
from certmgr.net.addresses import networks
from certmgr.scan.dial import DialLimits
from certmgr.scan.page_fetcher import WebOptions
from certmgr.x509.trust import TrustStore
from inventory.clock import Clock, system_clock
from inventory.db.database import Database, Tx, from_epoch, to_epoch
from inventory.errors import CertmgrError
from inventory.store import (
    cases,
    clients,
    domains,
    endpoints,
    lineages,
    page_observations,
    runs,
    scan_results,
    servers,
)
from inventory.targets import Target, parse
from inventory.vocabulary import Parties

# Below this many endpoints the processes would cost more than they bring.
SMALL = 64
UNDETERMINED_PERCENT = 20.0
CHUNK = 1000


@dataclass(slots=True)
class ScanOptions:
    """What one call of ``scan`` asks for beyond the configuration."""

    client: str | None = None
    tag: str | None = None
    deep: bool = False
    full: bool = False  # hand every report to ``on_report``, changed or not
    overrides: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    ca_files: tuple[str, ...] = ()
    accept_suspect: bool = False
    timeout: float | None = None
    connect_timeout: float | None = None
    concurrency: int | None = None
    cache: bool = True
    http: bool = True  # ask plain HTTP too, where the configuration does
    http_port: int | None = None
    always_http: bool = False  # also where the configuration leaves HTTP out


@dataclass(slots=True)
class ScanSummary:
    """How a run went. ``state``: complete, incomplete or suspect, with the reason."""

    run_id: int
    state: str
    reason: str | None
    planned: int
    looked: int
    undetermined: int
    opened: int
    closed: int
    started_at: datetime
    finished_at: datetime
    seconds: float
    no_route: frozenset[int] = frozenset()

    @property
    def too_undetermined(self) -> bool:
        return self.looked > 0 and 100.0 * self.undetermined / self.looked > UNDETERMINED_PERCENT


def setup_for(
    settings: Settings, options: ScanOptions, *, guarded: bool, clock: Clock = system_clock
) -> ScanSetup:
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
        fetch_issuers=settings.trust.fetch_issuers,
        resolvers=settings.scan.resolvers,
        allowed=(*networks(settings.network.allow, "[network] allow"), *provider),
        provider=provider,
        overrides=options.overrides,
        dns_timeout=min(2.0, limits.timeout / 3),
        web=_web(settings, options),
        clock=clock,
    )


def _web(settings: Settings, options: ScanOptions) -> WebOptions | None:
    http = settings.http
    if not (options.always_http or (options.http and http.enabled)):
        return None
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
    """Looks at what is given and stores nothing.

    In the order of ``targets``. Addresses are the user's own choice.

    ``issuers``: intermediates that the inventory knows, as DER.
    """
    found: dict[int, EndpointReport] = {}

    def emit(result: ScanResult) -> None:
        if result.report is not None:
            found[result.key] = result.report

    setup = setup_for(settings, options, guarded=False, clock=clock)
    setup.full, setup.issuers = True, issuers
    examine(setup, [ScanJob(i, t) for i, t in enumerate(targets)], emit)
    return [found[i] for i in sorted(found)]


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
    """One target as a visitor meets it, with what the inventory says of it; stores nothing.

    The target is the user's own choice.
    """
    found: list[EndpointReport] = []

    def emit(result: ScanResult) -> None:
        if result.report is not None:
            found.append(result.report)

    setup = setup_for(settings, options, guarded=False, clock=clock)
    setup.full = True
    if database is not None:
        with database.read() as conn:
            setup.issuers, setup.servers = (
                tuple(scan_results.issuers(conn)),
                servers.all_addresses(conn),
            )
    examine(
        setup,
        [ScanJob(0, target, parties=parties, ever_good=ever_good, purpose=purpose, paths=paths)],
        emit,
    )
    return found[0]


def _robot(row: Mapping[str, Any]) -> bool:
    """Whether a panel or CDN renews by itself there: then nothing is expected."""
    parties = domains.parties_of_row(row)
    return (parties.renews or parties.buys) in ("panel", "cdn")


def _jobs(
    rows: list[Mapping[str, Any]],
    remembered: bool,
    expected: Mapping[int, frozenset[str]],
    now: int,
) -> list[ScanJob]:
    made = []
    for row in rows:
        history = None
        if row["failing_since"] is not None:
            history = FailureHistory(from_epoch(row["failing_since"]), row["failing_runs"])
        made.append(
            ScanJob(
                key=row["id"],
                target=Target(row["host"], row["port"], row["protocol"]),
                fixed=tuple((row["addresses"] or "").split()),
                client_id=row["client_id"],
                parties=domains.parties_of_row(row),
                history=history,
                ever_good=row["last_good"] is not None,
                was_good=bool(row["good"]),
                fingerprint=row["fingerprint"] or "",
                memo=(row["memo"] or "") if remembered and (row["recheck_at"] or 0) > now else "",
                purpose=row["purpose"],
                paths=tuple(row["paths"].split()),
                expected=frozenset() if _robot(row) else expected.get(row["id"], frozenset()),
            )
        )
    return made


class ScanRun:
    """One run.

    ``progress``: called with (looked, planned) after each batch; ``on_report``: with each report
    that was sent.
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
        self.looked = self.undetermined = self.was_good = self.fell = 0
        self.no_route: frozenset[int] = frozenset()
        self.run_id = 0
        self.visits = False
        self.handed = 0
        self.expected: Mapping[int, frozenset[str]] = {}

    def run(self) -> ScanSummary:
        started, begun = self.database.clock(), time.monotonic()
        with self.database.read() as conn:
            client_id = (
                clients.find(conn, self.options.client)["id"] if self.options.client else None
            )
            planned = endpoints.count_visited(conn, client_id, self.options.tag)
            endpoints.require_some(planned, self.options.client, self.options.tag)
            own_servers = servers.all_addresses(conn)
            self.expected = expectations(
                [*cases.expected(conn), *lineages.expected(conn)],
                partial(cases.places, conn),
                to_epoch(started),
            )
        setup = setup_for(self.settings, self.options, guarded=True, clock=self.database.clock)
        setup.servers = own_servers
        self.visits = setup.web is not None
        controls = [parse(text) for text in self.settings.scan.controls]
        processes = self.settings.scan.processes or os.cpu_count() or 1
        if setup.web is not None and setup.web.per_address:
            processes = min(
                processes, setup.web.per_address
            )  # each process visits an address by itself: together no more than allowed
        pool = None
        TrustStore.load(
            setup.store, setup.ca_files
        )  # says what is wrong with it before anything is started
        if planned > SMALL:
            self.database.close()
            pool = Pool(setup, processes, self._names)
        try:
            with runs.exclusive(self.database):
                with self.database.write() as tx:
                    self.run_id = runs.start(tx, self._scope(), planned)
                try:
                    state, reason = self._survey(setup, pool, planned, client_id, controls)
                except (
                    Exception
                ):  # whatever it is, the run must not stay marked as running; then it is said
                    self._finish("incomplete", "an error in certmgr", planned, started, begun)
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

    def _survey(
        self,
        setup: ScanSetup,
        pool: Any,
        planned: int,
        client_id: int | None,
        controls: list[Target],
    ) -> tuple[str, str | None]:
        """The state of the run, and why where it is not complete.

        Whatever goes wrong, the run does not stay marked as running.
        """
        try:
            return self._judged(setup, pool, planned, client_id, controls)
        except KeyboardInterrupt:
            return "incomplete", "it was interrupted"
        except CertmgrError as error:
            return "incomplete", str(error)

    def _judged(
        self,
        setup: ScanSetup,
        pool: Any,
        planned: int,
        client_id: int | None,
        controls: list[Target],
    ) -> tuple[str, str | None]:
        if (failed := self._failed_control(setup, controls)) is not None:
            return "suspect", f"the control target {failed} failed before the run"
        with self.database.read() as conn:
            known = scan_results.issuers(conn)
        if pool is not None:
            pool.run(self._chunks(client_id), lambda found: self._handle(found, planned), known)
        else:
            setup.issuers = tuple(known)
            for chunk in self._chunks(client_id):
                found: list[ScanResult] = []
                examine(setup, chunk, found.append, self._names)
                self._handle(found, planned)
        if self.looked < self.handed:
            return (
                "incomplete",
                f"{self.handed - self.looked} of {self.handed} endpoints gave no result",
            )
        if (failed := self._failed_control(setup, controls)) is not None:
            return "suspect", f"the control target {failed} failed after the run"
        share = 100.0 * self.fell / self.was_good if self.was_good else 0.0
        if (
            not self.options.accept_suspect
            and share > self.settings.scan.suspect_percent
            and self.fell >= self.settings.scan.suspect_least
        ):
            return (
                "suspect",
                (
                    f"{self.fell} of {self.was_good} endpoints that were good failed together"
                    f" ({share:.0f}%)"
                ),
            )
        return "complete", None

    def _failed_control(self, setup: ScanSetup, controls: list[Target]) -> Target | None:
        if not controls:
            return None
        bad: list[Target] = []

        def emit(result: ScanResult) -> None:
            if not result.good:
                bad.append(controls[result.key])

        examine(
            replace(setup, guarded=False, full=False),
            [ScanJob(i, t) for i, t in enumerate(controls)],
            emit,
        )
        return bad[0] if bad else None

    def _chunks(self, client_id: int | None) -> Iterator[list[ScanJob]]:
        """Each chunk in a separate read, so that no snapshot is held for the length of the run."""
        with self.database.read() as conn:
            ids = endpoints.visited_ids(conn, client_id, self.options.tag)
        if self.visits:
            # Names of one machine often follow each other: mixed, none of them waits long for its
            # turn at that address.
            random.Random(self.run_id).shuffle(ids)  # noqa: S311 - an order, no secret
        for start in range(0, len(ids), CHUNK):
            with self.database.read() as conn:
                rows = endpoints.visited(conn, ids[start : start + CHUNK])
            self.handed += len(rows)
            yield _jobs(rows, self.options.cache, self.expected, to_epoch(self.database.clock()))

    # -- storing

    def _handle(self, found: list[ScanResult], planned: int) -> None:
        if not found:
            return
        with self.database.write() as tx:
            self._store(tx, found)
        for result in found:
            self.looked += 1
            self.no_route |= result.no_route
            self.undetermined += result.undetermined
            self.was_good += result.was_good
            self.fell += result.was_good and not result.good
            if self.on_report is not None and result.report is not None:
                self.on_report(result.key, result.report)
        if self.progress is not None:
            self.progress(self.looked, planned)

    def _store(self, tx: Tx, found: list[ScanResult]) -> None:
        found.sort(key=lambda r: r.key)
        unchanged = [
            (r.key, to_epoch(r.at), r.good, r.undetermined) for r in found if r.report is None
        ]
        scan_results.seen_again(tx, self.run_id, unchanged)
        if self.visits:
            page_observations.seen_again(tx, [(key, at) for key, at, good, _ in unchanged if good])
        scan_results.move_marks(tx, [_marks(r) for r in found if r.report is None and r.memo])
        changed = [(r, r.report) for r in found if r.report is not None]
        if not changed:
            return
        scan_results.add_certificates(
            tx,
            [{f: getattr(c, f) for f in _CERTIFICATE} for r, _ in changed for c in r.certificates],
        )
        known = scan_results.open_findings(tx.conn, [r.key for r, _ in changed])
        proposals, standings = [], []
        for result, report in changed:
            changes = reconcile([OpenFinding(i, f) for i, f in known.get(result.key, ())], report)
            row = _standing(result.key, self.run_id, report)
            if changes:
                proposals.append((_marks(result), _proposal(changes, to_epoch(report.at))))
            else:
                row |= {
                    "fingerprint": result.fingerprint,
                    "memo": result.memo,
                    "recheck_at": result.recheck_at,
                    "judged_at": tx.at,
                }
            standings.append(row)
        scan_results.write_standings(tx, standings)
        scan_results.write_spans(tx, {r.key: _spans(report) for r, report in changed})
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
        with self.database.write() as tx:
            if state == "complete":
                opened, closed = scan_results.apply_proposals(tx, self.run_id)
            runs.finish(tx, self.run_id, state, reason, self.looked, self.undetermined)
        return ScanSummary(
            run_id=self.run_id,
            state=state,
            reason=reason,
            planned=planned,
            looked=self.looked,
            undetermined=self.undetermined,
            opened=opened,
            closed=closed,
            started_at=started,
            finished_at=self.database.clock(),
            seconds=time.monotonic() - begun,
            no_route=self.no_route,
        )


_CERTIFICATE = tuple(f.name for f in fields(CertificateRow))


def _marks(result: ScanResult) -> scan_results.Marks:
    return result.key, result.fingerprint, result.memo, result.recheck_at


def _standing(key: int, run_id: int, report: EndpointReport) -> dict[str, Any]:
    at = to_epoch(report.at)
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
        "failing_since": at if report.undetermined else None,
        "failing_runs": 1 if report.undetermined else 0,
        "last_good": at if report.good else None,
        "leaf": leaf.sha256 if leaf else None,
        "not_after": to_epoch(leaf.not_after) if leaf and leaf.not_after else None,
        "issuer": leaf.issuer if leaf else None,
    }


def _spans(report: EndpointReport) -> dict[str, dict[str, Any]]:
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
    return {
        "at": at,
        "close": changes.closed,
        "open": [scan_results.columns_of(f) for f in changes.opened],
        "update": [[i, scan_results.columns_of(f)] for i, f in changes.updated],
    }
