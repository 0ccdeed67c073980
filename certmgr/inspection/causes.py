"""The causes of findings: what one action would fix. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from certmgr.inspection.server_down import NOT_CONNECTED, ServerDown
from certmgr.inspection.status import EndpointStatus, counted
from inventory.names import display, registered_domain
from inventory.targets import Target
from inventory.vocabulary import REISSUE, SEVERITY_ORDER, Acceptance, Actor, Finding, deciding

# What an action must change to fix a finding: a certificate, a name server, or something of the
# client. All other findings are fixed at a server.
_BY_CERTIFICATE = frozenset(
    {
        "certificate-expired",
        "certificate-expiring",
        "certificate-not-yet-valid",
        "san-missing",
        "self-signed",
        "untrusted-root",
        "root-expired",
        "profile-deviation",
        "verification-disputed",
        "ca-distrusted",
        "trust-ending",
        "certificate-malformed",
        "validity-too-long",
        "key-weak",
        "signature-weak",
        "sct-missing",
        "name-mismatch",
        "revoked",
        "revocation-unknown",
    }
)
_BY_NAME_SERVER = frozenset(
    {"name-not-found", "dns-failure", "foreign-address", "caa-mismatch", "dane-mismatch"}
)
_BY_CLIENT = frozenset(
    {"points-elsewhere", "address-refused", "client-certificate-required", "mixed-content"}
)


@dataclass(slots=True)
class Cause:
    """Findings that one action would fix.

    Attributes:
        kind: server, certificate, name server or client.
        location: The server, certificate, name server or client in words.
        server: The server of the inventory, if all are on one that it names.
        severity: The worst severity of the findings.
        severities: Code and severity of each finding.
        endpoints: The endpoints with such a finding.
        endpoint_ids: Their ids, in the same order.
        clients: The numbers of their clients.
        client: The client of the first endpoint.
        issuer: The issuer of the certificate of the first endpoint, as a distinguished name.
        not_after: The first end of the certificates of its endpoints, in seconds.
        example: A finding of the worst severity.
        down: The server that is down, if that is the cause.
        assigned: Who fixes it, and until when; each person once.
    """

    kind: str
    location: str
    code: str
    severity: str
    actor: str
    server: str | None
    client: str
    example: Finding
    severities: list[tuple[str, str]] = field(default_factory=list)
    endpoints: list[Target] = field(default_factory=list)
    endpoint_ids: list[int] = field(default_factory=list)
    clients: set[str] = field(default_factory=set)
    issuer: str | None = None
    not_after: int | None = None
    down: ServerDown | None = None
    assigned: list[tuple[str, datetime]] = field(default_factory=list)


def causes(
    statuses: Iterable[EndpointStatus],
    assignments: Sequence[Acceptance] = (),
    now: datetime | None = None,
) -> list[Cause]:
    """Group findings into causes. Pure.

    A server that is down is one cause, whichever finding its endpoints have for it.

    The worst severity comes first, and within it the cause with the most endpoints, then the
    certificate that ends first. The findings are those that
    :func:`certmgr.inspection.status.counted` counts.
    """
    by_key: dict[tuple[str, str, str, str], Cause] = {}
    for status in statuses:
        for finding in counted(status.findings):
            kind, location = fix_location(
                status.target,
                status.client,
                status.server,
                status.leaf,
                status.issuer,
                finding,
            )
            down = status.down if finding.code in NOT_CONNECTED else None
            # Two actors get two requests, so the same fault is a separate cause for each.
            key = (kind, location, finding.code, finding.actor)
            if down is not None:
                kind, location = "server", down.location
                key = (kind, location, "", "")
            cause = by_key.get(key)
            if cause is None:
                cause = by_key[key] = Cause(
                    kind=kind,
                    location=location,
                    code=finding.code,
                    severity=finding.severity,
                    actor=finding.actor,
                    server=status.server,
                    client=status.client,
                    example=finding,
                    issuer=status.issuer,
                    down=down,
                )
            _add_finding(cause, status, finding)
            if now is not None:
                _add_assignment(cause, status, finding, assignments, now)
    return sorted(
        by_key.values(),
        key=lambda c: (
            SEVERITY_ORDER[c.severity],
            -len(c.endpoints),
            c.code,
            inf if c.not_after is None else c.not_after,
            c.endpoints[0].key,
        ),
    )


def _add_finding(cause: Cause, status: EndpointStatus, finding: Finding) -> None:
    # The provider starts its server, even if a client buys the certificates.
    if cause.down is not None and finding.actor == Actor.PROVIDER:
        cause.actor = finding.actor
    cause.severities.append((finding.code, str(finding.severity)))
    cause.endpoints.append(status.target)
    cause.endpoint_ids.append(status.id)
    cause.clients.add(status.client)
    if status.not_after is not None:
        cause.not_after = min(status.not_after, cause.not_after or status.not_after)
    if cause.server != status.server:
        cause.server = None
    # The same code may be worse at another endpoint; the cause shows the worst.
    if SEVERITY_ORDER[finding.severity] < SEVERITY_ORDER[cause.severity]:
        cause.severity, cause.example = finding.severity, finding


def _add_assignment(
    cause: Cause,
    status: EndpointStatus,
    finding: Finding,
    assignments: Sequence[Acceptance],
    now: datetime,
) -> None:
    scope = (status.client_id, status.domain_id, status.id, now)
    last = deciding((a for a in assignments if a.covers(finding.code, *scope)), now)
    if last is not None and (entry := (last.by, last.until)) not in cause.assigned:
        cause.assigned.append(entry)


def fix_location(
    target: Target,
    client: str,
    server: str | None,
    leaf: str | None,
    issuer: str | None,
    finding: Finding,
) -> tuple[str, str]:
    """Return what must be changed to fix a finding.

    Returns:
        The kind (name server, client, certificate or server), and which one in words.
    """
    if finding.code in _BY_NAME_SERVER:
        return "name server", f"of {display(registered_domain(target.host))}"
    if finding.code in _BY_CLIENT:
        return "client", client
    # One certificate may be served by several servers; replacing it once fixes all of them.
    reissue = finding.evidence.get("variant") == REISSUE
    if (finding.code in _BY_CERTIFICATE or reissue) and leaf is not None:
        return "certificate", f"{leaf[:16]} of {issuer or 'unknown issuer'}"
    if server is not None:
        return "server", server
    # A server that the inventory does not name is identified by its addresses.
    return "server", ", ".join(finding.addresses[:3]) or display(target.host)
