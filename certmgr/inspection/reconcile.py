"""How a scan changes the open findings of an endpoint. Pure.

A failed probe does not disprove what it could not observe. The findings of a certificate stay open
while its address is silent, and on each silent address of several. An undetermined finding
describes the last probe only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from certmgr.checks.collector import failed_layers
from certmgr.inspection.report import EndpointReport
from inventory.finding_codes import LAYERS_NOT_SCANNED, Layer, layer_of
from inventory.vocabulary import SEVERITY_ORDER, Finding, Severity


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """An open finding as stored."""

    id: int
    finding: Finding


@dataclass(slots=True)
class FindingChanges:
    """Findings to open, to update and to close (by row id) at one endpoint."""

    opened: list[Finding] = field(default_factory=list)
    updated: list[tuple[int, Finding]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.opened or self.updated or self.closed)


# Findings that only a visit over HTTPS, or only one over HTTP, can disprove. A loop needs both.
_OVER_HTTPS = frozenset(
    {
        "mixed-content",
        "hsts-missing",
        "redirect-insecure",
        "redirect-loop",
        "client-certificate-required",
    }
)
# Faults of one URL: a visit over its scheme disproves them.
_OF_URL = frozenset({"redirect-broken", "answer-invalid", "page-missing"})
# Codes that a handshake gives too. With a URL in the evidence, they are about a page.
_OF_PAGE_OR_HANDSHAKE = frozenset({"too-large", "scanner-error", "client-certificate-required"})
_OVER_HTTP = frozenset(
    {
        "http-collects-secrets",
        "http-collects-input",
        "http-served",
        "redirect-missing",
        "redirect-loop",
    }
)


def _visit_is_conclusive(finding: Finding, address: str, report: EndpointReport) -> bool:
    """Return whether the visits of this scan can disprove a finding about pages at an address."""
    web, code = report.web, finding.code
    secure = str(finding.evidence.get("url")).startswith("https:")
    over_https = code in _OVER_HTTPS or (code in _OF_URL and secure)
    over_http = code in _OVER_HTTP or (code in _OF_URL and not secure)
    if web is None or address in web.skipped:
        return False
    if over_https and (address in web.unknown_secure or address not in web.secure):
        return False
    # Without an answer over HTTPS, the target of the missing redirect is unknown.
    if code == "redirect-missing" and address not in web.secure and address in report.silent:
        return False
    return not (over_http and address in web.unknown_plain)


def _remaining_addresses(open_finding: Finding, report: EndpointReport) -> tuple[str, ...] | None:
    """Return the addresses of an open finding that this scan cannot disprove.

    None: the finding is gone. An empty tuple: it stays as it is, with all its addresses.
    """
    layer = layer_of(open_finding.code, open_finding.evidence.get("source"))
    if open_finding.code in _OF_PAGE_OR_HANDSHAKE and "url" in open_finding.evidence:
        layer = Layer.HTTP
    if (
        layer is Layer.HTTP
        and report.web is None
        and (report.addresses or report.silent or not report.resolved)
    ):
        return ()  # only a visit disproves what a visit found
    if open_finding.severity == Severity.UNDETERMINED:
        if layer is Layer.HTTP and report.web is not None:
            # This machine has no route to a skipped address, so nothing new is known about it.
            return tuple(a for a in open_finding.addresses if a in report.web.skipped) or None
        return None
    # A check that failed neither confirms nor disproves what such checks found before.
    if layer in failed_layers(report.findings):
        return ()
    if not report.resolved or (open_finding.evidence.get("deep") and not report.deep):
        return ()  # only a deep scan disproves what a deep scan found
    if layer is Layer.HTTP and report.web is not None and not report.web.expected:
        return None  # no page is expected there any more
    if layer is Layer.DNS:
        return None
    resolved = {a.address: a for a in report.addresses}
    if not resolved:
        # The name has no address any more. Findings about the connection are gone with it, but
        # what is known about the certificate is not disproved.
        return None if layer in (Layer.TRANSPORT, Layer.HTTP) else ()
    if not open_finding.addresses:
        return None
    kept = []
    for address in open_finding.addresses:
        # One finding stands for all that a foreign address serves.
        if address in report.foreign:
            continue
        view = resolved.get(address)
        if view is None:
            # The name does not resolve to this address any more, so its findings are gone. An
            # address that was refused as internal was not probed, so its findings stay.
            if address in report.silent:
                kept.append(address)
            continue
        determined = view.seen or (layer is Layer.TRANSPORT and address not in report.silent)
        if layer is Layer.HTTP:
            determined = _visit_is_conclusive(open_finding, address, report)
        if not determined:
            kept.append(address)
    return tuple(kept) or None


def reconcile(known: Sequence[OpenFinding], report: EndpointReport) -> FindingChanges:
    """Return the changes that a report makes to the open findings of its endpoint.

    Args:
        known: All open findings of the endpoint.
        report: The result of the scan.
    """
    changes = FindingChanges()
    current = {f.code: f for f in report.findings}
    for open_finding in known:
        new = current.pop(open_finding.finding.code, None)
        layer = layer_of(open_finding.finding.code, open_finding.finding.evidence.get("source"))
        if layer in LAYERS_NOT_SCANNED:
            continue  # another job opened it, and closes it
        kept = _remaining_addresses(open_finding.finding, report)
        if new is None:
            if kept is None:
                changes.closed.append(open_finding.id)
            elif kept and kept != open_finding.finding.addresses:
                changes.updated.append(
                    (open_finding.id, replace(open_finding.finding, addresses=kept))
                )
            continue
        if kept:
            # Addresses that could not be checked keep the severity that was known for them.
            worse = min(new, open_finding.finding, key=lambda f: SEVERITY_ORDER[f.severity])
            new = replace(worse, addresses=tuple(dict.fromkeys((*new.addresses, *kept))))
        if _differs(open_finding.finding, new):
            changes.updated.append((open_finding.id, new))
    changes.opened = list(current.values())
    return changes


def _differs(a: Finding, b: Finding) -> bool:
    def facts(f: Finding) -> tuple[Any, ...]:
        return f.severity, f.actor, f.outcome, f.addresses, f.evidence

    return facts(a) != facts(b)
