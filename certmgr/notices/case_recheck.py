"""Whether what a case replaces was replaced already, by any party.

A client who renewed at 03:16 must not read at 07:50 that a new certificate is being prepared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from certmgr.cases.incident_progress import live_at_all, progress_of
from certmgr.inspection.report import EndpointReport
from certmgr.renewers.load import load_facts
from certmgr.x509.names import name_covers
from inventory.db.database import to_epoch
from inventory.records import CaseRecord, ListedEndpoint
from inventory.store import cases, endpoints, incidents
from inventory.vocabulary import CaseKind
from notifiers.pipeline.topic import Recheck, RecheckState, Topic, TopicKind

_SAME = RecheckState.SAME


@dataclass(frozen=True, slots=True)
class CaseBasis:
    """What the recheck of a case needs.

    Attributes:
        row: The case.
        endpoint_ids: The client's endpoints at the names of the case.
        recorded: Why the inventory shows that it was replaced: by a verified lineage, or by the
            progress of its incident. Empty if it does not.
    """

    row: CaseRecord
    endpoint_ids: tuple[int, ...]
    recorded: str = ""


def read_cases(
    conn: Connection, topics: Sequence[Topic], now: datetime
) -> dict[tuple[str, str], CaseBasis]:
    """Return what the rechecks of the open cases among the topics need, by mark."""
    marks = {cases.case_id_of(t.key): t.mark for t in topics if t.kind is TopicKind.CASE}
    if not marks:
        return {}
    rows = [r for r in cases.listing(conn, states=cases.OPEN) if r.id in marks]
    visited: dict[int, list[ListedEndpoint]] = {}
    for client_id in {r.client_id for r in rows}:
        visited[client_id] = [
            e for e in endpoints.listing(conn, client_id=client_id) if e.state == "active"
        ]
    recorded = _recorded(conn, rows, now)
    return {
        marks[r.id]: CaseBasis(
            row=r,
            endpoint_ids=tuple(
                e.id
                for e in visited[r.client_id]
                if any(n == e.host or name_covers(n, e.host) for n in r.names)
            ),
            recorded=recorded.get(r.id, ""),
        )
        for r in rows
    }


def _recorded(conn: Connection, rows: Sequence[CaseRecord], now: datetime) -> dict[int, str]:
    """Return the cases that the inventory shows as replaced, with the reason."""
    found: dict[int, str] = {}
    at = to_epoch(now)
    wanted = {r.incident_id for r in rows if r.incident_id is not None}
    for progress in progress_of(conn, [i for i in incidents.listing(conn) if i.id in wanted], at):
        # One case can hold several items of its incident. It is moot once all of them are done.
        of_case: dict[int, list[bool]] = {}
        for item in progress.items:
            if item.case_id is not None:
                of_case.setdefault(item.case_id, []).append(item.id in progress.done)
        reason = f"replaced: {progress.incident.reference} counts it as done"
        found |= {case_id: reason for case_id, done in of_case.items() if all(done)}
    # Only our lineages count below, so what scans learned about other automation is not needed.
    facts = load_facts(conn, now, learned=False)
    for row in rows:
        renewers = [facts.renewer(row.client_id, n) for n in row.names]
        # Only a lineage that renews every name now, and was verified since, makes the case moot.
        if row.id in found or not all(r.ours and not r.trouble for r in renewers):
            continue
        verified = [
            leaf
            for leaf in incidents.seen(conn, [row.client_id], row.opened_at)
            if leaf.verified and _is_successor(row, leaf.sha256, leaf.not_after, at)
        ]
        if live_at_all(row.names, verified):
            found[row.id] = f"replaced: the lineage {renewers[0].reference} was verified live"
    return found


def _is_successor(row: CaseRecord, sha256: str, not_after: int, now: int) -> bool:
    """Return whether a certificate replaces what the case replaces."""
    # The end of an incident is the time by which it must be replaced, and no end of a certificate.
    end = 0 if row.kind is CaseKind.INCIDENT else row.ends_at or 0
    return sha256 not in (row.replaces or ()) and not_after > max(now, end)


def compare_case(
    basis: CaseBasis,
    reports: Mapping[int, EndpointReport],
    ends: Mapping[str, int],
    now: datetime,
) -> Recheck:
    """Return the result of a recheck for an open case. Pure.

    A case is a step that a person entered: only the proof that it is moot stops its notice, and
    never a failed check.

    Args:
        basis: The case.
        reports: What its endpoints serve now, by id.
        ends: The end of each certificate by its SHA-256, in epoch seconds.
        now: The current time.
    """
    if not basis.row.replaces:
        return Recheck(_SAME, "the case replaces no certificate that is known")
    seen = [reports[i] for i in basis.endpoint_ids if i in reports]
    when = f"{now:%Y-%m-%d %H:%M} UTC"
    for report in seen:
        for address in report.addresses:
            leaf = address.chain[0] if address.seen else ""
            # One address with the old certificate is enough: the work is not finished, whatever
            # the inventory has recorded.
            if leaf and not _is_successor(basis.row, leaf, ends.get(leaf, 0), to_epoch(now)):
                return Recheck(_SAME, f"not replaced at {address.address}, checked at {when}")
    whole = bool(seen) and len(seen) == len(basis.endpoint_ids) and all(map(_is_good, seen))
    if whole:
        return Recheck(RecheckState.GONE, f"replaced on every address, checked at {when}")
    # A probe that failed does not contradict what was verified before.
    if basis.recorded:
        return Recheck(RecheckState.GONE, basis.recorded)
    return Recheck(_SAME, "not every address of its names could be checked")


def _is_good(report: EndpointReport) -> bool:
    """Return whether every address answered and visitors see no error."""
    # An address without a route from this machine proves nothing in either direction.
    silent = any(not a.seen and not a.no_route for a in report.addresses)
    return (
        any(a.seen for a in report.addresses)
        and not silent
        and not report.undetermined
        and not any(f.severity in ("critical", "undetermined") for f in report.findings)
    )
