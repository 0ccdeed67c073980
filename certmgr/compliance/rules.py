"""Rules: what is known of one HTTPS endpoint -> whether it complies.

Each is a pure function with a name that milestones and deadlines use.

A rule never turns "could not tell" into good or bad: what was not seen is not determined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from certmgr.checks.certificate import expiring
from certmgr.checks.lifetimes import BACKDATING, LIMITS, lifetime_seconds, limit_days, too_long
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding


class ComplianceState(StrEnum):
    COMPLIES = "complies"
    FAILS = "does-not-comply"
    WILL_FAIL = "will-not-comply"
    UNKNOWN = "not-determined"
    WAIVED = "waived"
    NONE = (  # the rule says nothing about it: no certificate there, or one of a private CA
        "not-affected"
    )


@dataclass(frozen=True, slots=True)
class LeafFacts:
    """A certificate that is served.

    ``public``: it leads to an anchor of the browsers' store; None: not determined.
    """

    not_before: datetime
    not_after: datetime
    public: bool | None


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """What is known of one HTTPS endpoint at an instant.

    ``looked``: it was judged at all; ``visited``: plain HTTP was asked.
    """

    target: Target
    purpose: str
    findings: tuple[Finding, ...]
    leaves: tuple[LeafFacts, ...]
    looked: bool
    visited: bool
    accepted: tuple[tuple[Finding, Acceptance], ...] = ()

    def having(self, codes: Set[str]) -> tuple[Finding, ...]:
        """The faults of these codes: neither remarks nor what could not be told."""
        if not self.findings:
            return ()
        return tuple(
            f
            for f in self.findings
            if f.code in codes and f.severity not in ("info", "undetermined")
        )

    @property
    def undetermined(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "undetermined")


@dataclass(frozen=True, slots=True)
class RuleResult:
    """``findings``: why it does not comply, or could not be told.

    ``since``: from when it will not. ``note``: in words, a message id.
    """

    state: ComplianceState
    findings: tuple[Finding, ...] = ()
    since: datetime | None = None
    note: str = ""


Rule = Callable[[EndpointFacts, datetime], RuleResult]
_SECRETS = frozenset({"http-collects-secrets"})
_INPUTS = _SECRETS | {"http-collects-input"}
_PAGES = _INPUTS | {"http-served"}
_NO_CONNECTION = frozenset(
    {
        "https-missing",
        "not-tls",
        "handshake-failed",
        "connection-failed",
        "unreachable",
        "name-not-found",
    }
)
_BAD_CERTIFICATE = frozenset(
    {
        "certificate-expired",
        "certificate-not-yet-valid",
        "name-mismatch",
        "default-certificate",
        "san-missing",
        "self-signed",
        "chain-incomplete",
        "intermediate-expired",
        "untrusted-root",
        "ca-distrusted",
        "certificate-malformed",
        "key-weak",
        "signature-weak",
        "validity-too-long",
        "revoked",
        "sct-missing",
    }
)
_OLD_TLS = frozenset({"tls-legacy-only", "ciphers-obsolete"})
_OF_THE_PAGE = frozenset(
    {
        "http-unknown",
        "too-large",
        "dns-failure",
        "connection-timeout",
        "address-refused",
        "scanner-error",
    }
)
_OF_TLS = frozenset(
    {
        "dns-failure",
        "connection-timeout",
        "address-refused",
        "scanner-error",
        "verification-disputed",
        "revocation-unknown",
        "too-large",
    }
)
NOT_LOOKED = "it was not looked at yet"
NOT_VISITED = "plain HTTP was not asked yet"
TRUST_UNKNOWN = "whether it is of a public CA could not be told"
NEAR_BOUNDARY = "it was issued within 48 hours of the change, so the older limit may hold"


def _by_page(codes: frozenset[str]) -> Rule:
    def rule(known: EndpointFacts, at: datetime) -> RuleResult:
        if failed := known.having(codes):
            return RuleResult(ComplianceState.FAILS, failed)
        if not known.looked or not known.visited:
            return RuleResult(
                ComplianceState.UNKNOWN, note=NOT_VISITED if known.looked else NOT_LOOKED
            )
        if doubts := tuple(f for f in known.undetermined if f.code in _OF_THE_PAGE):
            return RuleResult(ComplianceState.UNKNOWN, doubts)
        return RuleResult(ComplianceState.COMPLIES)

    return rule


def _by_tls(codes: frozenset[str], needs_certificate: bool = False) -> Rule:
    def rule(known: EndpointFacts, at: datetime) -> RuleResult:
        if failed := known.having(codes):
            return RuleResult(ComplianceState.FAILS, failed)
        if not known.looked:
            return RuleResult(ComplianceState.UNKNOWN, note=NOT_LOOKED)
        if doubts := tuple(f for f in known.undetermined if f.code in _OF_TLS):
            return RuleResult(ComplianceState.UNKNOWN, doubts)
        if not known.leaves:
            missing = known.having(_NO_CONNECTION)
            if not needs_certificate:
                return RuleResult(ComplianceState.NONE)
            return RuleResult(
                ComplianceState.FAILS if missing else ComplianceState.UNKNOWN,
                missing,
                note="" if missing else NOT_LOOKED,
            )
        return RuleResult(ComplianceState.COMPLIES)

    return rule


no_secrets_over_http = _by_page(_SECRETS)
no_input_over_http = _by_page(_INPUTS)
no_page_over_http = _by_page(_PAGES)
no_mixed_content = _by_page(frozenset({"mixed-content"}))
modern_tls = _by_tls(_OLD_TLS)
no_weak_signature = _by_tls(frozenset({"signature-weak"}))
no_weak_key = _by_tls(frozenset({"key-weak"}))
trusted_ca = _by_tls(frozenset({"ca-distrusted"}))


def _not_of(cas: frozenset[str]) -> Rule:
    """No certificate of these CAs that browsers no longer trust (names as in
    certmgr/checks/distrusted.py).
    """

    def rule(known: EndpointFacts, at: datetime) -> RuleResult:
        others = tuple(
            f for f in known.findings if f.code != "ca-distrusted" or f.evidence.get("ca") in cas
        )
        return trusted_ca(replace(known, findings=others), at)

    return rule


not_symantec = _not_of(frozenset({"Symantec"}))
not_entrust = _not_of(frozenset({"Entrust"}))
not_chunghwa_or_netlock = _not_of(frozenset({"Chunghwa Telecom", "NetLock"}))
_stays_there = _by_page(frozenset({"redirect-insecure", "redirect-loop"}))
_redirects = _by_page(frozenset({"redirect-missing"}))
_certificate_now = _by_tls(_BAD_CERTIFICATE | _NO_CONNECTION | _OLD_TLS, needs_certificate=True)


def valid_certificate(known: EndpointFacts, at: datetime) -> RuleResult:
    """A browser accepts the certificate; where it ends soon, it will not from then on."""
    result = _certificate_now(known, at)
    if result.state is ComplianceState.COMPLIES and (
        doubts := tuple(f for f in known.undetermined if f.code == "sct-missing")
    ):
        return RuleResult(ComplianceState.UNKNOWN, doubts)
    if result.state is ComplianceState.COMPLIES:
        ends = [
            leaf.not_after
            for leaf in known.leaves
            if expiring(leaf.not_before, leaf.not_after, at) is not None
        ]
        if ends:
            return RuleResult(
                ComplianceState.WILL_FAIL,
                known.having({"certificate-expiring"}),
                since=min(ends) + timedelta(seconds=1),
            )
    return result


def opens_over_https(known: EndpointFacts, at: datetime) -> RuleResult:
    """Who asks for https:// gets there, and stays there."""
    return worst([_stays_there(known, at), valid_certificate(known, at)])


