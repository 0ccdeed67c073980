"""Is what came back what was asked for, and can it be installed? Pure: trust store, issuers and
``now`` are parameters.

A problem refuses the material; a remark does not. Both are codes with values; what is said of them,
in words that can be forwarded to the client, stands in notifiers/wording/cases.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certmgr.checks.certificate import date_findings, leaf_findings
from certmgr.checks.chain import path_findings
from certmgr.x509.csr import spki
from certmgr.x509.names import certificate_covers
from certmgr.x509.trust import Issuers, TrustStore
from certmgr.x509.upload import VendorUpload
from inventory.certificates import PARSE_ERRORS, Certificate
from inventory.names import display
from inventory.vocabulary import Finding

# Findings that keep a certificate from being installed. The others are remarks.
_REFUSE = frozenset(
    {
        "certificate-expired",
        "certificate-not-yet-valid",
        "san-missing",
        "self-signed",
        "untrusted-root",
        "intermediate-expired",
        "ca-distrusted",
        "certificate-malformed",
        "key-weak",
        "signature-weak",
        "validity-too-long",
        "chain-incomplete",
    }
)
_LEFT_OUT = frozenset({"certificate-expiring", "name-mismatch", "sct-missing"})


@dataclass(frozen=True, slots=True)
class ExpectedCertificate:
    """One certificate that the case waits for: the public key that it must have."""

    issuance_id: int
    key_type: str
    spki: str
    have: bool = False  # its certificate came before


@dataclass(frozen=True, slots=True)
class ReviewMessage:
    """``code`` and its values; ``refuses``: the material cannot be used as it is."""

    code: str
    values: dict[str, str]
    refuses: bool


@dataclass(frozen=True, slots=True)
class MatchedCertificate:
    """A leaf that is what was asked for, with its chain in order, without the root."""

    issuance_id: int
    leaf: Certificate
    chain: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class UploadReview:
    good: tuple[MatchedCertificate, ...]
    said: tuple[ReviewMessage, ...]
    leaves: tuple[Certificate, ...]

    @property
    def refused(self) -> bool:
        return not self.good or any(s.refuses for s in self.said)


def key_of(certificate: Certificate) -> str:
    """Fingerprint of its public key; empty where it cannot be read."""
    try:
        return spki(certificate.parsed.public_key()) if certificate.parsed is not None else ""
    except PARSE_ERRORS:
        return ""


def judge(
    material: VendorUpload,
    asked: Sequence[ExpectedCertificate],
    names: Sequence[str],
    trust: TrustStore,
    issuers: Issuers,
    now: datetime,
    *,
    ends: datetime | None = None,
) -> UploadReview:
    """``names``: what the case is about. ``ends``: when the certificate that is replaced ends."""
    said = [ReviewMessage(r, {}, False) for r in material.remarks]
    leaves = [c for c in material.certificates if not c.is_ca and c.parsed is not None]
    for other in material.certificates:
        issuers.add(other)
    if not leaves:
        kinds = {c.parsed is not None for c in material.certificates}
        return UploadReview(
            (),
            (*said, ReviewMessage("only-chain" if True in kinds else "unreadable", {}, True)),
            (),
        )
    by_key = {a.spki: a for a in asked}
    mine = [c for c in leaves if key_of(c) in by_key]
    if not mine:
        first = leaves[0]
        values = {"serial": first.serial, "names": _listed(first.names), "key": first.key}
        return UploadReview((), (*said, ReviewMessage("wrong-key", values, True)), tuple(leaves))
    good = []
    # Of several for one key the one that was made last.
    latest = {
        key_of(c): c
        for c in sorted(mine, key=lambda c: c.not_before or datetime.min.replace(tzinfo=now.tzinfo))
    }
    for key, leaf in latest.items():
        chain, about = _one(leaf, material, names, trust, issuers, now)
        said += about
        if ends is not None and leaf.not_after is not None and leaf.not_after <= ends:
            said.append(
                ReviewMessage(
                    "ends-no-later",
                    {"not_after": f"{leaf.not_after:%Y-%m-%d}", "present": f"{ends:%Y-%m-%d}"},
                    False,
                )
            )
        good.append(MatchedCertificate(by_key[key].issuance_id, leaf, chain))
    missing = [a for a in asked if a.spki not in latest and not a.have]
    if missing:
        said.append(
            ReviewMessage(
                "other-key-missing", {"key": ", ".join(a.key_type for a in missing)}, False
            )
        )
    return UploadReview(tuple(good), tuple(_once(said)), tuple(leaves))


def _once(said: Sequence[ReviewMessage]) -> list[ReviewMessage]:
    found: list[ReviewMessage] = []
    for one in said:
        if one not in found:
            found.append(one)
    return found


def _one(
    leaf: Certificate,
    material: VendorUpload,
    names: Sequence[str],
    trust: TrustStore,
    issuers: Issuers,
    now: datetime,
) -> tuple[tuple[Certificate, ...], list[ReviewMessage]]:
    said: list[ReviewMessage] = []
    missing = [
        n
        for n in names
        if not (certificate_covers(leaf, n) if not n.startswith("*.") else n in leaf.dns_names)
    ]
    if missing:
        said.append(
            ReviewMessage(
                "names-missing", {"names": _listed(missing), "has": _listed(leaf.names)}, True
            )
        )
    extra = [
        n
        for n in leaf.names
        if n not in names
        and n.removeprefix("www.") not in names
        and not any(n == f"www.{m}" for m in names)
    ]
    if extra:
        said.append(ReviewMessage("names-extra", {"names": _listed(extra)}, False))
    others = [c for c in material.certificates if c.is_ca]
    verdict = trust.assess((leaf, *others), issuers, now)
    host = next((n for n in names if not n.startswith("*.")), leaf.names[0] if leaf.names else "")
    found = [*date_findings(leaf, now, ()), *leaf_findings(leaf, host, verdict, ())]
    explained = any(
        f.code
        in (
            "certificate-malformed",
            "key-weak",
            "signature-weak",
            "san-missing",
            "ca-distrusted",
        )
        for f in found
    )
    found += path_findings(verdict, (), explained)
    for one in found:
        if one.code in _LEFT_OUT:
            continue
        if one.code == "chain-incomplete" and one.evidence.get("held"):
            said.append(
                ReviewMessage("chain-completed", {"missing": str(one.evidence["missing"])}, False)
            )
            continue
        said.append(ReviewMessage(one.code, _values(one), one.code in _REFUSE))
    chain = (
        (leaf, *[c for c in verdict.path[1:] if not c.self_issued])
        if verdict.path
        else (leaf, *others)
    )
    return chain, said


def _values(finding: Finding) -> dict[str, str]:
    values = {
        k: ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v)
        for k, v in finding.evidence.items()
    }
    for key in ("not_after", "not_before"):
        if key in values:
            values[key] = values[key][:10]
    return values


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(display(n) for n in names[:8])
    return f"{shown}, ..." if len(names) > 8 else shown
