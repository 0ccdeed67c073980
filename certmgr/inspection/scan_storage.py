"""What a scan run writes: the facts of each batch, and at its end the changes of findings.

Facts take effect at once. Findings change in one transaction at the end of the run, so that a run
that turns out to be suspect changes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certmgr.checks.zone_judgement import without_withheld
from certmgr.inspection.reconcile import OpenFinding, reconcile
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_job import ScanResult
from certmgr.inspection.scan_rows import (
    CERTIFICATE_FIELDS,
    cache_keys,
    endpoint_status_row,
    memo,
    observations,
    proposal,
)
from certmgr.inspection.suspicion import POSITIVE_CODES
from certmgr.inspection.zone_results import conclude_zones
from inventory.db.database import Tx, to_epoch
from inventory.store import (
    certificates,
    findings,
    page_observations,
    proposals,
    runs,
    scan_results,
)
from inventory.vocabulary import ZONE_DIFFERENCE


def store_results(
    tx: Tx, run_id: int, results: list[ScanResult], *, visits: bool, compared: bool = False
) -> None:
    """Store the facts of a batch, and propose the changes of its findings.

    Args:
        tx: The transaction, in which either all of the batch is stored or nothing.
        run_id: The run.
        results: The results, in any order.
        visits: Whether the run visits pages.
        compared: Whether other zones visit the same endpoints in this run.
    """
    # Results arrive in any order; rows are written in a fixed one.
    results.sort(key=lambda r: r.key)
    _store_unchanged(tx, run_id, [r for r in results if r.report is None], visits=visits)
    changed = [(r, r.report) for r in results if r.report is not None]
    if changed:
        _store_changed(tx, run_id, changed, compared=compared)


def _store_unchanged(tx: Tx, run_id: int, results: list[ScanResult], *, visits: bool) -> None:
    """Store that endpoints were seen again, which costs two updates each, and no new row."""
    seen = [(r.key, to_epoch(r.at), r.good, r.undetermined) for r in results]
    scan_results.seen_again(tx, run_id, seen)
    if visits:
        page_observations.seen_again(tx, [(key, at) for key, at, good, _ in seen if good])
    scan_results.update_cache_keys(tx, [cache_keys(r) for r in results if r.evidence_key])


def _store_changed(
    tx: Tx, run_id: int, changed: Sequence[tuple[ScanResult, EndpointReport]], *, compared: bool
) -> None:
    """Store what was seen, and propose the changes of findings."""
    certificates.add(
        tx,
        [
            {f: getattr(c, f) for f in CERTIFICATE_FIELDS}
            for r, _ in changed
            for c in r.certificates
        ],
    )
    # Read in the same transaction in which the proposals are stored.
    known = findings.open_findings(tx.conn, [r.key for r, _ in changed])
    proposed, status_rows = [], []
    for result, report in changed:
        open_ = known.get(result.key, ())
        shown = report
        # One zone alone cannot make a fault of the site of what others disproved.
        if not compared and any(f.code == ZONE_DIFFERENCE for _, f in open_):
            kept = without_withheld(report.findings, [f for _, f in open_])
            shown = replace(report, findings=kept)
        changes = reconcile([OpenFinding(i, f) for i, f in open_], shown)
        row = endpoint_status_row(result.key, run_id, report)
        # The cache keys of an endpoint are stored only together with its findings. While the
        # changes of its findings wait for the end of the run, the keys wait with them. If the
        # run dies, the next run judges the endpoint again.
        if changes:
            proposed.append((cache_keys(result), proposal(changes, to_epoch(report.at))))
        else:
            row |= {
                "fingerprint": result.fingerprint,
                "memo": memo(result),
                "recheck_at": result.recheck_at,
                "judged_at": tx.at,
            }
        status_rows.append(row)
    scan_results.write_endpoint_status(tx, status_rows)
    scan_results.write_observations(tx, {r.key: observations(report) for r, report in changed})
    _store_pages(tx, [report for _, report in changed], [r.key for r, _ in changed])
    proposals.propose(tx, run_id, proposed)


def _store_pages(tx: Tx, reports: Sequence[EndpointReport], keys: Sequence[int]) -> None:
    """Store what the visits saw. An endpoint without visits keeps what was stored before."""
    pages = {
        key: (to_epoch(report.at), report.web)
        for key, report in zip(keys, reports, strict=True)
        if report.web is not None
    }
    page_observations.write(
        tx,
        {
            k: None if w.document is None else (at, w.digest, w.document)
            for k, (at, w) in pages.items()
        },
    )


def conclude_run(
    tx: Tx, run_id: int, *, state: str, reason: str | None, checked: int, undetermined: int
) -> tuple[int, int]:
    """End the run, and return how many findings were opened and closed.

    Args:
        tx: The transaction.
        run_id: The run.
        state: complete, incomplete or suspect.
        reason: Why it is not complete.
        checked: The number of endpoints that were attempted.
        undetermined: The number of those of which it is unknown what they serve.
    """
    opened = closed = 0
    if state == "complete":
        conclude_zones(tx, run_id)
    # Only a complete run changes findings; a suspect one opens what a handshake showed.
    if state == "complete":
        # In the transaction that ends the run: a run is never complete without its findings.
        opened, closed = proposals.apply_proposals(tx, run_id)
    elif state == "suspect":
        # What was seen is true, whatever else failed. Nothing closes, and the cache keys do not
        # move, so that the next run judges these endpoints again.
        opened = proposals.open_positive(tx, run_id, POSITIVE_CODES)
    runs.finish(tx, run_id, state, reason, checked, undetermined)
    return opened, closed
