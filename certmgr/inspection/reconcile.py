"""What a look changes among the open findings of an endpoint.

Pure.

A look that failed says nothing about what it could not see: a certificate's findings stay open
while the address is silent, also on the one silent address of several. What was undetermined speaks
of the last look only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from certmgr.checks.codes import ELSEWHERE, layer_of
from certmgr.inspection.report import EndpointReport
from inventory.vocabulary import SEVERITY_ORDER, Finding, Severity


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """An open finding as stored."""

    id: int
    finding: Finding


@dataclass(slots=True)
class FindingChanges:
    opened: list[Finding] = field(default_factory=list)
    updated: list[tuple[int, Finding]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.opened or self.updated or self.closed)


# What a visit over HTTPS alone shows, and what needs both.
_OVER_HTTPS = frozenset({"mixed-content", "hsts-missing", "redirect-insecure", "redirect-loop"})
_OVER_HTTP = frozenset(
    {
        "http-collects-secrets",
        "http-collects-input",
        "http-served",
        "redirect-missing",
        "redirect-loop",
    }
)


def _told(code: str, address: str, report: EndpointReport) -> bool:
    """Whether the visits of this look can say that a finding about pages is gone at an address."""
    web = report.web
    if web is None or address in web.skipped:
        return False
    if code in _OVER_HTTPS and (address in web.unknown_secure or address not in web.secure):
        return False
    if code == "redirect-missing" and address not in web.secure and address in report.silent:
        return False
    return not (code in _OVER_HTTP and address in web.unknown_plain)


def _still(open_finding: Finding, report: EndpointReport) -> tuple[str, ...] | None:
    """The addresses of an open finding about which this look cannot say that it is gone; None: it
    is gone altogether.

    An empty tuple: it stands as a whole.
    """
    layer = layer_of(open_finding.code, open_finding.evidence.get("source"))
    if open_finding.code == "too-large" and "url" in open_finding.evidence:
        layer = "http"  # a page, not a handshake
    if (
        layer == "http"
        and report.web is None
        and (report.addresses or report.silent or not report.resolved)
    ):
        return ()  # what only a visit sees is disproved by a visit
    if open_finding.severity == Severity.UNDETERMINED:
        if layer == "http" and report.web is not None:
            return tuple(a for a in open_finding.addresses if a in report.web.skipped) or None
        return None
    if not report.resolved or (open_finding.evidence.get("deep") and not report.deep):
        return ()  # what only a deep look sees is disproved by a deep look
    if layer == "http" and report.web is not None and not report.web.expected:
        return None  # no page is expected there any more
    if layer == "dns":
        return None
    resolved = {a.address: a for a in report.addresses}
    if not resolved:
        # The name is gone: what was known about the certificate stays, what was said about the
        # connection does not.
        return None if layer in ("transport", "http") else ()
    if not open_finding.addresses:
        return None
    kept = []
    for address in open_finding.addresses:
        view = resolved.get(address)
        if view is None:
            if address in report.silent:
                kept.append(address)
            continue
        determined = view.seen or (layer == "transport" and address not in report.silent)
        if layer == "http":
            determined = _told(open_finding.code, address, report)
        if not determined:
            kept.append(address)
    return tuple(kept) or None


def reconcile(known: Sequence[OpenFinding], report: EndpointReport) -> FindingChanges:
    changes = FindingChanges()
    current = {f.code: f for f in report.findings}
    for one in known:
        now = current.pop(one.finding.code, None)
        if layer_of(one.finding.code, one.finding.evidence.get("source")) in ELSEWHERE:
            continue  # known from elsewhere, and settled there
        kept = _still(one.finding, report)
        if now is None:
            if kept is None:
                changes.closed.append(one.id)
            elif kept and kept != one.finding.addresses:
                changes.updated.append((one.id, replace(one.finding, addresses=kept)))
            continue
        if kept:
            worse = min(now, one.finding, key=lambda f: SEVERITY_ORDER[f.severity])
            now = replace(worse, addresses=tuple(dict.fromkeys((*now.addresses, *kept))))
        if _differs(one.finding, now):
            changes.updated.append((one.id, now))
    changes.opened = list(current.values())
    return changes


def _differs(a: Finding, b: Finding) -> bool:
    def facts(f: Finding) -> tuple[Any, ...]:
        return f.severity, f.actor, f.outcome, f.addresses, f.evidence

    return facts(a) != facts(b)
