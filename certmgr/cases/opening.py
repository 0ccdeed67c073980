"""The periodic run of cases: it opens, verifies and reopens them automatically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certmgr.cases import incident_progress, installation, new_case
from certmgr.cases.due_cases import due_cases, superseded
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction
from certmgr.inspection.zone_checks import Overrides
from certmgr.x509.names import name_covers
from inventory.errors import CertmgrError
from inventory.records import CaseRecord
from inventory.store import cases, findings, jobs
from inventory.vocabulary import CaseState, VerificationState
from notifiers.wording.cases import OLD_CERTIFICATE_SERVED

# Each case opens in a separate transaction under the lock of this job. A process that dies in
# between leaves open cases, and names with an open case are skipped by the next run.
JOB = "cases"


@dataclass(slots=True)
class OpeningResult:
    """The result of one run.

    Attributes:
        opened: References of the opened cases.
        closed: References of the closed cases.
        reopened: References of the reopened cases.
        problems: Errors, as texts. An error of one case does not stop the others.
    """

    opened: list[str]
    closed: list[str]
    reopened: list[str]
    problems: list[str]


def run(service: CaseService, overrides: Overrides | None = None) -> OpeningResult:
    """Open due cases, verify waiting ones, and reopen cases whose old certificate is served again.

    Only one run per database is active at a time.

    Args:
        service: The service for cases.
        overrides: (host, port) -> addresses to probe instead of those of the resolvers.

    Raises:
        Busy: Another run is active.
    """
    result = OpeningResult([], [], [], [])
    with jobs.alone(service.context.database, JOB):
        for due in due_cases(service.context):
            try:
                result.opened.append(
                    new_case.open_case(
                        service,
                        due.client,
                        due.names,
                        due.options,
                        text=f"opened automatically: {due.reason}",
                    ).reference
                )
            except CertmgrError as error:
                result.problems.append(f"client {due.client}: {error}")
        _verify_waiting(service, overrides or {}, result)
        _reopen_if_old_certificate_is_served(service, result)
        incident_progress.reopen_returned(service.context)
        # After the verifications, which may have resolved the last item of an incident.
        incident_progress.close_resolved(service.context)
        # The last write: a run that died before it does not count as a success.
        with service.context.write() as tx:
            jobs.succeeded(tx, JOB)
    return result


def awaiting_verification(rows: Sequence[CaseRecord], now: datetime) -> list[CaseRecord]:
    """Return the cases that wait for their verification.

    These are installed cases, and cases whose window is over: the administrator may have installed
    the certificate without a report. The function is pure.
    """
    at = now.timestamp()
    return [
        r
        for r in rows
        if r.state in (CaseState.INSTALLED, CaseState.LIVE, CaseState.REOPENED)
        or (r.state == CaseState.WINDOW and r.window_end is not None and r.window_end <= at)
    ]


def _verify_waiting(service: CaseService, overrides: Overrides, result: OpeningResult) -> None:
    """Verify all cases that wait for it."""
    with service.context.read() as conn:
        rows = awaiting_verification(cases.listing(conn, states=cases.OPEN), service.now)
    for row in rows:
        try:
            # A case that was reopened before a certificate was received has nothing to verify.
            if row.state == CaseState.REOPENED and not installation.expected_certificates(
                service, row
            ):
                continue
            after, verification = installation.verify_case(service, row.reference, overrides)
        except CertmgrError as error:
            result.problems.append(f"{row.reference}: {error}")
            continue
        if after.state == CaseState.CLOSED and verification.state is VerificationState.LIVE:
            result.closed.append(row.reference)


def _reopen_if_old_certificate_is_served(service: CaseService, result: OpeningResult) -> None:
    """Reopen closed cases if a scan found a certificate that they had replaced."""
    with service.context.read() as conn:
        unexpected = [f for f in findings.listing(conn) if f.code == "unexpected-certificate"]
        if not unexpected:
            return
        closed = [r for r in cases.listing(conn, states=("closed",)) if r.replaces]
        later_cases = superseded(closed)
    for row in closed:
        # A later case is responsible for these names.
        if row.id in later_cases:
            continue
        old = set(row.replaces or ())
        # Findings from before the verification describe the state that the case changed.
        matching = [
            f
            for f in unexpected
            if f.client == row.client
            and old & set(f.evidence.get("sha256", ()))
            and any(name_covers(n, f.host) for n in row.names)
            and f.opened_at >= (row.live_at or 0)
        ]
        if not matching:
            continue
        addresses = dict.fromkeys(a for f in matching for a in f.addresses)
        detail = (
            "the old certificate is served again (unexpected-certificate) at"
            f" {', '.join(addresses)} of {matching[0].host}"
        )
        try:
            reopened = service.end(
                row.reference, CaseAction.REOPEN, OLD_CERTIFICATE_SERVED, detail=detail[:1000]
            )
            result.reopened.append(reopened.reference)
        except CertmgrError as error:
            result.problems.append(f"{row.reference}: {error}")
