"""What a scanning process gets and returns: its settings, jobs and results, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from certmgr.checks.transport import FailureHistory
from certmgr.inspection.report import CertificateRow, EndpointReport
from certmgr.net.addresses import Network
from certmgr.scan.dial_request import DialLimits
from certmgr.scan.page_connection import WebOptions
from certmgr.x509.trust_data import built_in
from certmgr.x509.trust_rules import TrustRules
from inventory.clock import Clock, system_clock
from inventory.targets import Target
from inventory.vocabulary import Parties


@dataclass(slots=True)
class ScanJob:
    """One endpoint to scan.

    Attributes:
        key: Its row id, or its position on the command line.
        fixed: Addresses to probe instead of those from the DNS.
        history: Since when the endpoint fails; None if the last scan did not.
        ever_good: Whether a certificate was ever observed.
        was_good: Whether the last scan observed a certificate.
        fingerprint: The fingerprint of the last report.
        evidence_key: The key of the last evidence, while equal evidence gives equal findings.
        recheck_at: When the evidence key expires, in epoch seconds.
        pages: What its pages contained in the last scan (certmgr/scan/known_pages.py).
        paths: Paths to visit over HTTP and HTTPS, in addition to the home page.
        expected: SHA-256 of the leaves that were installed there.
    """

    key: int
    target: Target
    fixed: tuple[str, ...] = ()
    client_id: int | None = None
    parties: Parties | None = None
    history: FailureHistory | None = None
    ever_good: bool = False
    was_good: bool = False
    fingerprint: str = ""
    evidence_key: str = ""
    recheck_at: int | None = None
    pages: str = ""
    purpose: str = "site"
    paths: tuple[str, ...] = ()
    expected: frozenset[str] = frozenset()


@dataclass(slots=True)
class ScanResult:
    """The result of one job.

    Attributes:
        key: The key of the job.
        at: The time of the scan.
        good: Whether a certificate was observed.
        was_good: Whether the scan before observed one.
        undetermined: Whether it is unknown what the endpoint serves.
        fingerprint: The fingerprint of the report.
        report: The report; None if its fingerprint is that of the job.
        certificates: Certificates that this process had not sent before.
        evidence_key: For the next job. If it is empty and ``report`` is None, those of this job
            stay valid.
        recheck_at: When the evidence key expires, in epoch seconds.
        pages: What its pages contain, with ``evidence_key``.
        no_route: The IP versions to which this machine has no route.
    """

    key: int
    at: datetime
    good: bool
    was_good: bool
    undetermined: bool
    fingerprint: str
    # Most endpoints do not change between two scans, so most results have none.
    report: EndpointReport | None
    certificates: tuple[CertificateRow, ...] = ()
    evidence_key: str = ""
    recheck_at: int | None = None
    pages: str = ""
    no_route: frozenset[int] = frozenset()


@dataclass(slots=True)
class ScanSetup:
    """The settings of a scanning process, as values that can be sent to it.

    Attributes:
        store: The trust store.
        rules: The rules of browsers about CAs.
        cache: Whether verdicts about trust paths are cached by chain.
        deep: Whether to inspect the certificate of the other key type, TLS 1.0 and 1.1,
            and post-quantum key exchange.
        full: Whether to report each endpoint, changed or not.
        guarded: Whether internal addresses from the DNS are refused.
        allowed: Internal networks that may be probed.
        provider: The networks of the provider.
        servers: The addresses of the provider's servers.
        overrides: Addresses by (host, port), instead of those from the DNS.
        issuers: Intermediates that are known already, as DER.
        web: The options for pages; None: plain HTTP is not checked.
        ehlo_name: The name of this machine for mail servers; empty: its address.
        ignored: Codes of findings that are not reported, unless they are faults.
        clock: Dates each observation, and so each judgement.
    """

    limits: DialLimits = field(default_factory=DialLimits)
    store: str = "mozilla"
    ca_files: tuple[str, ...] = ()
    rules: TrustRules = field(default_factory=built_in)
    cache: bool = True
    deep: bool = False
    full: bool = False
    # The safe default: the owner of a name chooses its addresses, and could choose internal ones.
    guarded: bool = True
    resolvers: tuple[str, ...] = ()
    dns_timeout: float = 2.0
    allowed: tuple[Network, ...] = ()
    provider: tuple[Network, ...] = ()
    servers: frozenset[str] = frozenset()
    overrides: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    # As DER, since a parsed certificate cannot be sent to another process.
    issuers: tuple[bytes, ...] = ()
    fetch_issuers: bool = False
    web: WebOptions | None = None
    ehlo_name: str = ""
    ignored: frozenset[str] = frozenset()
    clock: Clock = system_clock
