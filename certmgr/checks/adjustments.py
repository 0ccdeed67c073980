"""What the endpoint as a whole changes in its findings: severity, actor, one per code. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from certmgr.checks.actors import with_actor
from certmgr.checks.http import NO_PAGE
from certmgr.checks.judgement import JudgingContext
from inventory.targets import Target
from inventory.vocabulary import SEVERITY_ORDER, Finding, Severity

# On SMTP port 25, senders do not check names and trust, unless MTA-STS or DANE applies. These
# findings are only remarks there.
_NOT_CHECKED_BY_SENDERS = frozenset(
    {
        "name-mismatch",
        "default-certificate",
        "san-missing",
        "self-signed",
        "untrusted-root",
        "chain-incomplete",
        "chain-ambiguous",
        "intermediate-expired",
        "root-expired",
        "issuer-not-yet-valid",
        "certificate-expired",
        "certificate-not-yet-valid",
        "certificate-expiring",
        "ca-distrusted",
        "trust-ending",
        "verification-disputed",
        "sct-missing",
        "validity-too-long",
        "revoked",
        "staple-invalid",
    }
)


def with_actors(
    findings: Sequence[Finding], context: JudgingContext, *, elsewhere: bool
) -> tuple[Finding, ...]:
    # The actor depends on it: a new certificate does not replace the default one.
    serves_default_certificate = any(f.code == "default-certificate" for f in findings)
    return tuple(
        with_actor(
            f,
            context.parties,
            elsewhere=elsewhere,
            ever_had_certificate=context.ever_good,
            serves_default=serves_default_certificate,
        )
        for f in findings
    )


def for_port(target: Target, findings: Iterable[Finding]) -> list[Finding]:
    """Reduce findings about names and trust to remarks on SMTP port 25."""
    # Mail programs of users submit on ports 465 and 587, and they check names and trust.
    if target.protocol != "smtp" or target.port != 25:
        return list(findings)
    return [
        replace(f, severity=Severity.INFO) if f.code in _NOT_CHECKED_BY_SENDERS else f
        for f in findings
    ]


def for_purpose(findings: Iterable[Finding], purpose: str) -> list[Finding]:
    """Reduce missing HTTPS to a remark for names that visitors do not open in a browser."""
    if purpose not in NO_PAGE:
        return list(findings)
    return [
        replace(f, severity=Severity.INFO) if f.code == "https-missing" else f for f in findings
    ]


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """Merge findings into one per code, worst first.

    It has the evidence of the worst finding, and the addresses of all.
    """
    by_code: dict[str, list[Finding]] = {}
    for entry in findings:
        by_code.setdefault(entry.code, []).append(entry)
    merged = [_merged(group) for group in by_code.values()]
    return sorted(merged, key=lambda f: (SEVERITY_ORDER[f.severity], f.code))


def _merged(group: Sequence[Finding]) -> Finding:
    if len(group) == 1:
        return group[0]
    worst = min(group, key=lambda f: SEVERITY_ORDER[f.severity])
    return replace(worst, addresses=tuple(dict.fromkeys(a for f in group for a in f.addresses)))
