"""The endpoints of a whole scan run, of this process and of those that it resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from certmgr.cli.inspect.scan_document import ScannedEndpoint, ScannedFinding
from certmgr.cli.inspect.scan_spool import ScanSpool
from certmgr.config.context import Context
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_summary import ScanSummary
from certmgr.inspection.status import EndpointStatus
from certmgr.inspection.stored_reports import stored_reports
from certmgr.inspection.trust_ends import StoredTrust
from inventory.store import findings, proposals
from inventory.vocabulary import SEVERITY_ORDER, Finding

# Stored results are read for this many endpoints at a time.
CHUNK_SIZE = 500


def run_endpoints(
    context: Context, summary: ScanSummary, statuses: Sequence[EndpointStatus], spool: ScanSpool
) -> Iterator[ScannedEndpoint]:
    """Yield all endpoints of a run by their id, with their clients.

    What this process saw comes from ``spool``, and what an earlier process of the same run saw from
    the store. After a complete run, verdicts and findings are those of ``statuses``, so that every
    format reports the same. An endpoint that was retired during the run is left out, as in the
    status.
    """
    complete = summary.state == "complete"
    ordered = sorted(statuses, key=lambda s: s.id)
    # Only stored results need it, and to load it takes longer than to read a part of them.
    trust: StoredTrust | None = None
    for start in range(0, len(ordered), CHUNK_SIZE):
        part = ordered[start : start + CHUNK_SIZE]
        ids = [s.id for s in part]
        with context.read() as conn:
            found = _findings(conn, summary.run_id, ids)
            earlier = [key for key in ids if key not in spool]
            stored: Mapping[int, EndpointReport] = {}
            if earlier:
                trust = trust.on(conn) if trust else StoredTrust.of(conn, context.settings)
                stored = stored_reports(conn, trust, earlier, found)
        for status in part:
            endpoint = spool.get(status.id)
            if endpoint is None:
                # Its client may have been erased since the status was read.
                if (report := stored.get(status.id)) is None:
                    continue
                endpoint = replace(ScannedEndpoint.of(report), stored=True)
            if complete:
                yield _with_status(endpoint, status, found.get(status.id, ()))
            else:
                yield _of_client(endpoint, status)


def _of_client(endpoint: ScannedEndpoint, status: EndpointStatus) -> ScannedEndpoint:
    acceptances = {f.code: a for f, a in status.accepted}
    return endpoint.of_client(status.client, acceptances, status.planned)


def _with_status(
    endpoint: ScannedEndpoint, status: EndpointStatus, open_: Sequence[Finding]
) -> ScannedEndpoint:
    """Return an endpoint with its open findings, whichever part of the program opened them."""
    # The status knows more than the scan: of a server that is down, and of lineages.
    judged = {f.code: f for f in (*status.findings, *(f for f, _ in status.accepted))}
    shown = [judged.get(f.code, f) for f in open_]
    target = endpoint.parsed_target
    found = replace(endpoint, findings=[ScannedFinding.of(f, target) for f in shown])
    return replace(_of_client(found, status), verdict=str(status.verdict))


def _findings(conn: Connection, run_id: int, ids: Sequence[int]) -> Mapping[int, list[Finding]]:
    """Return the findings of endpoints, with what a run proposes that has not ended well."""
    proposed = proposals.proposals_of(conn, run_id, ids)
    found: dict[int, list[Finding]] = {}
    for key, rows in findings.open_findings(conn, ids).items():
        found[key] = [f for _, f in rows]
        if (changes := proposed.get(key)) is not None:
            updated, closed = dict(changes.updated), set(changes.closed)
            found[key] = [updated.get(i, f) for i, f in rows if i not in closed]
    for key, changes in proposed.items():
        found.setdefault(key, []).extend(changes.opened)
    for listed in found.values():
        listed.sort(key=lambda f: SEVERITY_ORDER[f.severity])
    return found
