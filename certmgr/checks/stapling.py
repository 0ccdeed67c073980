"""Findings about a stapled OCSP response. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from certmgr.checks.ocsp import Staple, check
from certmgr.checks.transport import finding
from certmgr.scan.evidence import AddressEvidence
from certmgr.x509.crl import REASONS
from certmgr.x509.trust import PathVerdict
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate
from inventory.finding_codes import STAPLE
from inventory.vocabulary import REISSUE, Finding, Severity

# Texts by the state of the staple, for use in sentences (notifiers/wording/values.py).
PROBLEMS = {
    "expired": "it has expired",
    "not-yet-valid": "it is not valid yet",
    "revoked": "it states that the certificate was revoked",
    "unknown": "its responder does not know the certificate",
    "bad-signature": "its signature is wrong",
    "wrong-certificate": "it is about another certificate",
    "unreadable": "it cannot be read",
    "missing": "the certificate requires one, and the server sends none",
}
EXPIRED = "expired"  # the "variant" of a staple-invalid that no browser shows an error for
NO_RESPONDER = "the certificate requires one, and its CA has no service that issues one"


def staple_of(
    address: AddressEvidence, chain: tuple[Certificate, ...], verdict: PathVerdict, now: datetime
) -> Staple:
    """Check the staple of one address.

    A failed handshake does not show what the server would have stapled.

    Args:
        chain: The certificates as served.
    """
    if address.failure is not None or chain[0].parsed is None:
        return Staple("unchecked")
    # To find the issuer costs a signature check, and most servers send no response.
    issuer = issuer_of(chain, verdict) if address.ocsp else None
    return check(address.ocsp, chain[0], issuer, now)


def issuer_of(chain: tuple[Certificate, ...], verdict: PathVerdict) -> Certificate | None:
    """Return the issuer in the path, or else the served certificate that signed the leaf."""
    above = (*verdict.path[1:2], *chain[1:8])
    return next((c for c in above if issued_by(chain[0], c)), None)


def staple_findings(staple: Staple, leaf: Certificate, at: tuple[str, ...]) -> Iterator[Finding]:
    """Yield findings about a staple that browsers refuse."""
    if not staple.invalid:
        return
    detail: dict[str, Any] = {"words": staple.detail} if staple.detail else {}
    problem, severity = PROBLEMS[staple.state], None
    # Without a responder no server can get a response: CAs closed theirs, and certificates that
    # require one remained. Only a certificate without the requirement helps.
    if leaf.must_staple and not leaf.has_responder and staple.state != "revoked":
        problem = NO_RESPONDER
        detail["variant"] = REISSUE
    # Chrome ignores every staple but a revocation. Firefox takes an expired one for none, since
    # servers are known to send them, and shows an error for the others, also if it cannot read one.
    elif staple.state == "expired" and not leaf.must_staple:
        severity, detail["variant"] = Severity.MEDIUM, EXPIRED
    yield finding("staple-invalid", at, severity, state=staple.state, problem=problem, **detail)
    # The staple is signed by the CA, so it also proves the revocation.
    if staple.state == "revoked":
        since = staple.at.isoformat() if staple.at is not None else ""
        reason_text = REASONS.get(staple.reason, REASONS["unspecified"])
        yield finding(
            "revoked",
            at,
            source=STAPLE,
            since=since,
            reason=staple.reason,
            reason_text=reason_text,
            serial=leaf.serial,
            certificates=[leaf.sha256],
        )
