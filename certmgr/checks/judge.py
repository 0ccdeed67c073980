"""One endpoint's evidence -> its findings.

Pure: trust store, issuers, inventory and ``now`` are parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from certmgr.checks.actors import with_actor
from certmgr.checks.certificate import change_dates, date_findings, leaf_findings
from certmgr.checks.chain import order_findings, path_findings
from certmgr.checks.deployment import (
    ServedCertificate,
    consistency_findings,
    default_certificate,
    unexpected,
)
from certmgr.checks.http import NO_PAGE, http_findings
from certmgr.checks.ocsp import Staple
from certmgr.checks.stapling import staple_findings, staple_of
from certmgr.checks.transport import (
    FailureHistory,
    confirmed_unreachable,
    dns_findings,
    finding,
    no_route,
    pointing_findings,
    transport_findings,
)
from certmgr.net.addresses import Network
from certmgr.scan.evidence import AddressEvidence, Evidence, FailureKind
from certmgr.x509.trust import SETTLED, Issuers, PathVerdict, TrustStore
from inventory.certificates import Certificate
from inventory.targets import Target
from inventory.vocabulary import SEVERITY_ORDER, Finding, Parties, Severity

# Findings that say why a verifier refuses a chain.
_EXPLAINS = frozenset(
    {"certificate-malformed", "key-weak", "signature-weak", "san-missing", "ca-distrusted"}
)
# On SMTP port 25 senders do not check names and trust (unless MTA-STS or DANE applies): these are
# remarks there.
_NOT_CHECKED_BY_SENDERS = frozenset(
    {
        "name-mismatch",
        "default-certificate",
        "san-missing",
        "self-signed",
        "untrusted-root",
        "chain-incomplete",
        "intermediate-expired",
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
    """What the judgement of an endpoint needs to know beside the evidence.

    ``parties`` None: not in the inventory.
    """

    parties: Parties | None = None
    networks: tuple[Network, ...] = ()
    servers: frozenset[str] = frozenset()
    history: FailureHistory | None = None
    ever_good: bool = False
    client_names: Callable[[], frozenset[str]] = frozenset
    purpose: str = "site"
    expected: frozenset[str] = (
        frozenset()
    )  # SHA-256 of the leaves that we installed and proved; empty: nothing is expected


@dataclass(frozen=True, slots=True)
class JudgedAddress:
    evidence: AddressEvidence
    chain: tuple[Certificate, ...] = ()
    trusted: bool | None = None
    verdict: PathVerdict | None = None
    staple: Staple | None = None

    @property
    def leaf(self) -> Certificate | None:
        return self.chain[0] if self.chain else None


@dataclass(frozen=True, slots=True)
class Judgement:
    """``findings``: worst first, one a code.

    ``unresolved``: a path was not found; with further issuers it may be.
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
        """Whether the look succeeded: a certificate was seen at some address."""
        return any(a.chain for a in self.addresses)

    def stable_until(self, now: datetime) -> datetime | None:
        """Until when the same evidence gives the same findings, at most a week; None where that
        cannot be said.
        """
        if self.unresolved or not self.addresses:
            return None
        dates = [now + MEMORY]
        for one in self.addresses:
            leaf, verdict = one.leaf, one.verdict
            if (
                leaf is None
                or verdict is None
                or leaf.not_before is None
                or leaf.not_after is None
                or one.evidence.other_chain
            ):
                return None
            dates += change_dates(leaf.not_before, leaf.not_after)
            dates += [
                d for c in verdict.path[1:] for d in (c.not_before, c.not_after) if d is not None
            ]
            if one.staple is not None and one.staple.until is not None:
                dates.append(one.staple.until)
        return min(d for d in dates if d > now)


# How long a judgement is remembered at most: rules and stores change too.
MEMORY = timedelta(days=7)


def _end(leaf: Certificate) -> float:
    return leaf.not_after.timestamp() if leaf.not_after is not None else 0.0


