"""Judge the evidence of one endpoint.

Pure: trust store, issuers, inventory and ``now`` are parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from certmgr.checks.actors import with_actor
from certmgr.checks.browser_rules import issuer_date_findings, key_usage_findings
from certmgr.checks.browser_trust import BrowserTrust, trust_findings
from certmgr.checks.certificate import change_dates, date_findings, leaf_findings
from certmgr.checks.chain import order_findings, path_findings
from certmgr.checks.collector import FindingCollector
from certmgr.checks.deployment import (
    ServedCertificate,
    consistency_findings,
    default_certificate,
    unexpected_findings,
)
from certmgr.checks.foreign_address import FoldedFindings, folded, foreign_addresses
from certmgr.checks.http import NO_PAGE, http_findings
from certmgr.checks.ocsp import Staple
from certmgr.checks.refused_offer import without_repeated_keys
from certmgr.checks.stapling import staple_findings, staple_of
from certmgr.checks.transport import (
    FailureHistory,
    confirmed_unreachable,
    dns_findings,
    finding,
    has_no_route,
    pointing_findings,
    transport_findings,
)
from certmgr.net.addresses import Network
from certmgr.scan.evidence import AddressEvidence, Evidence, FailureKind
from certmgr.x509.trust import SETTLED, Issuers, PathVerdict, TrustStore
from certmgr.x509.trust_data import built_in
from certmgr.x509.trust_rules import TrustRules
from certmgr.x509.trust_until import TrustEnd
from certmgr.x509.trust_until import change_dates as trust_change_dates
from inventory.certificates import Certificate
from inventory.targets import Target
from inventory.vocabulary import SEVERITY_ORDER, Finding, Parties, Severity

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
# On SMTP port 25, senders do not check names and trust, unless MTA-STS or DANE applies. These
# findings are only remarks there.
_NOT_CHECKED_BY_SENDERS = frozenset(
    {
        "name-mismatch",
        "default-certificate",
        "san-missing",
        "self-signed",
        "untrusted-root",
        "chain-incomplete",
        "intermediate-expired",
        "root-expired",
        "issuer-not-yet-valid",
        "certificate-expired",
        "certificate-not-yet-valid",
        "certificate-expiring",
        "ca-distrusted",
        "trust-ending",
        "verification-disputed",
        "sct-missing",
        "validity-too-long",
        "revoked",
        "staple-invalid",
    }
)


@dataclass(frozen=True, slots=True)
class JudgingContext:
    """The facts from the inventory that the judgement of an endpoint needs.

    Attributes:
        parties: None if the endpoint is not in the inventory.
        history: The failures of earlier runs.
        ever_good: Whether a certificate was ever seen.
        client_names: Returns all names of the client.
        expected: SHA-256 of the leaves that were installed and verified; if empty, none is
            expected.
    """

    parties: Parties | None = None
    networks: tuple[Network, ...] = ()
    servers: frozenset[str] = frozenset()
    history: FailureHistory | None = None
    ever_good: bool = False
    client_names: Callable[[], frozenset[str]] = frozenset
    purpose: str = "site"
    expected: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class JudgedAddress:
    """The judgement of one address."""

    evidence: AddressEvidence
    chain: tuple[Certificate, ...] = ()
    trusted: bool | None = None
    verdict: PathVerdict | None = None
    staple: Staple | None = None
    trust_ends: tuple[TrustEnd, ...] = ()

    @property
    def leaf(self) -> Certificate | None:
        """The served certificate, if any."""
        return self.chain[0] if self.chain else None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement of one endpoint.

    Attributes:
        findings: One finding per code, worst first.
        unresolved: No path was found, but additional issuers may complete one.
        failed: A check failed, so the judgement may not be reused.
        rules: The version of the trust rules that the judgement rests on.
        foreign: Addresses that are not the provider's, if others are. What they serve is not what
            the endpoint serves.
        explained: The findings at foreign addresses, which ``foreign-address`` stands for.
    """

    evidence: Evidence
    findings: tuple[Finding, ...]
    addresses: tuple[JudgedAddress, ...]
    unresolved: bool = False
    failed: bool = False
    rules: str = ""
    foreign: frozenset[str] = frozenset()
    explained: tuple[Finding, ...] = ()

    @property
    def own(self) -> list[JudgedAddress]:
        """The addresses without the foreign ones."""
        return [a for a in self.addresses if a.evidence.address not in self.foreign]

    @property
    def leaf(self) -> Certificate | None:
        """The certificate that ends first among those that the addresses serve."""
        leaves = [a.leaf for a in self.own if a.leaf is not None]
        return min(leaves, key=_end, default=None)

    @property
    def good(self) -> bool:
        """Whether the probe succeeded: at least one address served a certificate."""
        return any(a.chain for a in self.own)

    def stable_until(self, now: datetime) -> datetime | None:
        """Return until when the same evidence gives the same findings; None if undetermined.

        It is at most a week from now.
        """
        # Additional issuers, or another DNS answer, may change the findings at any time.
        if self.unresolved or self.failed or not self.addresses:
            return None
        dates = [now + MAX_JUDGEMENT_AGE]
        for judged in self.addresses:
            leaf, verdict = judged.leaf, judged.verdict
            if (
                leaf is None
                or verdict is None
                or leaf.not_before is None
                or leaf.not_after is None
                or judged.evidence.other_chain
            ):
                return None
            dates += change_dates(leaf.not_before, leaf.not_after)
            dates += trust_change_dates(judged.trust_ends)
            dates += [
                d for c in verdict.path[1:] for d in (c.not_before, c.not_after) if d is not None
            ]
            if judged.staple is not None and judged.staple.until is not None:
                dates.append(judged.staple.until)
        return min(d for d in dates if d > now)


