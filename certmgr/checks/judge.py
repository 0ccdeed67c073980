"""Judge the evidence of one endpoint.

Pure: trust store, issuers, inventory and ``now`` are parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from certmgr.checks.adjustments import for_port, for_purpose, merge, with_actors
from certmgr.checks.browser_rules import issuer_date_findings, key_usage_findings
from certmgr.checks.browser_trust import BrowserTrust, trust_findings
from certmgr.checks.certificate import date_findings, leaf_findings
from certmgr.checks.chain import order_findings, path_findings
from certmgr.checks.collector import FindingCollector
from certmgr.checks.deployment import (
    ServedCertificate,
    consistency_findings,
    default_certificate,
    unexpected_findings,
)
from certmgr.checks.elsewhere import elsewhere_dates, elsewhere_findings
from certmgr.checks.foreign_address import FoldedFindings, folded, foreign_addresses
from certmgr.checks.http import http_findings
from certmgr.checks.judgement import JudgedAddress, Judgement, JudgingContext
from certmgr.checks.ocsp import Staple
from certmgr.checks.refused_offer import without_repeated_keys
from certmgr.checks.stapling import staple_findings, staple_of
from certmgr.checks.transport import (
    confirmed_unreachable,
    dns_findings,
    finding,
    has_no_route,
    pointing_findings,
    transport_findings,
)
from certmgr.scan.evidence import AddressEvidence, Evidence, FailureKind
from certmgr.x509.trust import SETTLED, Issuers, PathVerdict, TrustStore
from certmgr.x509.trust_data import built_in
from certmgr.x509.trust_rules import TrustRules
from certmgr.x509.trust_until import TrustEnd
from inventory.certificates import Certificate
from inventory.vocabulary import Finding, Severity

# Findings that give the reason why a verifier refuses a chain.
_EXPLAINS = frozenset(
    {
        "certificate-malformed",
        "key-weak",
        "signature-weak",
        "san-missing",
        "ca-distrusted",
        "issuer-not-yet-valid",
    }
)


@dataclass(slots=True)
class _Addresses:
    """The judgement of all addresses.

    Attributes:
        unresolved: No path was found for one, but additional issuers may complete one.
    """

    judged: list[JudgedAddress] = field(default_factory=list)
    served: list[ServedCertificate] = field(default_factory=list)
    unresolved: bool = False


@dataclass(slots=True)
class Judge:
    """Judges endpoints with the collaborators of one run.

    Attributes:
        unavailable: SHA-256 of certificates whose issuer could not be downloaded in this run.
    """

    trust: TrustStore
    parse: Callable[[bytes], Certificate]
    issuers: Issuers = field(default_factory=Issuers)
    unavailable: set[str] = field(default_factory=set)
    rules: TrustRules = field(default_factory=built_in)
    browsers: BrowserTrust = field(init=False)

    def __post_init__(self) -> None:
        self.browsers = BrowserTrust(self.trust, self.rules, self.issuers)

    def judge(self, evidence: Evidence, context: JudgingContext, now: datetime) -> Judgement:
        """Return the findings of one endpoint.

        Each check stands alone: if one fails, the findings of all others stay.
        """
        collector = FindingCollector()
        findings = collector.findings
        if evidence.error is not None:
            findings.append(finding("scanner-error", error=evidence.error))
        pointing, foreign = self._resolution(evidence, context, collector)
        addresses = self._addresses(evidence, context, now, collector)
        served, unresolved = addresses.served, addresses.unresolved
        self._comparison(
            evidence, [s for s in served if s.address not in foreign], context, collector
        )
        others = self._pages(evidence, context, now, collector)
        result = collector.value(
            "summary",
            (),
            lambda: folded(
                self._summarised(evidence, findings, pointing, context, now), foreign, served
            ),
            # After an internal error, findings that nothing adjusted are better than none.
            FoldedFindings((*findings, *pointing)),
        )
        merged = merge([*result.findings, *collector.errors()])
        return Judgement(
            evidence,
            with_actors(merged, context, elsewhere=bool(pointing)),
            tuple(addresses.judged),
            unresolved,
            failed=bool(collector.failed) or evidence.error is not None,
            rules=self.rules.version,
            foreign=frozenset(foreign),
            explained=tuple(merge(result.explained)),
            others=others,
        )

    def _resolution(
        self, evidence: Evidence, context: JudgingContext, collector: FindingCollector
    ) -> tuple[list[Finding], tuple[str, ...]]:
        """Judge the DNS answer.

        Returns:
            The finding that no address is the provider's, if so; and the foreign addresses, if
            others are the provider's.
        """
        networks, servers = context.networks, context.servers
        collector.check("resolution", (), lambda: dns_findings(evidence))
        nowhere: list[Finding] = []
        pointing = collector.value(
            "resolution", (), lambda: [*pointing_findings(evidence, networks, servers)], nowhere
        )
        alone: tuple[str, ...] = ()
        foreign = collector.value(
            "resolution",
            (),
            lambda: foreign_addresses(evidence, networks, servers, context.parties),
            alone,
        )
        return pointing, foreign

    def _addresses(
        self,
        evidence: Evidence,
        context: JudgingContext,
        now: datetime,
        collector: FindingCollector,
    ) -> _Addresses:
        """Judge the connection and the certificate of each address."""
        made = _Addresses()
        for address in evidence.addresses:
            at = (address.address,)
            transport = partial(transport_findings, evidence, address, self.parse)
            collector.check("connection", at, transport)
            judged = collector.value(
                "certificate",
                at,
                partial(self._address, evidence, address, context, now, collector),
                JudgedAddress(address),
            )
            made.judged.append(judged)
            if judged.leaf is not None:
                made.served.append(ServedCertificate(address.address, judged.leaf, judged.trusted))
                made.unresolved |= judged.verdict is None or judged.verdict.reason not in SETTLED
            if address.other_chain:
                other = partial(self._other_key_type, evidence, address, now, made.served)
                collector.check("certificate", at, other)
        return made

    def _comparison(
        self,
        evidence: Evidence,
        own: Sequence[ServedCertificate],
        context: JudgingContext,
        collector: FindingCollector,
    ) -> None:
        """Compare what the addresses serve.

        Args:
            own: Without foreign addresses, which are not expected to serve what ours do.
        """
        if len(own) > 1:
            addresses = [s.address for s in own]
            collector.check("comparison", addresses, lambda: consistency_findings(own))
        collector.check("comparison", (), lambda: unexpected_findings(own, context.expected))
        if has_no_route(evidence):
            collector.findings.append(
                finding(
                    "scanner-error",
                    [a.address for a in evidence.addresses],
                    error="no route from here to these addresses",
                )
            )

    def _pages(
        self,
        evidence: Evidence,
        context: JudgingContext,
        now: datetime,
        collector: FindingCollector,
    ) -> tuple[datetime, ...]:
        """Judge the visits of the pages.

        Returns:
            The times at which the verdicts on the servers of redirects may change.
        """
        host, visited = evidence.target.host, evidence.visits or ()
        for address in evidence.addresses:
            visits = [v for v in visited if v.address == address.address]
            at = (address.address,)
            pages = partial(http_findings, evidence.target, visits, context.purpose)
            collector.check("pages", at, pages)
            for visit in (v for v in visits if v.elsewhere):
                others = partial(
                    elsewhere_findings,
                    host,
                    visit,
                    self.parse,
                    lambda chain: self.trust.assess(chain, self.issuers, now),
                    now,
                )
                collector.check("pages", at, others)
        none: tuple[datetime, ...] = ()
        return collector.value(
            "pages", (), lambda: tuple(elsewhere_dates(visited, self.parse)), none
        )

    def _summarised(
        self,
        evidence: Evidence,
        findings: Sequence[Finding],
        pointing: Sequence[Finding],
        context: JudgingContext,
        now: datetime,
    ) -> list[Finding]:
        """Return the findings with what the endpoint as a whole changes in them."""
        confirmed = without_repeated_keys(confirmed_unreachable(findings, context.history, now))
        purposed = for_purpose(for_port(evidence.target, confirmed), context.purpose)
        return [*purposed, *pointing]

    def _address(
        self,
        evidence: Evidence,
        address: AddressEvidence,
        context: JudgingContext,
        now: datetime,
        collector: FindingCollector,
    ) -> JudgedAddress:
        if not address.chain:
            return JudgedAddress(address)
        chain = tuple(self.parse(der) for der in address.chain)
        # Issuers of all servers help to complete chains later in the run.
        for certificate in chain[1:33]:
            self.issuers.add(certificate)
        host, leaf = evidence.target.host, chain[0]
        at = (address.address,)
        # The TLS library refused the chain already, so a refusal by the verifier has the same
        # cause.
        malformed = address.failure is not None and address.failure.kind is FailureKind.MALFORMED
        check = collector.check
        verdict = collector.value(
            "chain",
            at,
            lambda: self.trust.assess(chain, self.issuers, now),
            # An error of our verifier leaves trust undetermined: it is not a fault of the chain.
            PathVerdict("unreadable", None),
        )
        # TLS 1.3 checks the key usage before the certificate is verified, TLS 1.2 after that. Of
        # several findings with one code, the first gives the evidence. Clients of mail and data
        # services do not enforce the key usage of a handshake.
        web, late = evidence.target.protocol == "https", address.tls_version == "TLSv1.2"
        usage = partial(key_usage_findings, leaf, address.tls_version, address.cipher, at)
        found = check("certificate", at, usage) if web and not late else []
        check("dates", at, lambda: date_findings(leaf, now, at))
        found += check("certificate", at, lambda: leaf_findings(leaf, host, verdict, at))
        found += check("certificate", at, usage) if web and late else []
        found += check("chain", at, lambda: issuer_date_findings(verdict, now, at))
        nothing: tuple[TrustEnd, ...] = ()
        ends = collector.value("chain", at, lambda: self.browsers.ends(chain, verdict), nothing)
        found += check("chain", at, lambda: trust_findings(ends, self.rules, leaf, now, at))
        explained = malformed or any(_explains(f, verdict) for f in found)
        check("chain", at, lambda: path_findings(verdict, at, explained, self.unavailable))
        # Without a verdict on the path, the order of the chain is unknown.
        if verdict.trusted is not None and len(chain) > 1:
            check("chain", at, lambda: order_findings(chain, verdict, at))
        # With the same leaf without SNI, no virtual host has the name. With another one, the
        # virtual host exists and has the wrong certificate.
        if any(f.code == "name-mismatch" for f in found) and address.without_sni == leaf.der:
            check("certificate", at, lambda: _default(leaf, host, context, at))
        staple = _judged_staple(address, chain, verdict, now, collector)
        return JudgedAddress(
            address,
            chain,
            trusted=verdict.trusted,
            verdict=verdict,
            staple=staple,
            trust_ends=ends,
        )

    def _other_key_type(
        self,
        evidence: Evidence,
        address: AddressEvidence,
        now: datetime,
        served: list[ServedCertificate],
    ) -> Iterator[Finding]:
        """Judge the certificate of the other key type like the first one (``--deep``)."""
        chain = tuple(self.parse(der) for der in address.other_chain)
        verdict = self.trust.assess(chain, self.issuers, now)
        at = (address.address,)
        address_findings = [
            *date_findings(chain[0], now, at),
            *leaf_findings(chain[0], evidence.target.host, verdict, at),
            *trust_findings(self.browsers.ends(chain, verdict), self.rules, chain[0], now, at),
        ]
        address_findings += path_findings(
            verdict, at, any(_explains(f, verdict) for f in address_findings), self.unavailable
        )
        for entry in address_findings:
            yield replace(entry, evidence=entry.evidence | {"key": chain[0].key, "deep": True})
        served.append(ServedCertificate(address.address, chain[0], verdict.trusted))


def _explains(entry: Finding, verdict: PathVerdict) -> bool:
    """Return whether a finding gives the reason why a verifier refuses a chain.

    Browsers accept what is not critical, so it does not explain a refusal. It explains a dispute,
    since one of two verifiers may be stricter. So do missing names: only one of them requires a
    name.
    """
    if verdict.reason == "disputed":
        return entry.code in _EXPLAINS
    explains = entry.code in _EXPLAINS and entry.code != "san-missing"
    return explains and entry.severity == Severity.CRITICAL


def _judged_staple(
    address: AddressEvidence,
    chain: tuple[Certificate, ...],
    verdict: PathVerdict,
    now: datetime,
    collector: FindingCollector,
) -> Staple:
    at = (address.address,)
    staple = collector.value(
        "staple", at, lambda: staple_of(address, chain, verdict, now), Staple("unchecked")
    )
    collector.check("staple", at, lambda: staple_findings(staple, chain[0], at))
    return staple


def _default(
    leaf: Certificate, host: str, context: JudgingContext, at: tuple[str, ...]
) -> Iterator[Finding]:
    if default_certificate(leaf, host, context.client_names):
        yield finding("default-certificate", at, subject=leaf.subject, names=list(leaf.names[:5]))