@dataclass(slots=True)
class Judge:
    """Collaborators of the judgement that live for a run."""

    trust: TrustStore
    parse: Callable[[bytes], Certificate]
    issuers: Issuers = field(default_factory=Issuers)

    def judge(self, evidence: Evidence, context: JudgingContext, now: datetime) -> Judgement:
        if evidence.error is not None:
            error = finding("scanner-error", error=evidence.error)
            return Judgement(
                evidence, (error,), tuple(JudgedAddress(a) for a in evidence.addresses)
            )
        found: list[Finding] = [*dns_findings(evidence)]
        pointing = [*pointing_findings(evidence, context.networks, context.servers)]
        judged, served, unresolved = [], [], False
        for address in evidence.addresses:
            found += transport_findings(evidence, address)
            one = self._address(evidence, address, context, now, found)
            judged.append(one)
            if one.leaf is not None:
                served.append(ServedCertificate(address.address, one.leaf, one.trusted))
                unresolved |= one.verdict is not None and one.verdict.reason not in SETTLED
            if address.other_chain:
                self._other(evidence, address, now, found, served)
        if len(served) > 1:
            found += consistency_findings(served)
        found += unexpected(served, context.expected)
        if no_route(evidence):
            found.append(
                finding(
                    "scanner-error",
                    [a.address for a in evidence.addresses],
                    error="no route from here to these addresses",
                )
            )
        for address in evidence.addresses:
            visits = [v for v in evidence.visits or () if v.address == address.address]
            found += http_findings(evidence.target, visits, context.purpose)
        found = confirmed_unreachable(found, context.history, now)
        found = for_purpose(for_port(evidence.target, found), context.purpose)
        merged = merge([*found, *pointing])
        default = any(f.code == "default-certificate" for f in merged)
        findings = tuple(
            with_actor(
                f,
                context.parties,
                elsewhere=bool(pointing),
                ever_had_certificate=context.ever_good,
                not_theirs=default,
            )
            for f in merged
        )
        return Judgement(evidence, findings, tuple(judged), unresolved)

    def _address(
        self,
        evidence: Evidence,
        address: AddressEvidence,
        context: JudgingContext,
        now: datetime,
        found: list[Finding],
    ) -> JudgedAddress:
        if not address.chain:
            return JudgedAddress(address)
        chain = tuple(self.parse(der) for der in address.chain)
        for certificate in chain[1:33]:
            self.issuers.add(certificate)
        host = evidence.target.host
        at = (address.address,)
        malformed = address.failure is not None and address.failure.kind is FailureKind.MALFORMED
        verdict = self.trust.assess(chain, self.issuers, now)
        leaf = chain[0]
        about = [*date_findings(leaf, now, at), *leaf_findings(leaf, host, verdict, at)]
        explained = malformed or any(f.code in _EXPLAINS for f in about)
        about += path_findings(verdict, at, explained)
        if verdict.trusted is not None and len(chain) > 1:
            about += order_findings(chain, verdict, at)
        mismatch = any(f.code == "name-mismatch" for f in about)
        if (
            mismatch
            and address.without_sni == leaf.der
            and default_certificate(leaf, host, context.client_names)
        ):
            about.append(
                finding("default-certificate", at, subject=leaf.subject, names=list(leaf.names[:5]))
            )
        staple = staple_of(address, chain, verdict, now)
        found += [*about, *staple_findings(staple, leaf, at)]
        return JudgedAddress(address, chain, verdict.trusted, verdict, staple)

    def _other(
        self,
        evidence: Evidence,
        address: AddressEvidence,
        now: datetime,
        found: list[Finding],
        served: list[ServedCertificate],
    ) -> None:
        """The certificate of the other key type is judged like the first (``--deep``)."""
        chain = tuple(self.parse(der) for der in address.other_chain)
        verdict = self.trust.assess(chain, self.issuers, now)
        at = (address.address,)
        about = [
            *date_findings(chain[0], now, at),
            *leaf_findings(chain[0], evidence.target.host, verdict, at),
        ]
        about += path_findings(verdict, at, any(f.code in _EXPLAINS for f in about))
        found += [
            replace(f, evidence=f.evidence | {"key": chain[0].key, "deep": True}) for f in about
        ]
        served.append(ServedCertificate(address.address, chain[0], verdict.trusted))


def for_port(target: Target, findings: Iterable[Finding]) -> list[Finding]:
    """Names and trust on SMTP port 25 are remarks."""
    if target.protocol != "smtp" or target.port != 25:
        return list(findings)
    return [
        replace(f, severity=Severity.INFO) if f.code in _NOT_CHECKED_BY_SENDERS else f
        for f in findings
    ]


def for_purpose(findings: Iterable[Finding], purpose: str) -> list[Finding]:
    """A name that nobody opens in a browser needs no HTTPS: that it is missing is a remark."""
    if purpose not in NO_PAGE:
        return list(findings)
    return [
        replace(f, severity=Severity.INFO) if f.code == "https-missing" else f for f in findings
    ]


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """One finding a code: the addresses together, the worst severity, its evidence. Worst first."""
    by_code: dict[str, list[Finding]] = {}
    for one in findings:
        by_code.setdefault(one.code, []).append(one)
    merged = [_merged(group) for group in by_code.values()]
    return sorted(merged, key=lambda f: (SEVERITY_ORDER[f.severity], f.code))


def _merged(group: Sequence[Finding]) -> Finding:
    if len(group) == 1:
        return group[0]
    worst = min(group, key=lambda f: SEVERITY_ORDER[f.severity])
    return replace(worst, addresses=tuple(dict.fromkeys(a for f in group for a in f.addresses)))
