"""Judge the evidence of one endpoint.

Pure: trust store, issuers, inventory and ``now`` are parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from certmgr.checks.actors import with_actor
from certmgr.checks.browser_rules import issuer_date_findings, key_usage_findings
from certmgr.checks.certificate import change_dates, date_findings, leaf_findings
from certmgr.checks.chain import order_findings, path_findings
from certmgr.checks.deployment import (
    ServedCertificate,
    consistency_findings,
    default_certificate,
    unexpected_findings,
)
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
        "issuer-not-yet-valid",
        "certificate-expired",
        "certificate-not-yet-valid",
        "certificate-expiring",
        "ca-distrusted",
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
    """

    evidence: Evidence
    findings: tuple[Finding, ...]
    addresses: tuple[JudgedAddress, ...]
    unresolved: bool = False

    @property
    def leaf(self) -> Certificate | None:
        """The certificate that ends first among those that the addresses serve."""
        leaves = [a.leaf for a in self.addresses if a.leaf is not None]
        return min(leaves, key=_end, default=None)

    @property
    def good(self) -> bool:
        """Whether the probe succeeded: at least one address served a certificate."""
        return any(a.chain for a in self.addresses)

    def stable_until(self, now: datetime) -> datetime | None:
        """Return until when the same evidence gives the same findings; None if undetermined.

        It is at most a week from now.
        """
        # Additional issuers, or another DNS answer, may change the findings at any time.
        if self.unresolved or not self.addresses:
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

    def judge(self, evidence: Evidence, context: JudgingContext, now: datetime) -> Judgement:
        """Return the findings of one endpoint."""
        if evidence.error is not None:
            error = finding("scanner-error", error=evidence.error)
            return Judgement(
                evidence, (error,), tuple(JudgedAddress(a) for a in evidence.addresses)
            )
        collected: list[Finding] = [*dns_findings(evidence)]
        pointing = [*pointing_findings(evidence, context.networks, context.servers)]
        judged_addresses, served, unresolved = [], [], False
        for address in evidence.addresses:
            collected += transport_findings(evidence, address, self.parse)
            judged_address = self._address(evidence, address, context, now, collected)
            judged_addresses.append(judged_address)
            if judged_address.leaf is not None:
                served.append(
                    ServedCertificate(address.address, judged_address.leaf, judged_address.trusted)
                )
                unresolved |= (
                    judged_address.verdict is not None
                    and judged_address.verdict.reason not in SETTLED
                )
            if address.other_chain:
                self._other_key_type(evidence, address, now, collected, served)
        if len(served) > 1:
            collected += consistency_findings(served)
        collected += unexpected_findings(served, context.expected)
        if has_no_route(evidence):
            collected.append(
                finding(
                    "scanner-error",
                    [a.address for a in evidence.addresses],
                    error="no route from here to these addresses",
                )
            )
        for address in evidence.addresses:
            visits = [v for v in evidence.visits or () if v.address == address.address]
            collected += http_findings(evidence.target, visits, context.purpose)
        collected = without_repeated_keys(confirmed_unreachable(collected, context.history, now))
        collected = for_purpose(for_port(evidence.target, collected), context.purpose)
        merged = merge([*collected, *pointing])
        # The actor depends on it: a new certificate does not replace the default one.
        serves_default_certificate = any(f.code == "default-certificate" for f in merged)
        findings = tuple(
            with_actor(
                f,
                context.parties,
                elsewhere=bool(pointing),
                ever_had_certificate=context.ever_good,
                serves_default=serves_default_certificate,
            )
            for f in merged
        )
        return Judgement(evidence, findings, tuple(judged_addresses), unresolved)

    def _address(
        self,
        evidence: Evidence,
        address: AddressEvidence,
        context: JudgingContext,
        now: datetime,
        collected: list[Finding],
    ) -> JudgedAddress:
        if not address.chain:
            return JudgedAddress(address)
        chain = tuple(self.parse(der) for der in address.chain)
        # Issuers of all servers help to complete chains later in the run.
        for certificate in chain[1:33]:
            self.issuers.add(certificate)
        host = evidence.target.host
        at = (address.address,)
        malformed = address.failure is not None and address.failure.kind is FailureKind.MALFORMED
        verdict = self.trust.assess(chain, self.issuers, now)
        leaf = chain[0]
        address_findings = [*date_findings(leaf, now, at), *leaf_findings(leaf, host, verdict, at)]
        # Clients of mail and data services do not enforce the key usage of a handshake.
        if evidence.target.protocol == "https":
            usage = [*key_usage_findings(leaf, address.tls_version, address.cipher, at)]
            # TLS 1.3 checks it before the certificate is verified, TLS 1.2 after that. Of several
            # findings with one code, the first gives the evidence.
            first = address.tls_version != "TLSv1.2"
            address_findings = [*usage, *address_findings] if first else address_findings + usage
        address_findings += issuer_date_findings(verdict, now, at)
        explained = malformed or any(f.code in _EXPLAINS for f in address_findings)
        address_findings += path_findings(verdict, at, explained, self.unavailable)
        # Without a verdict on the path, the order of the chain is unknown.
        if verdict.trusted is not None and len(chain) > 1:
            address_findings += order_findings(chain, verdict, at)
        mismatch = any(f.code == "name-mismatch" for f in address_findings)
        if (
            mismatch
            and address.without_sni == leaf.der
            and default_certificate(leaf, host, context.client_names)
        ):
            address_findings.append(
                finding("default-certificate", at, subject=leaf.subject, names=list(leaf.names[:5]))
            )
        staple = staple_of(address, chain, verdict, now)
        collected += [*address_findings, *staple_findings(staple, leaf, at)]
        return JudgedAddress(address, chain, verdict.trusted, verdict, staple)

    def _other_key_type(
        self,
        evidence: Evidence,
        address: AddressEvidence,
        now: datetime,
        collected: list[Finding],
        served: list[ServedCertificate],
    ) -> None:
        """Judge the certificate of the other key type like the first one (``--deep``)."""
        chain = tuple(self.parse(der) for der in address.other_chain)
        verdict = self.trust.assess(chain, self.issuers, now)
        at = (address.address,)
        address_findings = [
            *date_findings(chain[0], now, at),
            *leaf_findings(chain[0], evidence.target.host, verdict, at),
        ]
        address_findings += path_findings(
            verdict, at, any(f.code in _EXPLAINS for f in address_findings), self.unavailable
        )
        collected += [
            replace(f, evidence=f.evidence | {"key": chain[0].key, "deep": True})
            for f in address_findings
        ]
        served.append(ServedCertificate(address.address, chain[0], verdict.trusted))


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
