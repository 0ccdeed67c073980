"""Scans of targets that the user named. They store nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

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


def scan_each(
    settings: Settings,
    options: ScanOptions,
    targets: list[Target],
    emit: Callable[[int, EndpointReport], None],
    issuers: tuple[bytes, ...] = (),
    *,
    clock: Clock = system_clock,
) -> None:
    """Scan the given targets; store nothing, and keep no report.

    The user chose the targets, so internal addresses are permitted.

    Args:
        settings: The configuration.
        options: The options of this scan.
        targets: The endpoints.
        emit: Called with the index of a target and its report, once per target, in any order.
        issuers: Intermediates that the inventory has stored, as DER.
        clock: Dates each observation.
    """

    def pass_on(result: ScanResult) -> None:
        if result.report is not None:
            emit(result.key, result.report)

    setup = setup_for(settings, options, guarded=False, clock=clock)
    setup.full, setup.issuers = True, issuers
    scan_jobs(setup, [ScanJob(i, t) for i, t in enumerate(targets)], pass_on)


def scan_targets(
    settings: Settings,
    options: ScanOptions,
    targets: list[Target],
    issuers: tuple[bytes, ...] = (),
    *,
    clock: Clock = system_clock,
) -> list[EndpointReport]:
    """Scan a few targets as :func:`scan_each` does, and return one report per target, in order."""
    reports: dict[int, EndpointReport] = {}
    scan_each(settings, options, targets, reports.__setitem__, issuers, clock=clock)
    return [reports[i] for i in sorted(reports)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeContext:
    """What a probe of one target works with.

    It is not a :class:`certmgr.config.context.Context`, because the inventory may be missing: then
    the target is probed as one of an unknown client.

    Attributes:
        settings: The configuration.
        database: The inventory; None if there is none.
        clock: Dates each observation.
    """

    settings: Settings
    database: Database | None
    clock: Clock

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        return self.clock()

    def frozen(self) -> Self:
        """Return a context whose clock stands still, so that all results have the same time."""
        now = self.now()
        return replace(self, clock=lambda: now)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetProbe:
    """One target as a browser would visit it, and what is known about it.

    Attributes:
        target: The endpoint.
        paths: Paths to visit in addition to the home page.
        purpose: The purpose of its domain.
        parties: Who is responsible for what; None if the inventory does not know the target.
        ever_good: Whether a certificate was ever observed.
        guarded: Whether internal addresses that the target's name points to are refused.
    """

    target: Target
    paths: tuple[str, ...]
    purpose: str
    parties: Parties | None = None
    ever_good: bool = False
    guarded: bool = False


def probe_target(context: ProbeContext, options: ScanOptions, probe: TargetProbe) -> EndpointReport:
    """Scan one target and its pages as a browser would; store nothing.

    Args:
        context: The configuration, the clock, and the inventory, which gives issuers and the
            addresses of servers.
        options: The options of this scan.
        probe: The target.
    """
    reports: list[EndpointReport] = []

    def emit(result: ScanResult) -> None:
        if result.report is not None:
            reports.append(result.report)

    setup = setup_for(context.settings, options, guarded=probe.guarded, clock=context.clock)
    setup.full = True
    if context.database is not None:
        with context.database.read() as conn:
            # With the stored issuers and servers, the findings are those of a scan of the
            # inventory.
            setup.issuers = tuple(certificates.issuers(conn))
            setup.servers = servers.all_addresses(conn)
    job = ScanJob(
        key=0,
        target=probe.target,
        parties=probe.parties,
        ever_good=probe.ever_good,
        purpose=probe.purpose,
        paths=probe.paths,
    )
    scan_jobs(setup, [job], emit)
    # A worker emits exactly one result per job, even after an internal error.
    return reports[0]
