"""The path from a leaf to an anchor as browsers find it, for the reason of a refusal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from certmgr.x509.anchors import MAX_PATH, Anchors
from certmgr.x509.browser_keys import SIGNATURES, key_problem
from inventory.certificate_signatures import issued_by, self_signed
from inventory.certificates import Certificate


def build_path(
    leaf: Certificate, others: Sequence[Certificate], anchors: Anchors, at: datetime
) -> tuple[tuple[Certificate, ...], str]:
    """Build a path upwards from the leaf by name and signature.

    Args:
        leaf: The certificate of the server.
        others: The certificates that may complete the path.
        anchors: The trust anchors.
        at: Certificates that are valid at this time are preferred.

    Returns:
        The path and its end: anchor, self-signed, missing or long.
    """
    path = [leaf]
    while len(path) <= MAX_PATH + 1:
        current = path[-1]
        if current.sha256 in anchors.by_sha256:
            return tuple(path), "anchor"
        listed = [a for a in anchors.named(current) if a != current]
        listed.sort(key=lambda c: not valid_at(c, at))
        anchor = next((a for a in listed if issued_by(current, a)), None)
        if anchor is not None:
            return (*path, anchor), "anchor"
        if current.self_issued and self_signed(current):
            return tuple(path), "self-signed"
        candidates = [c for c in others if c.subject_key == current.issuer_key and c not in path]
        # Currently valid candidates first: an expired cross-certificate is not a fault if
        # another path exists.
        candidates.sort(key=lambda c: not valid_at(c, at))
        issuer = next((c for c in candidates[:8] if issued_by(current, c)), None)
        if issuer is None:
            # A certificate that only has the right name is the last choice.
            if (anchor := next((a for a in listed if _refused(current, a)), None)) is not None:
                return (*path, anchor), "anchor"
            issuer = next((c for c in candidates[:8] if _refused(current, c)), None)
        if issuer is None:
            return tuple(path), "missing"
        path.append(issuer)
    return tuple(path), "long"


def _refused(child: Certificate, issuer: Certificate) -> bool:
    """Return whether browsers refuse a path from ``child`` to ``issuer``, which has its name.

    They do so without verifying the signature if they do not know its algorithm, if the two
    algorithms of the certificate differ, or if they cannot read the key of the issuer. They verify
    a path from its anchor down, so an unknown algorithm of the issuer ends the validation too.
    """
    return (
        child.algorithms_differ
        or _unknown_signature(child)
        or (_unknown_signature(issuer) and not issuer.self_issued)
        or issuer.key == "unknown"
        or bool(key_problem(issuer))
    )


def _unknown_signature(certificate: Certificate) -> bool:
    # Without an algorithm that can be read, the certificate is malformed.
    return bool(certificate.signature) and certificate.signature not in SIGNATURES


def valid_at(certificate: Certificate, at: datetime) -> bool:
    """Return whether a certificate is within its dates."""
    begin, end = certificate.not_before, certificate.not_after
    return begin is not None and end is not None and begin <= at <= end
