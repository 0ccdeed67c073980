"""Open findings as topics. Pure."""

from __future__ import annotations

from certmgr.checks.actors import we_install
from certmgr.checks.folding import parent_of
from certmgr.inspection.causes import fix_location
from certmgr.inspection.server_down import NOT_CONNECTED, of_server
from certmgr.notices.basis import (
    TopicBasis,
    assignment_of,
    named_certificate,
    reason_to_suppress,
    target_of,
    utc_of,
)
from inventory.records import EndpointOwnership, ListedFinding
from inventory.store.certificate_ends import ServedLeaf
from inventory.vocabulary import Finding
from notifiers.pipeline.topic import FaultFacts, Topic
from notifiers.wording.scope import for_client, may_be_foreign

_DATE_CODES = frozenset({"certificate-expired", "certificate-expiring"})
NOTIFIED_SEVERITIES = ("critical", "high", "medium")
# In addition to critical findings, visitors notice these.
VISIBLE = frozenset(
    {
        "name-not-found",
        "unreachable",
        "connection-failed",
        "https-missing",
        "redirect-loop",
        "redirect-broken",
        "answer-invalid",
        "handshake-failed",
    }
)


def faults(basis: TopicBasis, covered: set[int | None]) -> list[Topic]:
    """Return the topics of open findings.

    Args:
        covered: The endpoints that have a cover topic.
    """
    topics = []
    for endpoint_id, rows in basis.open.items():
        place = basis.places.get(endpoint_id)
        if place is None:
            continue
        codes = {r.code for r in rows}
        for row in rows:
            # The cover topic already has the dates of the certificate.
            if (
                row.severity in NOTIFIED_SEVERITIES
                and row.actor != "none"
                and not (endpoint_id in covered and row.code in _DATE_CODES)
            ):
                topics.append(_fault(basis, endpoint_id, place, row, codes))
    return topics


def _fault(
    basis: TopicBasis,
    endpoint_id: int,
    place: EndpointOwnership,
    row: ListedFinding,
    codes: set[str],
) -> Topic:
    code = row.code
    raw = Finding(code, row.severity, tuple(row.addresses), row.evidence, row.actor)
    # A server that is down for several names is one fault of the server, and not one per name.
    down = basis.down.get(endpoint_id) if code in NOT_CONNECTED else None
    if down is not None:
        raw = of_server(raw, place.parties)
    finding = for_client(
        raw,
        basis.names.get(place.client_id, frozenset()),
        codes=codes,
        owners=basis.owners,
        client_id=place.client_id,
    )
    served = basis.served.get(endpoint_id, ())
    leaf = served[0] if served else None
    kind, where = fix_location(
        target_of(place),
        place.client,
        place.server,
        leaf.sha256 if leaf else None,
        leaf.issuer if leaf else None,
        raw,
    )
    assigned = assignment_of(place, code, basis, endpoint_id)
    return Topic(
        key=f"fault:{endpoint_id}:{code}:{place.client_id}",
        revision=str(row.id),
        client_id=place.client_id,
        client=place.client,
        domain_id=place.domain_id,
        target=target_of(place),
        severity=str(row.severity),
        actor=raw.actor,
        code=code,
        opened=utc_of(row.opened_at),
        facts=_facts(place, row, codes, finding, leaf),
        # Browsers show an error for critical findings, so visitors notice them.
        visible=row.severity == "critical" or code in VISIBLE,
        assigned=None if assigned is None else (assigned.by, assigned.until),
        quiet=assigned is not None and not assigned.informs,
        suppress_reason=reason_to_suppress(place, code, basis, endpoint_id),
        cause=f"{kind} {where} {code}" if down is None else f"server {down.location} down",
        tags=place.tags,
    )


def _facts(
    place: EndpointOwnership,
    row: ListedFinding,
    codes: set[str],
    finding: Finding,
    leaf: ServedLeaf | None,
) -> FaultFacts:
    """Return the facts of a fault.

    Args:
        place: The endpoint.
        row: The stored finding.
        codes: All codes of the endpoint.
        finding: The finding as the client may read it.
        leaf: The served certificate; None if none was seen.
    """
    # A fault that another one causes is resolved with it.
    parent = parent_of(row.code, codes)
    return FaultFacts(
        endpoint_id=place.id,
        server_id=place.server_id,
        finding=finding,
        # The served certificate may belong to another client, whose data no message shows.
        certificate=named_certificate(leaf)
        if leaf is not None and not may_be_foreign(codes)
        else None,
        parent=f"fault:{place.id}:{parent}:{place.client_id}" if parent else "",
        run=row.opened_run or 0,
        # A fault that a single run has seen may be a passing one.
        confirmed=row.opened_run is None or row.opened_run < (place.last_run_id or 0),
        we_install=we_install(place.parties, "points-elsewhere" in codes),
    )
