"""Findings about DNS, the connection and the TLS handshake.

A transport failure never becomes a verdict about trust. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certmgr.checks.codes import CODES
from certmgr.net.addresses import Network, within
from certmgr.scan.evidence import AddressEvidence, Evidence, FailureKind
from certmgr.scan.openssl_names import BROWSER_CIPHER_NAMES
from inventory.vocabulary import Finding

UNREACHABLE_RUNS = 3
UNREACHABLE_AFTER = timedelta(hours=24)
_CLIENT_CERTIFICATE_ALERTS = frozenset({40, 41, 42, 46, 48, 49, 116})


@dataclass(frozen=True, slots=True)
class FailureHistory:
    """How long an endpoint could not be told: since when, and in how many runs whose control
    targets answered, this one not counted.
    """

    failing_since: datetime | None = None
    failing_runs: int = 0


def finding(
    code: str, addresses: Sequence[str] = (), severity: str | None = None, **evidence: Any
) -> Finding:
    return Finding(code, severity or CODES[code].severity, tuple(addresses), evidence)


def dns_findings(evidence: Evidence) -> Iterator[Finding]:
    resolution = evidence.resolution
    if resolution.status in ("nxdomain", "nodata"):
        yield finding("name-not-found", answer=resolution.reason)
    elif resolution.status in ("servfail", "timeout"):
        yield finding("dns-failure", answer=resolution.reason)
    if resolution.partial:
        yield finding(
            "dns-failure", answer=f"one of A and AAAA was not answered: {resolution.partial}"
        )
    if resolution.refused:
        addresses = [a for a, _ in resolution.refused]
        yield finding("address-refused", addresses, why=dict(resolution.refused))


def pointing_findings(
    evidence: Evidence, networks: Sequence[Network], servers: frozenset[str]
) -> Iterator[Finding]:
    """``points-elsewhere`` where the provider's networks or servers are known and none of the
    addresses is among them.
    """
    if not (networks or servers) or evidence.resolution.status not in ("ok", "fixed"):
        return
    addresses = [*evidence.resolution.addresses, *[a for a, _ in evidence.resolution.refused]]
    if addresses and not any(a in servers or within(a, networks) for a in addresses):
        yield finding("points-elsewhere", addresses)


def transport_findings(evidence: Evidence, address: AddressEvidence) -> Iterator[Finding]:
    """What one address said before there was a certificate to judge, and how TLS was negotiated."""
    failure = address.failure
    at = (address.address,)
    if failure is None:
        yield from _negotiated(address)
        return
    target = evidence.target
    said: dict[str, Any] = {"reason": failure.reason, "looks": address.looks}
    match failure.kind:
        case FailureKind.NO_ROUTE:
            return
        case FailureKind.TIMEOUT | FailureKind.UNREACHABLE:
            yield finding("connection-timeout", at, **said)
        case FailureKind.REFUSED:
            yield finding(
                "https-missing" if target.protocol == "https" else "connection-failed", at, **said
            )
        case FailureKind.STARTTLS:
            yield finding("starttls-missing", at, **said)
        case FailureKind.NOT_TLS:
            yield finding("not-tls", at, **said)
        case FailureKind.TOO_LARGE:
            yield finding("too-large", at, **said)
        case FailureKind.MALFORMED:
            yield finding("certificate-malformed", at, **said)
        case FailureKind.LOCAL:
            yield finding("scanner-error", at, **said)
        case FailureKind.RESET | FailureKind.CLOSED if failure.layer in ("connect", "starttls"):
            yield finding("connection-failed", at, **said)
        case _:
            if address.client_certificate and failure.alert in _CLIENT_CERTIFICATE_ALERTS:
                yield finding("client-certificate-required", at, alert=failure.alert)
            else:
                if failure.alert is not None:
                    said["alert"] = failure.alert
                yield finding("handshake-failed", at, None, **said)


def _negotiated(address: AddressEvidence) -> Iterator[Finding]:
    at = (address.address,)
    if address.tls_version in ("TLSv1", "TLSv1.1", "SSLv3"):
        yield finding("tls-legacy-only", at, version=address.tls_version)
    elif address.legacy_needed and address.cipher not in BROWSER_CIPHER_NAMES:
        yield finding("ciphers-obsolete", at, cipher=address.cipher)
    if address.legacy and address.tls_version not in address.legacy:
        yield finding("tls-legacy-offered", at, versions=list(address.legacy), deep=True)


def no_route(evidence: Evidence) -> bool:
    """Whether this machine had no way to any of the addresses."""
    found = evidence.addresses
    return bool(found) and all(
        a.failure is not None and a.failure.kind is FailureKind.NO_ROUTE for a in found
    )


def confirmed_unreachable(
    findings: Sequence[Finding], history: FailureHistory | None, now: datetime
) -> list[Finding]:
    """A time-out or SERVFAIL in three runs over 24 hours, on every address, is ``unreachable``;
    until then nobody can tell.
    """
    silent = [f for f in findings if f.code in ("connection-timeout", "dns-failure")]
    if not silent or history is None or history.failing_since is None:
        return list(findings)
    if (
        history.failing_runs + 1 < UNREACHABLE_RUNS
        or now - history.failing_since < UNREACHABLE_AFTER
    ):
        return list(findings)
    rest = [f for f in findings if f not in silent]
    addresses = tuple(dict.fromkeys(a for f in silent for a in f.addresses))
    since = history.failing_since.isoformat()
    return [
        *rest,
        finding(
            "unreachable",
            addresses,
            since=since,
            runs=history.failing_runs + 1,
            reason=silent[0].evidence.get("reason", ""),
        ),
    ]
