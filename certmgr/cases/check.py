"""The review of a vendor's upload: does it match the request, and can it be installed?

All functions are pure: trust store, issuers and ``now`` are parameters.

A problem refuses the upload, a remark does not. Both are codes with values. Their texts, which can
be forwarded to the client, are in notifiers/wording/cases.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certmgr.checks.browser_rules import issuer_date_findings, key_usage_findings
from certmgr.checks.browser_trust import BrowserTrust, trust_findings
from certmgr.checks.certificate import date_findings, leaf_findings
from certmgr.checks.chain import path_findings
from certmgr.x509.csr import spki
from certmgr.x509.names import certificate_covers
from certmgr.x509.trust import Issuers, TrustStore
from certmgr.x509.trust_data import built_in
from certmgr.x509.trust_rules import TrustRules
from certmgr.x509.upload import VendorUpload
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate
from inventory.names import display
from inventory.vocabulary import Finding

# Findings that prevent the installation of a certificate. All others are remarks.
_REFUSING_CODES = frozenset(
    {
        "certificate-expired",
        "certificate-not-yet-valid",
        "san-missing",
        "self-signed",
        "untrusted-root",
        "intermediate-expired",
        "issuer-not-yet-valid",
        "root-expired",
        "ca-distrusted",
        "certificate-malformed",
        "key-weak",
        "signature-weak",
        "validity-too-long",
        "chain-incomplete",
    }
)
# Causes of distrust that have a separate message.
_EXPLAIN_DISTRUST = frozenset(
    {
        "certificate-malformed",
        "key-weak",
        "signature-weak",
        "san-missing",
        "ca-distrusted",
        "issuer-not-yet-valid",
    }
)
# The review has separate messages for names (names-missing) and dates (ends-no-later).
_IGNORED_CODES = frozenset(
    # A private CA is the choice of the provider, so its deviations are not the client's to fix.
    # Of many certificates, those that are needed are kept.
    {
        "certificate-expiring",
        "name-mismatch",
        "sct-missing",
        "profile-deviation",
        "chain-ambiguous",
    }
)


@dataclass(frozen=True, slots=True)
class ExpectedCertificate:
    """One certificate that the case waits for.

    Attributes:
        issuance_id: The row of the issuance.
        key_type: The type of the requested key.
        spki: The fingerprint of the public key that the certificate must have.
        received: Whether its certificate was received before.
    """

    issuance_id: int
    key_type: str
    spki: str
    received: bool = False


@dataclass(frozen=True, slots=True)
class ReviewMessage:
    """One problem or remark of the review.

    Attributes:
        code: The code of its text.
        values: The values of the text.
        refuses: Whether the upload cannot be used because of it.
    """

    code: str
    values: dict[str, str]
    refuses: bool


# [code, values, refuses], as it stands in the database.
StoredMessage = list[str | dict[str, str] | bool]


def messages_to_json(messages: Sequence[ReviewMessage]) -> list[StoredMessage]:
    """Return messages as the case stores them: a list of ``[code, values, refuses]``."""
    return [[m.code, m.values, m.refuses] for m in messages]


def messages_from_json(stored: Sequence[Any]) -> tuple[ReviewMessage, ...]:
    """Return the messages that a case has stored."""
    return tuple(ReviewMessage(code, values, refuses) for code, values, refuses in stored)


@dataclass(frozen=True, slots=True)
class MatchedCertificate:
    """A requested leaf with its chain, leaf first and without the root."""

    issuance_id: int
    leaf: Certificate
    chain: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class UploadReview:
    """The result of a review.

    Attributes:
        matched: The certificates that match a request.
        messages: All problems and remarks.
        leaves: All leaf certificates of the upload.
    """

    matched: tuple[MatchedCertificate, ...]
    messages: tuple[ReviewMessage, ...]
    leaves: tuple[Certificate, ...]

    @property
    def refused(self) -> bool:
        """Whether the upload cannot be used."""
        return not self.matched or any(s.refuses for s in self.messages)


def public_key_fingerprint(certificate: Certificate) -> str:
    """Return the fingerprint of the public key; empty if the key cannot be parsed."""
    try:
        return spki(certificate.parsed.public_key()) if certificate.parsed is not None else ""
    except PARSE_ERRORS:
        return ""


def review_upload(
    upload: VendorUpload,
    expected: Sequence[ExpectedCertificate],
    names: Sequence[str],
    trust: TrustStore,
    issuers: Issuers,
    now: datetime,
    *,
    ends: datetime | None = None,
    rules: TrustRules | None = None,
) -> UploadReview:
    """Review an upload against the requests of a case.

    Args:
        upload: The parsed files of the vendor.
        expected: The certificates that the case requested.
        names: The names of the case.
        trust: The trust store.
        issuers: The known intermediates. The certificates of the upload are added.
        now: The time of the review.
        ends: When the replaced certificate ends.
        rules: The rules of browsers about CAs; None: those that ship with certmgr.
    """
    messages = [ReviewMessage(r, {}, False) for r in upload.remarks]
    leaves = [c for c in upload.certificates if not c.is_ca and c.parsed is not None]
    for other in upload.certificates:
        issuers.add(other)
    by_key = {a.spki: a for a in expected}
    # The key decides: only its holder can use a certificate, whatever names it has.
    requested = [c for c in leaves if public_key_fingerprint(c) in by_key]
    if not requested:
        return UploadReview((), (*messages, _why_unusable(upload, leaves)), tuple(leaves))
    matched = []
    latest = _latest_by_key(requested, now)
    for key, leaf in latest.items():
        chain, leaf_messages = _review_leaf(
            leaf, upload, names, trust, issuers, now, rules or built_in()
        )
        messages += leaf_messages
        # It can be installed, but gains no time, so that this is a remark only.
        if ends is not None and leaf.not_after is not None and leaf.not_after <= ends:
            dates = {"not_after": f"{leaf.not_after:%Y-%m-%d}", "present": f"{ends:%Y-%m-%d}"}
            messages.append(ReviewMessage("ends-no-later", dates, False))
        matched.append(MatchedCertificate(by_key[key].issuance_id, leaf, chain))
    # A vendor may deliver one file per key type, so the other certificate can still come.
    missing = [a for a in expected if a.spki not in latest and not a.received]
    if missing:
        key_types = ", ".join(a.key_type for a in missing)
        messages.append(ReviewMessage("other-key-missing", {"key": key_types}, False))
    return UploadReview(tuple(matched), tuple(_deduplicated(messages)), tuple(leaves))


def _why_unusable(upload: VendorUpload, leaves: Sequence[Certificate]) -> ReviewMessage:
    """Return why an upload has no certificate for a key of the case."""
    if leaves:
        first = leaves[0]
        values = {"serial": first.serial, "names": _shortened(first.names), "key": first.key}
        return ReviewMessage("wrong-key", values, True)
    parsed = any(c.parsed is not None for c in upload.certificates)
    return ReviewMessage("only-chain" if parsed else "unreadable", {}, True)


def _latest_by_key(certificates: Sequence[Certificate], now: datetime) -> dict[str, Certificate]:
    """Return public key -> the certificate that was issued last for it."""
    # An archive may contain the certificates of earlier issues, whose time is shorter.
    first = datetime.min.replace(tzinfo=now.tzinfo)
    return {
        public_key_fingerprint(c): c
        for c in sorted(certificates, key=lambda c: c.not_before or first)
    }


def _deduplicated(messages: Sequence[ReviewMessage]) -> list[ReviewMessage]:
    result: list[ReviewMessage] = []
    for message in messages:
        if message not in result:
            result.append(message)
    return result


def _review_leaf(
    leaf: Certificate,
    upload: VendorUpload,
    names: Sequence[str],
    trust: TrustStore,
    issuers: Issuers,
    now: datetime,
    rules: TrustRules,
) -> tuple[tuple[Certificate, ...], list[ReviewMessage]]:
    """Return the chain of a leaf, leaf first and without the root, and the messages about it."""
    messages = _name_messages(leaf, names)
    others = [c for c in upload.certificates if c.is_ca]
    verdict = trust.assess((leaf, *others), issuers, now)
    host = next((n for n in names if not n.startswith("*.")), leaf.names[0] if leaf.names else "")
    findings = [
        *date_findings(leaf, now, ()),
        *leaf_findings(leaf, host, verdict, ()),
        *key_usage_findings(leaf, None, None, ()),
        *issuer_date_findings(verdict, now, ()),
    ]
    ends = BrowserTrust(trust, rules, issuers).ends((leaf, *others), verdict)
    findings += trust_findings(ends, rules, leaf, now, ())
    # If one of these causes the distrust, a second message about the path would only confuse.
    explained = any(f.code in _EXPLAIN_DISTRUST for f in findings)
    findings += path_findings(verdict, (), explained)
    messages += [_message(f) for f in findings if f.code not in _IGNORED_CODES]
    # Servers do not need to send the root, since clients have it in their trust store.
    chain = (
        (leaf, *[c for c in verdict.path[1:] if not c.self_issued])
        if verdict.path
        else (leaf, *others)
    )
    return chain, messages


def _name_messages(leaf: Certificate, names: Sequence[str]) -> list[ReviewMessage]:
    """Return what is wrong with the names of a leaf."""
    messages = []
    # A wildcard covers host names, but only the wildcard itself covers a wildcard of the case.
    missing = [
        n
        for n in names
        if not (certificate_covers(leaf, n) if not n.startswith("*.") else n in leaf.dns_names)
    ]
    if missing:
        values = {"names": _shortened(missing), "has": _shortened(leaf.names)}
        messages.append(ReviewMessage("names-missing", values, True))
    # The name with or without "www." belongs to the same site, so that it needs no remark.
    extra = [
        n
        for n in leaf.names
        if n not in names
        and n.removeprefix("www.") not in names
        and not any(n == f"www.{m}" for m in names)
    ]
    if extra:
        messages.append(ReviewMessage("names-extra", {"names": _shortened(extra)}, False))
    return messages


def _message(finding: Finding) -> ReviewMessage:
    """Return the message for a finding about the leaf or its chain."""
    # The missing intermediates are known from scans, so that the chain was completed here.
    if finding.code == "chain-incomplete" and finding.evidence.get("held"):
        missing = str(finding.evidence.get("missing"))
        return ReviewMessage("chain-completed", {"missing": missing}, False)
    return ReviewMessage(finding.code, _values(finding), finding.code in _REFUSING_CODES)


def _values(finding: Finding) -> dict[str, str]:
    """Return the evidence of a finding as texts, with dates instead of times."""
    values = {
        k: ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v)
        for k, v in finding.evidence.items()
    }
    for key in ("not_after", "not_before"):
        if key in values:
            values[key] = values[key][:10]
    return values


def _shortened(names: Sequence[str]) -> str:
    # A certificate can have hundreds of names, and the client reads this message.
    shown = ", ".join(display(n) for n in names[:8])
    return f"{shown}, ..." if len(names) > 8 else shown
