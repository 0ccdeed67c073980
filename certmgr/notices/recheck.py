"""Recheck the topics that clients are about to be notified of.

The result is not stored, since only scans change findings. It only decides whether a message is
sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from certmgr.config.context import Context
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_job import ScanJob, ScanResult
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.inspection.worker import scan_jobs
from certmgr.notices.case_recheck import compare_case, read_cases
from inventory.db.database import to_epoch
from inventory.finding_codes import LAYERS_NOT_SCANNED, layer_of
from inventory.store import certificates, domains, endpoints, servers, zones
from inventory.targets import Target
from inventory.zone_names import DEFAULT_ZONE
from notifiers.pipeline.topic import Recheck, RecheckState, Topic, TopicKind

CHUNK = 200


def rechecker(
    context: Context,
) -> Callable[[Sequence[Topic]], dict[tuple[str, str], Recheck]]:
    """Return a function that rechecks the endpoints of topics, each once."""

    def recheck(topics: Sequence[Topic]) -> dict[tuple[str, str], Recheck]:
        # Several topics can share an endpoint, which is checked once.
        now = context.now()
        with context.read() as conn:
            open_cases = read_cases(conn, topics, now)
            elsewhere = _of_other_zones(conn)
        wanted = {s.endpoint_id for s in topics if s.endpoint_id is not None} | {
            i for basis in open_cases.values() for i in basis.endpoint_ids
        }
        ids = sorted(wanted - elsewhere.keys())
        reports: dict[int, EndpointReport] = {}
        known: dict[str, int] = {}
        for start in range(0, len(ids), CHUNK):
            _examine(context, ids[start : start + CHUNK], reports, known)
        rechecks: dict[tuple[str, str], Recheck] = {}
        for topic in topics:
            if topic.mark in open_cases:
                rechecks[topic.mark] = compare_case(open_cases[topic.mark], reports, known, now)
            elif topic.endpoint_id is None:
                rechecks[topic.mark] = Recheck(
                    RecheckState.SAME, "deadlines, purchases and ended cases are not rechecked"
                )
            elif topic.endpoint_id in elsewhere:
                # From here, an internal name does not exist, which disproves no fault.
                zone = elsewhere[topic.endpoint_id]
                rechecks[topic.mark] = Recheck(
                    RecheckState.SAME, f"the last scan decides, since only the zone {zone} sees it"
                )
            elif topic.endpoint_id not in reports:
                rechecks[topic.mark] = Recheck(
                    RecheckState.UNKNOWN, "the recheck of its endpoint gave no result"
                )
            else:
                rechecks[topic.mark] = compare(topic, reports[topic.endpoint_id], known)
        return rechecks

    return recheck


def _of_other_zones(conn: Connection) -> dict[int, str]:
    """Return the endpoints whose state another zone than that of this process gives."""
    return {
        key: visiting[0]
        for key, visiting in zones.of_endpoints(conn, None, None).items()
        if visiting[0] != DEFAULT_ZONE
    }


def _examine(
    context: Context,
    ids: Sequence[int],
    reports: dict[int, EndpointReport],
    known: dict[str, int],
) -> None:
    setup = setup_for(context.settings, ScanOptions(), guarded=True, clock=context.clock)
    setup.full = True  # results known from the last scan must not be skipped
    with context.read() as conn:
        setup.issuers, setup.servers = (
            tuple(certificates.issuers(conn)),
            servers.all_addresses(conn),
        )
        # What was retired since the topics were gathered is not visited, and stays undetermined.
        rows = endpoints.visited(conn, ids)

    def names(client_id: int) -> frozenset[str]:
        with context.read() as conn:
            return domains.names_of_client(conn, client_id)

    def emit(result: ScanResult) -> None:
        if result.report is not None:
            reports[result.key] = result.report
            known.update(
                {c.sha256: c.not_after for c in result.certificates if c.not_after is not None}
            )

    jobs = [
        ScanJob(
            key=row.id,
            target=Target(row.host, row.port, row.protocol),
            fixed=row.addresses or (),
            client_id=row.client_id,
            parties=row.parties,
            history=None,
            ever_good=row.last_good is not None,
            purpose=row.purpose,
            paths=row.paths,
        )
        for row in rows
    ]
    scan_jobs(setup, jobs, emit, names)


def compare(topic: Topic, report: EndpointReport, known: Mapping[str, int]) -> Recheck:
    """Return the result of a recheck for a topic. Pure.

    Args:
        known: The end of each certificate by its SHA-256, in seconds.
    """
    if topic.kind is TopicKind.COVER:
        return _cover(topic, report, known)
    if (
        layer_of(
            topic.code,
            topic.finding.evidence.get("source") if topic.finding is not None else None,
        )
        in LAYERS_NOT_SCANNED
    ):
        return _elsewhere(topic, report)
    if any(f.code == topic.code for f in report.findings):
        return Recheck(RecheckState.SAME, f"found again at {report.at:%Y-%m-%d %H:%M} UTC")
    # Only a complete result proves that a fault is gone.
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
        f"no longer found at {report.at:%Y-%m-%d %H:%M} UTC; the next scan closes it",
    )


def _elsewhere(topic: Topic, report: EndpointReport) -> Recheck:
    """Return the result for a topic that no handshake shows, such as a CA's list or the DNS.

    It is unchanged as long as the certificate concerned is served.
    """
    when = f"{report.at:%Y-%m-%d %H:%M} UTC"
    about = frozenset(
        topic.finding.evidence.get("certificates") or () if topic.finding is not None else ()
    )
    # Without a certificate in the evidence, a connection cannot disprove it.
    if not about:
        return Recheck(
            RecheckState.SAME, "a connection to the server cannot show it; certmgr revocation can"
        )
    seen = [a for a in report.addresses if a.seen and a.address not in report.foreign]
    if any(a.chain[0] in about for a in seen):
        return Recheck(RecheckState.SAME, f"the certificate is still served at {when}")
    # A new certificate disproves a revocation, but not a record in the DNS.
    if not seen or report.silent or topic.code != "revoked":
        return Recheck(
            RecheckState.UNKNOWN,
            f"the certificate was not served at {when}; certmgr revocation decides",
        )
    return Recheck(
        RecheckState.GONE, f"the certificate was replaced on every address, checked at {when}"
    )


def _cover(topic: Topic, report: EndpointReport, known: Mapping[str, int]) -> Recheck:
    # What a foreign address serves is not the certificate of the endpoint.
    addresses = [a for a in report.addresses if a.address not in report.foreign]
    seen = [a for a in addresses if a.seen]
    if not seen:
        return Recheck(
            RecheckState.UNKNOWN,
            report.error[1] if report.error else "no address showed a certificate",
        )
    # A certificate that ends no later is not a replacement.
    end = to_epoch(topic.end) if topic.end is not None else 0
    old = [
        a.address for a in seen if a.chain[0] == topic.revision or known.get(a.chain[0], 0) <= end
    ]
    new = [a for a in seen if a.address not in old]
    # An address that this machine cannot reach at all does not count as silent.
    silent = [a for a in addresses if not a.seen and not a.no_route]
    when = f"{report.at:%Y-%m-%d %H:%M} UTC"
    # The client has renewed, but the installation is not complete.
    if old and new:
        return Recheck(
            RecheckState.PARTIAL,
            f"replaced on {len(new)} of {len(seen)} addresses at {when}; not on"
            f" {', '.join(old[:4])}",
        )
    if old:
        return Recheck(RecheckState.SAME, f"still served at {when}")
    # A silent address may still serve the old certificate.
    if silent:
        return Recheck(
            RecheckState.UNKNOWN,
            f"replaced on the addresses that answered, but {silent[0].address} did not answer",
        )
    successor = report.certificate
    description = (
        f"serial {successor.serial}, until {successor.not_after:%Y-%m-%d}"
        if successor and successor.not_after
        else "another certificate"
    )
    return Recheck(
        RecheckState.GONE, f"replaced on every address, checked at {when}: {description}"
    )
