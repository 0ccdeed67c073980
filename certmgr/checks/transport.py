"""Findings about DNS, the connection and the TLS handshake. Pure.

A transport failure never becomes a verdict about trust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certmgr.checks.refused_offer import late_alert, refused_offer_findings
from certmgr.net.addresses import Network, within
from certmgr.scan import handshake_reasons
from certmgr.scan.evidence import AddressEvidence, Evidence, FailureKind
from inventory.certificates import Certificate, parse
from inventory.der import outline
from inventory.finding_codes import CODES
from inventory.vocabulary import Finding, Severity

# Clients learn that a site is down only after both. One run does not show whether the server or our
# network is at fault, and several runs within an hour meet the same maintenance.
UNREACHABLE_RUNS = 3
UNREACHABLE_AFTER = timedelta(hours=24)
# Only 116 (certificate_required, RFC 8446 6.2) is specific. Before TLS 1.3, servers refuse a
# missing client certificate with any of the others.
_CLIENT_CERTIFICATE_ALERTS = frozenset({40, 41, 42, 46, 48, 49, 116})
_UNREADABLE = "it cannot be read"  # completes the text of certificate-malformed


@dataclass(frozen=True, slots=True)
class FailureHistory:
    """The failures of an endpoint in earlier runs.

    Attributes:
        failing_since: The first failure without a success since.
        failing_runs: The number of failed runs whose control targets answered, without this one.
    """

    failing_since: datetime | None = None
    failing_runs: int = 0


def finding(
    code: str, addresses: Sequence[str] = (), severity: str | None = None, **evidence: Any
) -> Finding:
    """Return a finding with the usual severity of its code."""
    return Finding(code, severity or CODES[code].severity, tuple(addresses), evidence)


def dns_findings(evidence: Evidence) -> Iterator[Finding]:
    """Yield findings about the DNS."""
    resolution = evidence.resolution
    if resolution.status in ("nxdomain", "nodata"):
        yield finding("name-not-found", answer=resolution.reason)
    elif resolution.status in ("servfail", "timeout"):
        yield finding("dns-failure", answer=resolution.reason)
    # Visitors with the other version of IP may meet a server that was not probed.
    if resolution.partial:
        yield finding(
            "dns-failure", answer=f"one of the A and AAAA queries failed: {resolution.partial}"
        )
    if resolution.refused:
        addresses = [a for a, _ in resolution.refused]
        yield finding("address-refused", addresses, why=dict(resolution.refused))


def pointing_findings(
    evidence: Evidence, networks: Sequence[Network], servers: frozenset[str]
) -> Iterator[Finding]:
    """Yield ``points-elsewhere`` if no address belongs to the provider.

    The provider's networks or servers must be known.
    """
    # Without the provider's addresses, no address can be judged as foreign.
    if not (networks or servers) or evidence.resolution.status not in ("ok", "fixed"):
        return
    addresses = [*evidence.resolution.addresses, *[a for a, _ in evidence.resolution.refused]]
    if addresses and not any(a in servers or within(a, networks) for a in addresses):
        yield finding("points-elsewhere", addresses)


def transport_findings(
    evidence: Evidence, address: AddressEvidence, parse: Callable[[bytes], Certificate]
) -> Iterator[Finding]:
    """Yield findings about the connection to one address and its TLS negotiation."""
    failure = address.failure
    at = (address.address,)
    if failure is None:
        yield from refused_offer_findings(evidence.target, address, parse)
        yield from _offered(address)
        return
    target = evidence.target
    evidence_values: dict[str, Any] = {"reason": failure.reason, "looks": address.probes}
    match failure.kind:
        case FailureKind.NO_ROUTE:
            # A problem of this machine; judge.py reports it once if it affects all addresses.
            return
        case FailureKind.TIMEOUT | FailureKind.UNREACHABLE:
            yield finding("connection-timeout", at, **evidence_values)
        # A refusal is a definite answer: nothing listens on the port, or a firewall rejects it.
        case FailureKind.REFUSED:
            yield finding(
                "https-missing" if target.protocol == "https" else "connection-failed",
                at,
                **evidence_values,
            )
        case FailureKind.STARTTLS:
            yield finding("starttls-missing", at, **evidence_values)
        # The server did not let us ask for TLS, so whether others get it is unknown.
        case FailureKind.STARTTLS_UNKNOWN:
            yield finding("starttls-unknown", at, **evidence_values)
        case FailureKind.NOT_TLS:
            yield finding("not-tls", at, **evidence_values)
        case FailureKind.TOO_LARGE:
            yield finding("too-large", at, **evidence_values)
        case FailureKind.MALFORMED:
            yield _unreadable_chain(address, evidence_values)
        case FailureKind.LOCAL:
            yield finding("scanner-error", at, **evidence_values)
        # The handshake cannot be completed from here, and Chrome completes it.
        case FailureKind.EMPTY_RECORD:
            yield finding(
                "handshake-failed",
                at,
                Severity.UNDETERMINED,
                kind=str(failure.kind),
                **evidence_values,
            )
        # Before TLS begins, a closed connection is no result about TLS.
        case FailureKind.RESET | FailureKind.CLOSED if failure.layer in ("connect", "starttls"):
            # Browsers show an error page; other clients may connect again.
            severity = Severity.CRITICAL if target.protocol == "https" else None
            yield finding("connection-failed", at, severity, **evidence_values)
        case _:
            # The server works, but only for clients with a certificate: not a fault.
            if address.client_certificate and failure.alert in _CLIENT_CERTIFICATE_ALERTS:
                yield finding("client-certificate-required", at, alert=failure.alert)
            else:
                if failure.alert is not None:
                    evidence_values["alert"] = failure.alert
                    name = handshake_reasons.alert_name(failure.alert)
                    evidence_values["reason"] = {handshake_reasons.ALERT: name}
                    evidence_values |= late_alert(failure)
                elif failure.reason == handshake_reasons.DOWNGRADED:
                    evidence_values["browser_error"] = "ERR_TLS13_DOWNGRADE_DETECTED"
                elif failure.reason == handshake_reasons.OTHER_VERSION and not failure.late:
                    # Such as SSL 3.0, for which current programs have no code.
                    evidence_values["browser_error"] = "ERR_SSL_VERSION_OR_CIPHER_MISMATCH"
                yield finding(
                    "handshake-failed", at, None, kind=str(failure.kind), **evidence_values
                )


def unreadable_rule(der: bytes) -> str:
    """Return the kind of rule (browser_rules.py) that a leaf breaks which cannot be parsed."""
    try:
        outline(der)
    except ValueError:
        return "outline"
    return "format"


def _unreadable_chain(address: AddressEvidence, evidence_values: dict[str, Any]) -> Finding:
    """Return the finding about a chain that the TLS library cannot parse.

    Browsers ignore a certificate of the CA that cannot be parsed, if the path does not need it. So
    only an unreadable leaf is critical here; the path is judged separately.
    """
    at = (address.address,)
    evidence_values = evidence_values | {"reason": _UNREADABLE}
    if address.chain and parse(address.chain[0]).parsed is not None:
        return finding("certificate-malformed", at, Severity.HIGH, **evidence_values)
    rule = unreadable_rule(address.chain[0]) if address.chain else "outline"
    return finding("certificate-malformed", at, rule=rule, **evidence_values)


def _offered(address: AddressEvidence) -> Iterator[Finding]:
    """Yield findings about what a server offers in addition, which a deep scan finds."""
    at = (address.address,)
    if address.legacy and address.tls_version not in address.legacy:
        yield finding("tls-legacy-offered", at, versions=list(address.legacy), deep=True)
    # Recorded traffic can be decrypted later without it. Browsers do not require it yet.
    if address.post_quantum is False:
        yield finding("post-quantum-missing", at, group=address.group, deep=True)


def has_no_route(evidence: Evidence) -> bool:
    """Return whether this machine had no route to any of the addresses."""
    address_evidence = evidence.addresses
    return bool(address_evidence) and all(
        a.failure is not None and a.failure.kind is FailureKind.NO_ROUTE for a in address_evidence
    )


def confirmed_unreachable(
    findings: Sequence[Finding], history: FailureHistory | None, now: datetime
) -> list[Finding]:
    """Replace time-outs by ``unreachable`` if they are confirmed.

    A time-out or SERVFAIL counts as confirmed after three runs over 24 hours, on every address.
    Before that, the result is undetermined.
    """
    silent = [f for f in findings if f.code in ("connection-timeout", "dns-failure")]
    # One run cannot distinguish a server that is down from a network problem of this machine.
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
