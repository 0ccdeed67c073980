"""Endpoints of the database as jobs of a scan, and its results as rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from certmgr.checks.transport import FailureHistory
from certmgr.inspection.reconcile import FindingChanges
from certmgr.inspection.report import CertificateRow, EndpointReport
from certmgr.inspection.scan_job import ScanJob, ScanResult
from certmgr.renewers.renewer import RenewalFacts
from inventory.db.database import from_epoch, to_epoch
from inventory.records import VisitedEndpoint
from inventory.store import scan_results
from inventory.store.proposals import ProposedChanges
from inventory.targets import Target

CERTIFICATE_FIELDS = tuple(f.name for f in fields(CertificateRow))


def cache_keys(result: ScanResult) -> scan_results.CacheKeys:
    """Return what the next scan of the endpoint is compared with."""
    return scan_results.CacheKeys(result.key, result.fingerprint, memo(result), result.recheck_at)


def memo(result: ScanResult) -> str:
    """Return the key of the evidence, and on a further line what its pages contain."""
    return "\n".join(filter(None, (result.evidence_key, result.pages)))


def endpoint_status_row(key: int, run_id: int, report: EndpointReport) -> dict[str, Any]:
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


def observations(report: EndpointReport) -> dict[str, dict[str, Any]]:
    """Return address -> the columns of table ``observation``, of addresses that answered."""
    at = to_epoch(report.at)
    return {
        a.address: {
            "at": at,
            "chain": a.chain,
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


def proposal(changes: FindingChanges, at: int) -> ProposedChanges:
    """Return changes of findings as they wait for the end of the run."""
    return ProposedChanges(
        at=at,
        opened=tuple(changes.opened),
        updated=tuple(changes.updated),
        closed=tuple(changes.closed),
    )


def _renewed_by_automation(row: VisitedEndpoint) -> bool:
    """Return whether a panel or CDN renews automatically there.

    It replaces certificates at any time, so no certificate is expected at such an endpoint.
    """
    parties = row.parties
    return (parties.renews or parties.buys) in ("panel", "cdn")


def jobs_of(
    rows: list[VisitedEndpoint],
    use_cache: bool,
    expected: Mapping[int, frozenset[str]],
    now: int,
    renewals: RenewalFacts,
) -> list[ScanJob]:
    """Return a batch of endpoints as jobs.

    Args:
        rows: The endpoints.
        use_cache: Whether evidence that did not change is left out.
        expected: The certificates that each endpoint should serve.
        now: The current time in epoch seconds.
        renewals: The lineages, whose names we renew whatever is recorded of them.
    """
    jobs = []
    for row in rows:
        history = None
        # After several failed runs, a time-out becomes a finding of its endpoint.
        if row.failing_since is not None:
            history = FailureHistory(from_epoch(row.failing_since), row.failing_runs or 0)
        key, _, pages = (row.memo or "").partition("\n")
        jobs.append(
            ScanJob(
                key=row.id,
                target=Target(row.host, row.port, row.protocol),
                fixed=row.addresses or (),
                client_id=row.client_id,
                parties=renewals.parties(row.client_id, row.host, row.parties),
                history=history,
                ever_good=row.last_good is not None,
                was_good=bool(row.good),
                fingerprint=row.fingerprint or "",
                # After this time the same evidence may give other findings, such as an expiry.
                evidence_key=key if use_cache and (row.recheck_at or 0) > now else "",
                recheck_at=row.recheck_at,
                pages=pages if use_cache else "",
                purpose=row.purpose,
                paths=row.paths,
                expected=frozenset()
                if _renewed_by_automation(row)
                else expected.get(row.id, frozenset()),
            )
        )
    return jobs
