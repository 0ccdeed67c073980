"""Findings about the path from the leaf to an anchor, and about the chain as sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from certmgr.checks.transport import finding
from certmgr.x509.path_search import MAX_STEPS
from certmgr.x509.trust import PathVerdict
from inventory.certificates import Certificate
from inventory.vocabulary import Finding, Severity

# The reasons of a path that leads to an anchor through an expired certificate.
EXPIRED = ("intermediate-expired", "root-expired")


def path_findings(
    verdict: PathVerdict,
    at: tuple[str, ...],
    explained: bool,
    unavailable: Set[str] = frozenset(),
) -> Iterator[Finding]:
    """Yield findings about the path.

    Args:
        explained: Another finding (a weak key, a malformed leaf) already gives the reason of a
            refusal.
        unavailable: SHA-256 of certificates whose issuer cannot be downloaded from the URLs that
            they name.
    """
    if verdict.remarks and verdict.reason in ("ok", "incomplete"):
        yield finding("profile-deviation", at, problems=list(verdict.remarks))
    match verdict.reason:
        case "self-signed":
            yield finding("self-signed", at, subject=verdict.path[0].subject)
        case "untrusted-root":
            yield finding(
                "untrusted-root", at, root=verdict.path[-1].subject, sha256=verdict.path[-1].sha256
            )
        case "missing":
            # Trust stays undetermined: clients that know the issuer accept the certificate. The
            # issuer may be an intermediate, or a private root that is not known here.
            severity = _incomplete_severity(verdict, unavailable)
            missing = verdict.missing_issuer
            yield finding("chain-incomplete", at, severity, missing=missing, held=False)
        case "incomplete":
            severity = _incomplete_severity(verdict, unavailable)
            missing = verdict.unsent[0].subject if verdict.unsent else ""
            yield finding("chain-incomplete", at, severity, missing=missing, held=True)
        case "intermediate-expired":
            yield from _expired(verdict, at)
        case "root-expired":
            root = verdict.path[-1]
            assert root.not_after is not None
            yield finding(
                "root-expired", at, root=root.subject, not_after=root.not_after.isoformat()
            )
        case "ambiguous":
            # The issuers on the accepted path are those that the server has to send.
            needed = [c.subject for c in verdict.path[1:-1]]
            if len(needed) >= MAX_STEPS:
                yield finding("chain-ambiguous", at, variant="long")
            else:
                yield finding("chain-ambiguous", at, issuers=needed)
        case "disputed":
            if not explained:
                yield finding("verification-disputed", at, words=list(verdict.remarks))
        case "refused":
            if not explained:
                yield finding(
                    "certificate-malformed",
                    at,
                    problems=[verdict.problem or "the chain breaks a constraint"],
                    rule="path",
                    codes=[list(c) for c in verdict.codes],
                )


def without_sent_issuer(verdict: PathVerdict) -> list[Certificate]:
    """Return the certificates of an incomplete path whose issuer the server did not send.

    Browsers look for each issuer at the URLs that the certificate names. An issuer that is known
    here, since another endpoint has sent it, counts as not sent.
    """
    missing = verdict.reason == "missing"
    # No server has to send the anchor, even if another endpoint does.
    anchor = None if missing else verdict.path[-1]
    pairs = zip(verdict.path, verdict.path[1:], strict=False)
    below = [c for c, above in pairs if above in verdict.unsent and above != anchor]
    return [*below, verdict.path[-1]] if missing else below


def _incomplete_severity(verdict: PathVerdict, unavailable: Set[str]) -> Severity:
    """Return high if browsers can download the missing issuer (AIA), else critical.

    Chrome and Safari download it. Firefox knows the intermediates of public CAs. Android and most
    programs do neither.
    """
    ends = without_sent_issuer(verdict)
    # Chrome fetches issuers over http:// only, and CAs publish them there (BR 7.1.2.7.7).
    fetchable = all(
        any(u.strip().lower().startswith("http://") for u in c.issuer_urls) for c in ends
    )
    unavailable_end = any(c.sha256 in unavailable for c in ends)
    return Severity.HIGH if fetchable and not unavailable_end else Severity.CRITICAL


def _expired(verdict: PathVerdict, at: tuple[str, ...]) -> Iterator[Finding]:
    ends = [c for c in verdict.path[1:] if c.not_after is not None]
    # The anchor may have expired too, but the earliest end explains the failure.
    first = min(ends, key=lambda c: c.not_after)  # type: ignore[arg-type, return-value]
    assert first.not_after is not None
    yield finding(
        "intermediate-expired",
        at,
        intermediate=first.subject,
        not_after=first.not_after.isoformat(),
    )


def order_findings(
    served: Sequence[Certificate], verdict: PathVerdict, at: tuple[str, ...]
) -> Iterator[Finding]:
    """Yield ``chain-disordered``.

    The severity is low if an issuer precedes what it issued. It is info for surplus certificates,
    or if the root is sent.
    """
    # Reversed, so that the first of several equal certificates counts.
    positions = {c.sha256: i for i, c in reversed(list(enumerate(served)))}
    used = [positions[c.sha256] for c in verdict.path if c.sha256 in positions]
    # TLS 1.2 demands the order (RFC 5246 7.4.2). Browsers sort the certificates; some programs do
    # not.
    if used != sorted(used):
        yield finding("chain-disordered", at, order=[c.subject for c in served[:8]])
    # Clients ignore surplus certificates; they only make the handshake larger.
    elif len(served) > len(used) and verdict.reason in ("ok", "incomplete", *EXPIRED):
        surplus = [c.subject for i, c in enumerate(served) if i not in used][:8]
        yield finding("chain-disordered", at, Severity.INFO, surplus=surplus)
    elif verdict.reason == "ok" and len(used) > 1 and verdict.path[-1].sha256 in positions:
        yield finding("chain-disordered", at, Severity.INFO, root_sent=verdict.path[-1].subject)
