"""Findings about a stapled OCSP response. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from certmgr.checks.codes import STAPLE
from certmgr.checks.ocsp import Staple, check
from certmgr.checks.transport import finding
from certmgr.scan.evidence import AddressEvidence
from certmgr.x509.crl import REASONS
from certmgr.x509.trust import PathVerdict
from inventory.certificates import Certificate, issued_by
from inventory.vocabulary import Finding

# By the state of the staple; these texts stand in sentences (notifiers/wording/values.py).
PROBLEMS = {
    "expired": "it has expired",
    "not-yet-valid": "it is not valid yet",
    "revoked": "it says that the certificate was revoked",
    "unknown": "its responder does not know the certificate",
    "bad-signature": "its signature is wrong",
    "wrong-certificate": "it is about another certificate",
    "unreadable": "it cannot be read",
    "missing": "the certificate demands one, and none is sent",
}


def staple_of(
    address: AddressEvidence, chain: tuple[Certificate, ...], verdict: PathVerdict, now: datetime
) -> Staple:
    """``chain``: as served.

    A handshake that did not end says nothing about what would have been stapled.
    """
    if address.failure is not None or chain[0].parsed is None:
        return Staple("unchecked")
    return check(address.ocsp, chain[0], issuer_of(chain, verdict), now)


def issuer_of(chain: tuple[Certificate, ...], verdict: PathVerdict) -> Certificate | None:
    """That of the path, else whichever of the served ones signed the leaf."""
    above = (*verdict.path[1:2], *chain[1:8])
    return next((c for c in above if issued_by(chain[0], c)), None)


def staple_findings(staple: Staple, leaf: Certificate, at: tuple[str, ...]) -> Iterator[Finding]:
    if not staple.invalid:
        return
    said = {"words": staple.words} if staple.words else {}
    yield finding("staple-invalid", at, state=staple.state, problem=PROBLEMS[staple.state], **said)
    if staple.state == "revoked":
        since = staple.at.isoformat() if staple.at is not None else ""
        why = REASONS.get(staple.reason, REASONS["unspecified"])
        yield finding(
            "revoked",
            at,
            source=STAPLE,
            since=since,
            reason=staple.reason,
            why=why,
            serial=leaf.serial,
            certificates=[leaf.sha256],
        )
