"""A judgement as plain values: what crosses from the scanning processes to the one that writes, and
what is shown.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.x509 import ocsp

from certmgr.checks.http import undetermined
from certmgr.checks.judge import JudgedAddress, Judgement
from certmgr.scan.evidence import Evidence, FailureKind
from certmgr.scan.visits import digest, document
from inventory.certificates import PARSE_ERRORS, Certificate
from inventory.targets import Target
from inventory.vocabulary import Finding

# Failures after which nobody can say what the address serves.
MAX_STORED_NAMES = 1000
_UNDETERMINED = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.UNREACHABLE,
        FailureKind.NO_ROUTE,
        FailureKind.LOCAL,
        FailureKind.TOO_LARGE,
    }
)


@dataclass(slots=True)
class CertificateView:
    """Dates are aware UTC; None where the certificate does not give one."""

    sha256: str
    serial: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime | None
    not_after: datetime | None
    key: str


@dataclass(slots=True)
class AddressView:
    address: str
    tls_version: str | None
    cipher: str | None
    group: str | None
    alpn: str | None
    ocsp: str | None
    chain: tuple[str, ...]
    trusted: bool | None
    error: tuple[str, str] | None  # layer, reason
    no_route: bool = False  # this machine has no way to its family
    public: bool | None = None  # whether its path leads to an anchor of the browsers' store

    @property
    def seen(self) -> bool:
        return bool(self.chain)


@dataclass(slots=True)
class PageSummary:
    """What a visitor meets: ``document`` as the JSON shows it, and its ``digest``.

    ``expected``: False where nobody opens the name in a browser.

    Addresses about which these visits cannot tell: ``unknown_plain`` over HTTP, ``unknown_secure``
    over HTTPS, ``skipped`` not visited (no route). ``secure``: addresses that were visited over
    HTTPS.
    """

    document: dict[str, Any] | None
    digest: str
    expected: bool = True
    unknown_plain: frozenset[str] = frozenset()
    unknown_secure: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()
    secure: frozenset[str] = frozenset()


@dataclass(slots=True)
class EndpointReport:
    """One endpoint.

    ``good``: a certificate was seen. ``undetermined``: nobody can say what is served. ``silent``:
    addresses of which nobody can say. ``deep``: it was a deep look. ``resolved``: the DNS gave a
    definite answer. ``error``: layer and reason of a look that was not good. ``web``: None when
    plain HTTP was not asked.
    """

    target: Target
    at: datetime
    certificate: CertificateView | None
    addresses: tuple[AddressView, ...]
    findings: tuple[Finding, ...]
    good: bool
    undetermined: bool
    resolved: bool
    silent: tuple[str, ...]
    error: tuple[str, str] | None
    deep: bool = False
    web: PageSummary | None = None

    def families_without_route(self) -> frozenset[int]:
        """4, 6: IP versions that this machine has no way to. No finding; it is said once."""
        return frozenset(6 if ":" in a.address else 4 for a in self.addresses if a.no_route)

    def fingerprint(self) -> str:
        """Equal for two looks between which nothing changed that is stored."""
        facts = (
            [
                (
                    a.address,
                    a.tls_version,
                    a.cipher,
                    a.group,
                    a.alpn,
                    a.ocsp,
                    a.chain,
                    a.trusted,
                    a.error,
                    a.public,
                )
                for a in self.addresses
            ],
            [
                (f.code, f.severity, f.actor, f.outcome, f.addresses, _stable(f))
                for f in self.findings
            ],
            self.resolved,
            self.deep,
            self.error,
            (
                None
                if self.web is None
                else (
                    self.web.digest,
                    sorted(self.web.unknown_plain),
                    sorted(self.web.unknown_secure),
                )
            ),
        )
        return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def _stable(finding: Finding) -> str:
    """Evidence without what changes from look to look."""
    return json.dumps(
        {k: v for k, v in finding.evidence.items() if k not in ("our_clock", "looks", "runs")},
        sort_keys=True,
        default=str,
    )


@dataclass(slots=True)
class CertificateRow:
    """A certificate as it is stored. Instants are epoch seconds."""

    sha256: str
    der: bytes
    serial: str
    subject: str
    issuer: str
    not_before: int | None
    not_after: int | None
    names: str
    key: str
    is_ca: int


def certificate_row(c: Certificate) -> CertificateRow:
    return CertificateRow(
        sha256=c.sha256,
        der=c.der,
        serial=c.serial,
        subject=c.subject,
        issuer=c.issuer,
        not_before=int(c.not_before.timestamp()) if c.not_before else None,
        not_after=int(c.not_after.timestamp()) if c.not_after else None,
        names=json.dumps(c.names[:MAX_STORED_NAMES]),
        key=c.key,
        is_ca=int(c.is_ca),
    )


def certificate_view(certificate: Certificate) -> CertificateView:
    return CertificateView(
        sha256=certificate.sha256,
        serial=certificate.serial,
        subject=certificate.subject,
        issuer=certificate.issuer,
        names=certificate.names,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        key=certificate.key,
    )


def staple_status(der: bytes | None) -> str | None:
    """good, revoked, unknown, or unreadable for a stapled OCSP response (its signature is not
    looked at here); None without one.
    """
    if not der:
        return None

    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name.lower()
        return response.certificate_status.name.lower()
    except PARSE_ERRORS:
        return "unreadable"


def _address(judged: JudgedAddress) -> AddressView:
    e = judged.evidence
    error = (e.failure.layer, e.failure.reason) if e.failure is not None else None
    chain = tuple(c.sha256 for c in judged.chain[:32])
    no_route = e.failure is not None and e.failure.kind is FailureKind.NO_ROUTE
    return AddressView(
        address=e.address,
        tls_version=e.tls_version,
        cipher=e.cipher,
        group=e.group,
        alpn=e.alpn,
        ocsp=staple_status(e.ocsp),
        chain=chain,
        trusted=judged.trusted,
        error=error,
        no_route=no_route,
        public=None if judged.trusted is None or judged.verdict is None else judged.verdict.public,
    )


def make(judgement: Judgement) -> EndpointReport:
    evidence = judgement.evidence
    addresses = tuple(map(_address, judgement.addresses))
    leaf = judgement.leaf
    silent = tuple(
        a.address
        for a in evidence.addresses
        if not a.chain and a.failure is not None and a.failure.kind in _UNDETERMINED
    ) + tuple(a for a, _ in evidence.resolution.refused)
    resolved = (
        evidence.resolution.status in ("ok", "fixed", "nxdomain", "nodata")
        and not evidence.resolution.partial
        and evidence.error is None
    )
    good = judgement.good
    error = None
    if not good:
        first = next((a.error for a in addresses if a.error is not None), None)
        if evidence.error is not None:
            error = ("local", evidence.error)
        elif first is not None:
            error = first
        elif evidence.resolution.reason:
            error = ("dns", evidence.resolution.reason)
        elif evidence.resolution.refused:
            error = ("local", "the address is internal and not allowed")
    undetermined = not good and (not resolved or (bool(silent) and len(silent) >= len(addresses)))
    return EndpointReport(
        target=evidence.target,
        at=evidence.at,
        certificate=certificate_view(leaf) if leaf is not None else None,
        addresses=addresses,
        findings=judgement.findings,
        good=good,
        undetermined=undetermined,
        resolved=resolved,
        silent=silent,
        error=error,
        web=_web(evidence),
    )


def _web(evidence: Evidence) -> PageSummary | None:
    visits = evidence.visits
    if visits is None:
        return None
    if not visits:
        return PageSummary(None, "", expected=False)
    plain, over_tls = undetermined(visits)
    skipped = frozenset(
        a.address
        for a in evidence.addresses
        if a.failure is not None and a.failure.kind is FailureKind.NO_ROUTE
    )
    secure = frozenset(v.address for v in visits if v.secure)
    return PageSummary(
        document=document(visits),
        digest=digest(visits),
        expected=True,
        unknown_plain=plain,
        unknown_secure=over_tls,
        skipped=skipped,
        secure=secure,
    )
