"""Scans of targets that the user named. They store nothing."""

from __future__ import annotations

from certmgr.config.settings import Settings
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_job import ScanJob, ScanResult
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.inspection.worker import scan_jobs
from inventory.clock import Clock, system_clock
from inventory.db.database import Database
from inventory.store import certificates, servers
from inventory.targets import Target
from inventory.vocabulary import Parties


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
    guarded: bool = False,
    clock: Clock = system_clock,
) -> EndpointReport:
    """Scan one target and its pages as a browser would; store nothing.

    Args:
        settings: The configuration.
        options: The options of this scan.
        target: The endpoint.
        paths: Paths to visit in addition to the home page.
        parties: Who is responsible for what; None if the inventory does not know the target.
        purpose: The purpose of its domain.
        database: Gives issuers and the addresses of servers; None: there is no inventory.
        ever_good: Whether a certificate was ever observed.
        guarded: Whether internal addresses that the target's name points to are refused.
        clock: Dates each observation.
    """
    reports: list[EndpointReport] = []

    def emit(result: ScanResult) -> None:
        if result.report is not None:
            reports.append(result.report)

    setup = setup_for(settings, options, guarded=guarded, clock=clock)
    setup.full = True
    if database is not None:
        with database.read() as conn:
            # With the stored issuers and servers, the findings are those of a scan of the
            # inventory.
            setup.issuers, setup.servers = (
                tuple(certificates.issuers(conn)),
                servers.all_addresses(conn),
            )
    scan_jobs(
        setup,
        [ScanJob(0, target, parties=parties, ever_good=ever_good, purpose=purpose, paths=paths)],
        emit,
    )
    # A worker emits exactly one result per job, even after an internal error.
    return reports[0]
