"""A fresh look at what somebody is about to be told.

What it shows is not stored: a scan does that; here it only keeps a message back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from certmgr.checks.codes import ELSEWHERE, layer_of
from certmgr.config.settings import Settings
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_run import ScanOptions, setup_for
from certmgr.inspection.worker import ScanJob, ScanResult, examine
from inventory.db.database import Database, to_epoch
from inventory.store import domains, endpoints, scan_results, servers
from inventory.targets import Target
from notifiers.pipeline.topic import Recheck, RecheckState, Topic, TopicKind

CHUNK = 200


def looker(
    database: Database, settings: Settings
) -> Callable[[Sequence[Topic]], dict[tuple[str, str], Recheck]]:
    """A function that looks at the endpoints of subjects, each once."""

    def look(subjects: Sequence[Topic]) -> dict[tuple[str, str], Recheck]:
        ids = sorted({s.endpoint_id for s in subjects if s.endpoint_id is not None})
        reports: dict[int, EndpointReport] = {}
        known: dict[str, int] = {}
        for start in range(0, len(ids), CHUNK):
            _examine(database, settings, ids[start : start + CHUNK], reports, known)
        found: dict[tuple[str, str], Recheck] = {}
        for subject in subjects:
            if subject.endpoint_id is None:
                found[subject.mark] = Recheck(
                    RecheckState.SAME, "a deadline, an order or a case is not looked at"
                )
            elif subject.endpoint_id not in reports:
                found[subject.mark] = Recheck(RecheckState.UNKNOWN, "its endpoint gave no result")
            else:
                found[subject.mark] = compare(subject, reports[subject.endpoint_id], known)
        return found

    return look


def _examine(
    database: Database,
    settings: Settings,
    ids: Sequence[int],
    reports: dict[int, EndpointReport],
    known: dict[str, int],
) -> None:
    setup = setup_for(settings, ScanOptions(), guarded=True, clock=database.clock)
    setup.full = True
    with database.read() as conn:
        setup.issuers, setup.servers = (
            tuple(scan_results.issuers(conn)),
            servers.all_addresses(conn),
        )
        rows = endpoints.visited(conn, ids)

    def names(client_id: int) -> frozenset[str]:
        with database.read() as conn:
            return domains.names_of_client(conn, client_id)

    def emit(result: ScanResult) -> None:
        if result.report is not None:
            reports[result.key] = result.report
            known.update(
                {c.sha256: c.not_after for c in result.certificates if c.not_after is not None}
            )

    jobs = [
        ScanJob(
            key=row["id"],
            target=Target(row["host"], row["port"], row["protocol"]),
            fixed=tuple((row["addresses"] or "").split()),
            client_id=row["client_id"],
            parties=domains.parties_of_row(row),
            history=None,
            ever_good=row["last_good"] is not None,
            purpose=row["purpose"],
            paths=tuple(row["paths"].split()),
        )
        for row in rows
    ]
    examine(setup, jobs, emit, names)


def compare(subject: Topic, report: EndpointReport, known: Mapping[str, int]) -> Recheck:
    """What the look says of the subject. ``known``: SHA-256 -> notAfter. Pure."""
    if subject.kind is TopicKind.COVER:
        return _cover(subject, report, known)
    if (
        layer_of(
            subject.code,
            subject.finding.evidence.get("source") if subject.finding is not None else None,
        )
        in ELSEWHERE
    ):
        return _elsewhere(subject, report)
    if any(f.code == subject.code for f in report.findings):
        return Recheck(RecheckState.SAME, f"seen again at {report.at:%Y-%m-%d %H:%M} UTC")
    if (
        report.undetermined
        or report.silent
        or any(f.severity == "undetermined" for f in report.findings)
    ):
        return Recheck(
            RecheckState.UNKNOWN, report.error[1] if report.error else "not every address answered"
        )
    return Recheck(
        RecheckState.GONE,
        f"not there any more at {report.at:%Y-%m-%d %H:%M} UTC; the next scan closes it",
    )


def _elsewhere(subject: Topic, report: EndpointReport) -> Recheck:
    """What no handshake shows (a CA's list, the DNS) still holds, as long as the certificate that
    it is about is served.
    """
    when = f"{report.at:%Y-%m-%d %H:%M} UTC"
    about = frozenset(
        subject.finding.evidence.get("certificates") or () if subject.finding is not None else ()
    )
    if not about:
        return Recheck(
            RecheckState.SAME, "a look at the server tells nothing of it; certmgr revocation does"
        )
    seen = [a for a in report.addresses if a.seen]
    if any(a.chain[0] in about for a in seen):
        return Recheck(RecheckState.SAME, f"the certificate is still served at {when}")
    if not seen or report.silent or subject.code != "revoked":
        return Recheck(
            RecheckState.UNKNOWN,
            f"the certificate was not seen at {when}; certmgr revocation will tell",
        )
    return Recheck(
        RecheckState.GONE, f"the certificate was replaced on every address, seen at {when}"
    )


def _cover(subject: Topic, report: EndpointReport, known: Mapping[str, int]) -> Recheck:
    seen = [a for a in report.addresses if a.seen]
    if not seen:
        return Recheck(
            RecheckState.UNKNOWN,
            report.error[1] if report.error else "no address showed a certificate",
        )
    end = to_epoch(subject.end) if subject.end is not None else 0
    old = [
        a.address for a in seen if a.chain[0] == subject.round or known.get(a.chain[0], 0) <= end
    ]
    new = [a for a in seen if a.address not in old]
    silent = [a for a in report.addresses if not a.seen and not a.no_route]
    when = f"{report.at:%Y-%m-%d %H:%M} UTC"
    if old and new:
        return Recheck(
            RecheckState.PARTIAL,
            f"replaced on {len(new)} of {len(seen)} addresses at {when}; not on"
            f" {', '.join(old[:4])}",
        )
    if old:
        return Recheck(RecheckState.SAME, f"still served at {when}")
    if silent:
        return Recheck(
            RecheckState.UNKNOWN,
            f"replaced where it answered, but {silent[0].address} did not answer",
        )
    successor = report.certificate
    words = (
        f"serial {successor.serial}, until {successor.not_after:%Y-%m-%d}"
        if successor and successor.not_after
        else "another certificate"
    )
    return Recheck(RecheckState.GONE, f"replaced on every address, seen at {when}: {words}")