# The maximum age of a judgement that is reused: rules and trust stores change too.
MAX_JUDGEMENT_AGE = timedelta(days=7)


def _end(leaf: Certificate) -> float:
    return leaf.not_after.timestamp() if leaf.not_after is not None else 0.0


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
        check, findings = collector.check, collector.findings
        if evidence.error is not None:
            findings.append(finding("scanner-error", error=evidence.error))
        check("resolution", (), lambda: dns_findings(evidence))
        nowhere: list[Finding] = []
        pointing = collector.value(
            "resolution",
            (),
            lambda: [*pointing_findings(evidence, context.networks, context.servers)],
            nowhere,
        )
        alone: tuple[str, ...] = ()
        foreign = collector.value(
            "resolution",
            (),
            lambda: foreign_addresses(evidence, context.networks, context.servers, context.parties),
            alone,
        )
        judged_addresses, served, unresolved = [], [], False
        for address in evidence.addresses:
            at = (address.address,)
            check("connection", at, partial(transport_findings, evidence, address, self.parse))
            judged = collector.value(
                "certificate",
                at,
                partial(self._address, evidence, address, context, now, collector),
                JudgedAddress(address),
            )
            judged_addresses.append(judged)
            if judged.leaf is not None:
                served.append(ServedCertificate(address.address, judged.leaf, judged.trusted))
                unresolved |= judged.verdict is None or judged.verdict.reason not in SETTLED
            if address.other_chain:
                check(
                    "certificate",
                    at,
                    partial(self._other_key_type, evidence, address, now, served),
                )
        # A foreign server is not expected to serve what ours do.
        own = [s for s in served if s.address not in foreign]
        if len(own) > 1:
            addresses = [s.address for s in own]
            check("comparison", addresses, lambda: consistency_findings(own))
        check("comparison", (), lambda: unexpected_findings(own, context.expected))
        if has_no_route(evidence):
            findings.append(
                finding(
                    "scanner-error",
                    [a.address for a in evidence.addresses],
                    error="no route from here to these addresses",
                )
            )
        for address in evidence.addresses:
            visits = [v for v in evidence.visits or () if v.address == address.address]
            check(
                "pages",
                (address.address,),
                partial(http_findings, evidence.target, visits, context.purpose),
            )
        result = collector.value(
            "summary",
            (),
            lambda: folded(
                self._summarised(evidence, findings, pointing, context, now), foreign, served
            ),
            FoldedFindings((*findings, *pointing)),
        )
        merged = merge([*result.findings, *collector.errors()])
        return Judgement(
            evidence,
            _with_actors(merged, context, elsewhere=bool(pointing)),
            tuple(judged_addresses),
            unresolved,
            failed=bool(collector.failed) or evidence.error is not None,
            rules=self.rules.version,
            foreign=frozenset(foreign),
            explained=tuple(merge(result.explained)),
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
        malformed = address.failure is not None and address.failure.kind is FailureKind.MALFORMED
        check = collector.check
        verdict = collector.value(
            "chain",
            at,
            lambda: self.trust.assess(chain, self.issuers, now),
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
        if any(f.code == "name-mismatch" for f in found) and address.without_sni == leaf.der:
            check("certificate", at, lambda: _default(leaf, host, context, at))
        staple = collector.value(
            "staple", at, lambda: staple_of(address, chain, verdict, now), Staple("unchecked")
        )
        check("staple", at, lambda: staple_findings(staple, leaf, at))
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
    since one of two verifiers may be stricter.
    """
    return entry.code in _EXPLAINS and (
        entry.severity == Severity.CRITICAL or verdict.reason == "disputed"
    )


def _default(
    leaf: Certificate, host: str, context: JudgingContext, at: tuple[str, ...]
) -> Iterator[Finding]:
    if default_certificate(leaf, host, context.client_names):
        yield finding("default-certificate", at, subject=leaf.subject, names=list(leaf.names[:5]))


def _with_actors(
    findings: Sequence[Finding], context: JudgingContext, *, elsewhere: bool
) -> tuple[Finding, ...]:
    # The actor depends on it: a new certificate does not replace the default one.
    serves_default_certificate = any(f.code == "default-certificate" for f in findings)
    return tuple(
        with_actor(
            f,
            context.parties,
            elsewhere=elsewhere,
            ever_had_certificate=context.ever_good,
            serves_default=serves_default_certificate,
        )
        for f in findings
    )


def for_port(target: Target, findings: Iterable[Finding]) -> list[Finding]:
    """Reduce findings about names and trust to remarks on SMTP port 25."""
    if target.protocol != "smtp" or target.port != 25:
        return list(findings)
    return [
        replace(f, severity=Severity.INFO) if f.code in _NOT_CHECKED_BY_SENDERS else f
        for f in findings
    ]


def for_purpose(findings: Iterable[Finding], purpose: str) -> list[Finding]:
    """Reduce missing HTTPS to a remark for names that visitors do not open in a browser."""
    if purpose not in NO_PAGE:
        return list(findings)
    return [
        replace(f, severity=Severity.INFO) if f.code == "https-missing" else f for f in findings
    ]


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """Merge findings into one per code, worst first.

    It has the evidence of the worst finding, and the addresses of all.
    """
    by_code: dict[str, list[Finding]] = {}
    for entry in findings:
        by_code.setdefault(entry.code, []).append(entry)
    merged = [_merged(group) for group in by_code.values()]
    return sorted(merged, key=lambda f: (SEVERITY_ORDER[f.severity], f.code))


def _merged(group: Sequence[Finding]) -> Finding:
    if len(group) == 1:
        return group[0]
    worst = min(group, key=lambda f: SEVERITY_ORDER[f.severity])
    return replace(worst, addresses=tuple(dict.fromkeys(a for f in group for a in f.addresses)))