def https_only(known: EndpointFacts, at: datetime) -> RuleResult:
    """A valid certificate, no page over plain HTTP, and every plain address leads to HTTPS.

    The usual rule of a provider's own.
    """
    results = [opens_over_https(known, at), no_page_over_http(known, at), _redirects(known, at)]
    return worst(results)


def certificate_lifetime(known: EndpointFacts, at: datetime) -> RuleResult:
    """Each served certificate lives no longer than the rule at its time of issue allows.

    Baseline Requirements 6.3.2; public CAs only.

    Near a boundary (48 h, BR 7.1.2.7) notBefore does not tell under which rule it was issued: not
    determined where that decides.
    """
    return _lifetimes(known, known.leaves)


def _lifetimes(known: EndpointFacts, leaves: Sequence[LeafFacts]) -> RuleResult:
    if not known.looked:
        return RuleResult(ComplianceState.UNKNOWN, note=NOT_LOOKED)
    if not leaves:
        return RuleResult(ComplianceState.NONE)
    return worst(lifetime_of(leaf, known.having({"validity-too-long"})) for leaf in leaves)


def _issued_between(since: datetime, until: datetime | None) -> Rule:
    """The limit of one milestone binds only what was issued while it was the strictest; around its
    beginning both may hold.
    """

    def rule(known: EndpointFacts, at: datetime) -> RuleResult:
        mine = [
            leaf
            for leaf in known.leaves
            if since <= leaf.not_before + BACKDATING and (until is None or leaf.not_before < until)
        ]
        return _lifetimes(known, mine) if known.looked else RuleResult(ComplianceState.NONE)

    return rule


