"""Findings about the leaf: dates, names, key, signature, lifetime, transparency. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from certmgr.checks.browser_rules import malformed_findings, path_rule_findings
from certmgr.checks.lifetimes import refused_by_browsers, too_long
from certmgr.checks.transport import finding
from certmgr.x509.names import certificate_covers
from certmgr.x509.trust import PathVerdict
from inventory.certificates import Certificate
from inventory.dates import shifted
from inventory.vocabulary import Finding, Severity

# Chrome CT policy: certificates issued from 2018-04-30 on must be logged.
_CT_SINCE = datetime.fromisoformat("2018-04-30T00:00:00+00:00")
_CT_LONG = timedelta(days=180)


def expiring(not_before: datetime, not_after: datetime, now: datetime) -> str | None:
    """Return the severity for a certificate that is still valid; None if it does not end soon.

    high below min(7 days, life/10), medium below min(30 days, life/4).
    """
    life, left = not_after - not_before, not_after - now
    # Let's Encrypt suggests a renewal after about two thirds of the life (ARI). If less than a
    # quarter is left, an automatic renewal has probably failed. The fixed days suit certificates of
    # a year.
    if left < min(timedelta(days=7), life / 10):
        return Severity.HIGH
    if left < min(timedelta(days=30), life / 4):
        return Severity.MEDIUM
    return None


def change_dates(not_before: datetime, not_after: datetime) -> tuple[datetime, ...]:
    """Return the times at which :func:`date_findings` changes."""
    life = not_after - not_before
    warnings = (
        shifted(not_after, -min(timedelta(days=30), life / 4)),
        shifted(not_after, -min(timedelta(days=7), life / 10)),
    )
    # The second of notAfter still counts as valid, so the finding changes one second later.
    return (not_before, *warnings, not_after, shifted(not_after, timedelta(seconds=1)))


def date_findings(leaf: Certificate, now: datetime, at: tuple[str, ...]) -> Iterator[Finding]:
    """Yield findings about the dates of a leaf."""
    if leaf.not_before is not None and leaf.not_after is not None:
        yield from date_findings_of(leaf.not_before, leaf.not_after, now, at)


def date_findings_of(
    not_before: datetime, not_after: datetime, now: datetime, at: tuple[str, ...]
) -> Iterator[Finding]:
    """Yield findings about a validity period. notAfter is inclusive (RFC 5280 4.1.2.5)."""
    # The certificate is valid through the whole second of notAfter.
    if now - not_after >= timedelta(seconds=1):
        yield finding("certificate-expired", at, not_after=not_after.isoformat())
    elif now < not_before:
        yield finding(
            "certificate-not-yet-valid",
            at,
            not_before=not_before.isoformat(),
            our_clock=now.isoformat(),
        )
    elif severity := expiring(not_before, not_after, now):
        yield finding("certificate-expiring", at, severity, not_after=not_after.isoformat())


def leaf_findings(
    leaf: Certificate, host: str, verdict: PathVerdict, at: tuple[str, ...]
) -> Iterator[Finding]:
    """Yield findings that do not depend on the clock.

    If the names cannot be read, there is no finding about them.
    """
    yield from malformed_findings(leaf, at)
    if leaf.extensions_readable:
        if not leaf.dns_names and not leaf.ip_names:
            # Browsers ignore the common name (RFC 9525), so without a SAN no name matches.
            if not leaf.has_san:
                yield finding("san-missing", at, subject=leaf.subject)
            else:
                yield finding("name-mismatch", at, names=[])
        elif not certificate_covers(leaf, host):
            yield finding(
                "name-mismatch",
                at,
                names=[n[:253] for n in leaf.names[:10]],
                more=max(0, len(leaf.names) - 10),
            )
    if leaf.parsed is None:
        return
    yield from path_rule_findings(leaf, verdict, at)
    # The Baseline Requirements and CT policies apply only to publicly trusted certificates.
    if verdict.public:
        yield from _public(leaf, at)


def _public(leaf: Certificate, at: tuple[str, ...]) -> Iterator[Finding]:
    assert leaf.not_before is not None and leaf.not_after is not None
    if (exceeded := too_long(leaf.not_before, leaf.not_after)) is not None:
        refused = refused_by_browsers(leaf.not_before, leaf.not_after)
        yield finding(
            "validity-too-long",
            at,
            Severity.CRITICAL if refused else Severity.HIGH,
            days=exceeded[0],
            allowed=exceeded[1],
            not_before=leaf.not_before.isoformat(),
        )
    # Chrome CT policy: 2 SCTs up to 180 days, else 3.
    needed = 2 if leaf.not_after - leaf.not_before <= _CT_LONG else 3
    if leaf.not_before >= _CT_SINCE and len({log for log, _ in leaf.scts}) < needed:
        # More SCTs may come in the TLS extension or the staple. The TLS library does not expose
        # them, so the result is undetermined.
        yield finding(
            "sct-missing", at, Severity.UNDETERMINED, embedded=len(leaf.scts), needed=needed
        )
