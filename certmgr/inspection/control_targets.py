"""Control targets: sites that always answer, which show that the network of this machine works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certmgr.inspection.scan_job import ScanJob, ScanResult, ScanSetup
from certmgr.inspection.worker import scan_jobs
from inventory.targets import Target


def failed_control(setup: ScanSetup, controls: Sequence[Target]) -> Target | None:
    """Return the first control target that serves no certificate; None if all do.

    If one fails, the network of this machine is at fault, and no failure of an endpoint may become
    a finding.
    """
    # Without control targets, only many failures together reveal a fault of the network
    # (suspicion.py).
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