def lifetime_of(leaf: LeafFacts, findings: tuple[Finding, ...] = ()) -> RuleResult:
    if leaf.public is False:
        return RuleResult(ComplianceState.NONE)
    if leaf.public is None:
        return RuleResult(ComplianceState.UNKNOWN, note=TRUST_UNKNOWN)
    if too_long(leaf.not_before, leaf.not_after) is not None:
        return RuleResult(ComplianceState.FAILS, findings)
    days = -(-lifetime_seconds(leaf.not_before, leaf.not_after) // 86_400)
    strictest = min(
        (
            d
            for d in (
                limit_days(leaf.not_before + delta)
                for delta in (-BACKDATING, timedelta(0), BACKDATING)
            )
            if d is not None
        ),
        default=days,
    )
    if days > strictest:
        return RuleResult(ComplianceState.UNKNOWN, note=NEAR_BOUNDARY)
    return RuleResult(ComplianceState.COMPLIES)


_ORDER = (
    ComplianceState.FAILS,
    ComplianceState.UNKNOWN,
    ComplianceState.WILL_FAIL,
    ComplianceState.WAIVED,
    ComplianceState.COMPLIES,
    ComplianceState.NONE,
)


def worst(results: Iterable[RuleResult]) -> RuleResult:
    """The worst of several, with the findings of all that are as bad."""
    listed = list(results)
    if len(listed) == 1:
        return listed[0]
    state = min((r.state for r in listed), key=_ORDER.index, default=ComplianceState.COMPLIES)
    same = [r for r in listed if r.state is state]
    findings = tuple({(f.code, f.addresses): f for r in same for f in r.findings}.values())
    since = min((r.since for r in same if r.since is not None), default=None)
    return RuleResult(state, findings, since, next((r.note for r in same if r.note), ""))


RULES: dict[str, Rule] = {
    "no-secrets-over-http": no_secrets_over_http,
    "no-input-over-http": no_input_over_http,
    "no-page-over-http": no_page_over_http,
    "no-mixed-content": no_mixed_content,
    "opens-over-https": opens_over_https,
    "https-only": https_only,
    "valid-certificate": valid_certificate,
    "modern-tls": modern_tls,
    "no-weak-signature": no_weak_signature,
    "no-weak-key": no_weak_key,
    "trusted-ca": trusted_ca,
    "not-symantec": not_symantec,
    "not-entrust": not_entrust,
    "not-chunghwa-or-netlock": not_chunghwa_or_netlock,
    "certificate-lifetime": certificate_lifetime,
    # By the most days that a certificate may live, each for what was issued in its time.
    **{
        f"lifetime-{days}": _issued_between(
            since, LIMITS[i + 1][0] if i + 1 < len(LIMITS) else None
        )
        for i, (since, days) in enumerate(LIMITS)
    },
}
# Findings for which a certificate must be bought or renewed, not only a server be set up.
NEEDS_CERTIFICATE = (
    _BAD_CERTIFICATE - {"default-certificate", "chain-incomplete", "intermediate-expired"}
) | {"https-missing", "not-tls", "certificate-expiring"}
