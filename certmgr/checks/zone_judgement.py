"""What several zones saw of one endpoint: what holds for the site, and what only some see. Pure.

A fault that all zones see is a fault of the site. One that only some see may be a geo block, a
route, or a content network, and is staff's to find out: a client must not read that the site is
down while it answers elsewhere. A zone that could not check something abstains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from certmgr.checks.transport import finding
from inventory.finding_codes import layer_of
from inventory.vocabulary import SEVERITY_ORDER, ZONE_DIFFERENCE, Finding, Severity

# What an endpoint shows to a zone that it does not serve. In another zone it may answer.
NOT_REACHED = frozenset(
    {
        "name-not-found",
        "dns-failure",
        "address-refused",
        "connection-timeout",
        "unreachable",
        "connection-failed",
        "https-missing",
        "not-tls",
        "starttls-missing",
        "starttls-unknown",
        "handshake-failed",
        "client-certificate-required",
        "too-large",
    }
)
_COMPARED = (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM)
# The kinds of differences, from the worst, with the usual severity of each.
REACH, VERDICT, CERTIFICATE, DNS = "reach", "verdict", "certificate", "dns"
_SEVERITIES = {REACH: Severity.HIGH, CERTIFICATE: Severity.LOW, DNS: Severity.INFO}
_MAX_CODES = 10


@dataclass(frozen=True, slots=True)
class ZoneSight:
    """What one zone saw of an endpoint in a run. Its control targets answered.

    Attributes:
        zone: The zone.
        first: Whether its results are the state of the endpoint.
        good: Whether it saw a certificate.
        error: Why not.
        addresses: The addresses in its DNS.
        unrouted: Those of them to which it has no route.
        leaves: SHA-256 of the leaves that it saw.
        findings: Its findings.
    """

    zone: str
    first: bool
    good: bool
    error: str = ""
    addresses: tuple[str, ...] = ()
    unrouted: tuple[str, ...] = ()
    leaves: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()

    @property
    def undetermined_layers(self) -> frozenset[str]:
        """The layers of which this zone could not determine everything."""
        return frozenset(
            layer_of(f.code, f.evidence.get("source"))
            for f in self.findings
            if f.severity == Severity.UNDETERMINED
        )


@dataclass(frozen=True, slots=True)
class ZoneJudgement:
    """What the views of all zones mean.

    Attributes:
        withheld: Codes of findings of the first zone that do not hold for the site.
        difference: What only some zones see; None if they agree.
    """

    withheld: frozenset[str] = frozenset()
    difference: Finding | None = None


@dataclass(slots=True)
class _Differences:
    """What was found to differ: kind -> (zones that see it, zones that do not, details)."""

    kinds: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    codes: dict[str, Severity] = field(default_factory=dict)
    withheld: set[str] = field(default_factory=set)
    reason: str = ""


def judge_zones(sights: Sequence[ZoneSight]) -> ZoneJudgement | None:
    """Judge what several zones saw of one endpoint in one run.

    Args:
        sights: One per zone. Zones whose control targets failed, or that had no worker, are not
            among them.

    Returns:
        None if nothing can be compared: a single zone is left, or the first one is missing.
    """
    first = next((s for s in sights if s.first), None)
    if first is None or len(sights) < 2:
        return None
    ordered = [first, *sorted((s for s in sights if not s.first), key=lambda s: s.zone)]
    found = _Differences()
    good = [s for s in ordered if s.good]
    if good and len(good) < len(ordered):
        _compare_reach(ordered, good, found)
    if len(good) > 1:
        _compare_codes(good, found)
        _compare_served(good, found)
    if not found.kinds:
        return ZoneJudgement()
    return ZoneJudgement(frozenset(found.withheld), _finding(ordered, found))


def _compare_reach(
    ordered: Sequence[ZoneSight], good: Sequence[ZoneSight], found: _Differences
) -> None:
    missing = [s for s in ordered if not s.good]
    found.kinds[REACH] = ([s.zone for s in good], [s.zone for s in missing])
    found.reason = next((s.error for s in missing if s.error), "")
    # The site answers somewhere, so that it is not down.
    if not ordered[0].good:
        found.withheld |= {f.code for f in ordered[0].findings if f.code in NOT_REACHED}


def _compare_codes(good: Sequence[ZoneSight], found: _Differences) -> None:
    """Compare the faults that the zones saw. Remarks may differ without any meaning."""
    worst: dict[str, Finding] = {}
    for sight in good:
        for entry in sight.findings:
            if entry.severity in _COMPARED:
                before = worst.get(entry.code)
                if before is None or _rank(entry) < _rank(before):
                    worst[entry.code] = entry
    for code, entry in worst.items():
        seeing = [s for s in good if any(f.code == code for f in s.findings)]
        contradicting = [s for s in good if s not in seeing and _checked(s, entry)]
        if not contradicting:
            continue
        found.codes[code] = Severity(entry.severity)
        seen, missing = found.kinds.setdefault(VERDICT, ([], []))
        seen += [s.zone for s in seeing if s.zone not in seen]
        missing += [s.zone for s in contradicting if s.zone not in missing]
        if seeing[0].first:
            found.withheld.add(code)


def _checked(sight: ZoneSight, entry: Finding) -> bool:
    """Return whether a zone without a finding disproves it."""
    if layer_of(entry.code, entry.evidence.get("source")) in sight.undetermined_layers:
        return False
    # Without a route to the address, the zone knows nothing of what is wrong there.
    return not entry.addresses or not set(entry.addresses) <= set(sight.unrouted)


def _compare_served(good: Sequence[ZoneSight], found: _Differences) -> None:
    """Compare certificates and addresses with those of the first zone that saw any."""
    base = good[0]
    others = [s.zone for s in good[1:] if s.leaves != base.leaves]
    if others:
        found.kinds[CERTIFICATE] = ([base.zone], others)
    others = [s.zone for s in good[1:] if set(s.addresses) != set(base.addresses)]
    if others:
        found.kinds[DNS] = ([base.zone], others)


def _rank(entry: Finding) -> int:
    return SEVERITY_ORDER[entry.severity]


def _finding(ordered: Sequence[ZoneSight], found: _Differences) -> Finding:
    kind = next(k for k in (REACH, VERDICT, CERTIFICATE, DNS) if k in found.kinds)
    seen, missing = found.kinds[kind]
    severities = [_SEVERITIES[k] for k in found.kinds if k in _SEVERITIES]
    # What only some zones see is not confirmed for the site, so it is never critical: a browser
    # elsewhere shows the page.
    severities += [Severity.HIGH if s is Severity.CRITICAL else s for s in found.codes.values()]
    # The zones that see a fault come first in the text of a verdict; in that of a reach, those
    # from which the endpoint is reached.
    return finding(
        ZONE_DIFFERENCE,
        (),
        min(severities, key=lambda s: SEVERITY_ORDER[s]),
        variant=kind,
        kinds=[k for k in (REACH, VERDICT, CERTIFICATE, DNS) if k in found.kinds],
        zones=[s.zone for s in ordered],
        seen=seen,
        missing=missing,
        reason=found.reason,
        codes=sorted(found.codes, key=lambda c: (SEVERITY_ORDER[found.codes[c]], c))[:_MAX_CODES],
        withheld=sorted(found.withheld),
    )


def without_withheld(
    findings: Sequence[Finding], open_findings: Sequence[Finding]
) -> tuple[Finding, ...]:
    """Return the findings of a scan from one zone, without those that other zones disproved.

    While a difference is open, one zone alone cannot make a fault of the site of what it stands
    for.

    Args:
        findings: What the scan found.
        open_findings: What is open at the endpoint.
    """
    withheld = {
        code
        for f in open_findings
        if f.code == ZONE_DIFFERENCE
        for code in map(str, f.evidence.get("withheld", ()))
    }
    return tuple(f for f in findings if f.code not in withheld)


def as_seen_from(
    zone: str, findings: Sequence[Finding], open_findings: Sequence[Finding]
) -> tuple[Finding, ...]:
    """Return what one probe from a zone shows, if other zones see something else.

    A single probe cannot end a difference: what it disputes is replaced by the difference, which is
    for staff.

    Args:
        zone: The zone of the probe.
        findings: What the probe found.
        open_findings: What is open at the endpoint.
    """
    difference = next((f for f in open_findings if f.code == ZONE_DIFFERENCE), None)
    if difference is None or zone not in difference.evidence.get("zones", ()):
        return tuple(findings)
    evidence = difference.evidence
    disputed = {*evidence.get("withheld", ()), *evidence.get("codes", ())}
    if REACH in evidence.get("kinds", ()):
        disputed |= NOT_REACHED
    kept = tuple(f for f in findings if f.code not in disputed)
    # A zone that does not see the fault any more does not repeat what may have ended.
    if len(kept) == len(findings) and zone not in evidence.get("seen", ()):
        return kept
    return (*kept, difference)
