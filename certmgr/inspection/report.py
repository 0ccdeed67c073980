"""The report of one endpoint: a judgement as plain values.

Scanning processes send reports to the parent, which stores and prints them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.x509 import ocsp

from certmgr.checks.http import undetermined
from certmgr.checks.judgement import JudgedAddress, Judgement
from certmgr.scan.evidence import Evidence, FailureKind
from certmgr.scan.visits import digest, document
from certmgr.x509.trust_until import TrustEnd
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate
from inventory.targets import Target
from inventory.vocabulary import Finding

MAX_STORED_NAMES = 1000  # of one certificate
# Failures that leave open what the address serves.
_UNDETERMINED = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.UNREACHABLE,
        FailureKind.NO_ROUTE,
        FailureKind.LOCAL,
        # The server answered, but its certificate was not read.
        FailureKind.TOO_LARGE,
        # The server refused this machine before TLS; other clients may get a certificate.
        FailureKind.STARTTLS_UNKNOWN,
    }
)


@dataclass(slots=True)
class CertificateView:
    """A certificate. Dates are aware UTC; None if the certificate has no valid one."""

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
    """What one address served.

    Attributes:
        chain: SHA-256 of the certificates as sent, the leaf first.
        trusted: Whether a trust path was found; None: undetermined.
        error: Layer and reason of a failed probe.
        no_route: Whether this machine has no route to the IP version of the address.
        public: Whether the trust path leads to an anchor of the browsers' store.
        refuses_browsers: Whether the handshake succeeds only with an offer that no browser makes.
        post_quantum: Whether post-quantum key exchange is offered; None if it was not checked.
        trust_ends: Until when each browser trusts it; computed again from the stored chain.
    """

    address: str
    tls_version: str | None
    cipher: str | None
    group: str | None
    alpn: str | None
    ocsp: str | None
    chain: tuple[str, ...]
    trusted: bool | None
    error: tuple[str, str] | None
    no_route: bool = False
    public: bool | None = None
    refuses_browsers: bool = False
    post_quantum: bool | None = None
    trust_ends: tuple[TrustEnd, ...] = ()

    @property
    def seen(self) -> bool:
        """Whether the address served a certificate."""
        return bool(self.chain)


@dataclass(slots=True)
class PageSummary:
    """The pages of an endpoint, over HTTP and HTTPS.

    Attributes:
        document: The visits as the JSON output shows them.
        digest: A hash of the visits.
        expected: False if no page is expected under this name.
        unknown_plain: Addresses whose pages over HTTP are undetermined.
        unknown_secure: Addresses whose pages over HTTPS are undetermined.
        skipped: Addresses that were not visited, since there is no route to them.
        secure: Addresses that were visited over HTTPS.
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
    """The result of one scan of one endpoint.

    Attributes:
        good: Whether a certificate was observed.
        undetermined: Whether it is unknown what the endpoint serves.
        resolved: Whether the DNS gave a definite answer.
        silent: Addresses of which it is unknown what they serve.
        error: Layer and reason, if the scan was not good.
        deep: Whether it was a deep scan.
        web: The pages; None if plain HTTP was not checked.
        rules: The version of the trust rules.
        foreign: The addresses that are not the provider's, if others are (``foreign-address``).
        explained: What is wrong at the foreign addresses. That finding stands for it.
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
    rules: str = ""
    foreign: frozenset[str] = frozenset()
    explained: tuple[Finding, ...] = ()

    def families_without_route(self) -> frozenset[int]:
        """Return the IP versions (4, 6) to which this machine has no route.

        It is no finding of the endpoint, since the cause is this machine. It is reported once.
        """
        return frozenset(6 if ":" in a.address else 4 for a in self.addresses if a.no_route)

    def fingerprint(self) -> str:
        """Return a hash that is equal for two scans if nothing that is stored changed between."""
        # The time of the scan is left out: an equal report is not sent or stored again.
        # The ends of trust are left out too: the rules change without a scan, and the ends are
        # computed from the stored chain when they are shown.
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
                    a.refuses_browsers,
                    a.post_quantum,
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
    """Return the evidence without the values that differ between any two scans."""
    # The clock and the counters change with each scan, even if the fault stays the same.
    return json.dumps(
        {k: v for k, v in finding.evidence.items() if k not in ("our_clock", "looks", "runs")},
        sort_keys=True,
        default=str,
    )


@dataclass(slots=True)
class CertificateRow:
    """A certificate as it is stored. Dates are epoch seconds."""

    sha256: str
    der: bytes
    serial: str
    subject: str
    issuer: str
    not_before: int | None
    not_after: int | None
    names: tuple[str, ...]
    key: str
    is_ca: int


def certificate_row(certificate: Certificate) -> CertificateRow:
    """Return a certificate in the form in which it is stored."""
    start, end = certificate.not_before, certificate.not_after
    return CertificateRow(
        sha256=certificate.sha256,
        der=certificate.der,
        serial=certificate.serial,
        subject=certificate.subject,
        issuer=certificate.issuer,
        not_before=int(start.timestamp()) if start else None,
        not_after=int(end.timestamp()) if end else None,
        # Some certificates have ten thousand names; the full list stays in the DER.
        names=tuple(certificate.names[:MAX_STORED_NAMES]),
        key=certificate.key,
        is_ca=int(certificate.is_ca),
    )


def certificate_view(certificate: Certificate) -> CertificateView:
    """Return a certificate in the form in which it is shown."""
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
    """Return the certificate status of a stapled OCSP response; None without one.

    It is good, revoked, unknown, unreadable, or the error status of the response. The signature is
    not verified here (certmgr/checks/ocsp.py does that).
    """
    if not der:
        return None

    # Servers send all kinds of broken responses, so any error of the parser is expected here.
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name.lower()
        return response.certificate_status.name.lower()
    except PARSE_ERRORS:
        return "unreadable"


def _address(judged: JudgedAddress) -> AddressView:
    evidence = judged.evidence
    failure = evidence.failure
    error = (failure.layer, failure.reason) if failure is not None else None
    # A path needs a few certificates; a server may send any number.
    # The certificates are stored once, so that the report needs only their digests.
    chain = tuple(c.sha256 for c in judged.chain[:32])
    no_route = failure is not None and failure.kind is FailureKind.NO_ROUTE
    return AddressView(
        address=evidence.address,
        tls_version=evidence.tls_version,
        cipher=evidence.cipher,
        group=evidence.group,
        alpn=evidence.alpn,
        ocsp=staple_status(evidence.ocsp),
        chain=chain,
        trusted=judged.trusted,
        error=error,
        no_route=no_route,
        public=None if judged.trusted is None or judged.verdict is None else judged.verdict.public,
        refuses_browsers=evidence.browser_failure is not None,
        post_quantum=evidence.post_quantum,
        trust_ends=judged.trust_ends,
    )


def build_report(judgement: Judgement) -> EndpointReport:
    """Build the report of an endpoint from its judgement."""
    evidence = judgement.evidence
    addresses = tuple(map(_address, judgement.addresses))
    leaf = judgement.leaf
    # A refused address was not probed, so it is as unknown as one that did not answer.
    silent = tuple(
        a.address
        for a in evidence.addresses
        if not a.chain and a.failure is not None and a.failure.kind in _UNDETERMINED
    ) + tuple(a for a, _ in evidence.resolution.refused)
    # If the query for one address family failed, unknown addresses may exist.
    resolved = (
        evidence.resolution.status in ("ok", "fixed", "nxdomain", "nodata")
        and not evidence.resolution.partial
        and evidence.error is None
    )
    # What a foreign address serves, or not, decides nothing about the endpoint.
    own = [a for a in addresses if a.address not in judgement.foreign]
    silent = tuple(a for a in silent if a not in judgement.foreign)
    good = judgement.good
    error = None
    if not good:
        # An internal error explains most, then a failed handshake, then the DNS.
        first = next((a.error for a in own if a.error is not None), None)
        if evidence.error is not None:
            error = ("local", evidence.error)
        elif first is not None:
            error = first
        elif evidence.resolution.reason:
            error = ("dns", evidence.resolution.reason)
        elif evidence.resolution.refused:
            error = ("local", "the address is internal and not allowed")
    # One address that answers is enough to determine what is wrong with the endpoint.
    undetermined = not good and (not resolved or (bool(silent) and len(silent) >= len(own)))
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
        rules=judgement.rules,
        foreign=judgement.foreign,
        explained=judgement.explained,
    )


def _web(evidence: Evidence) -> PageSummary | None:
    visits = evidence.visits
    if visits is None:
        return None
    if not visits:
        # An empty list (not None): the purpose of the domain is one without a page.
        return PageSummary(None, "", expected=False)
    plain, over_tls = undetermined(visits)
    skipped = frozenset(
        a.address
        for a in evidence.addresses
        if a.failure is not None and a.failure.kind is FailureKind.NO_ROUTE
    )
    # Only these addresses can disprove a finding that a visit over HTTPS gave.
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
