"""The rules: whether an HTTPS endpoint complies, from what is known about it.

Each rule is a pure function with a name that milestones and deadlines use. A rule never turns an
undetermined result into compliance or failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from certmgr.checks.certificate import expiring
from certmgr.checks.lifetimes import BACKDATING, LIMITS, lifetime_seconds, limit_days, too_long
from certmgr.compliance.facts import (
    NOT_CHECKED,
    ComplianceState,
    EndpointFacts,
    LeafFacts,
    RuleResult,
    worst,
)
from inventory.dates import shifted
from inventory.vocabulary import FOREIGN_ADDRESS, Finding, Severity

Rule = Callable[[EndpointFacts, datetime], RuleResult]
# Each set contains the one before: a page with a password field also has a field and is a page.
_SECRETS = frozenset({"http-collects-secrets"})
_INPUTS = _SECRETS | {"http-collects-input"}
_PAGES = _INPUTS | {"http-served"}
# Findings that leave an endpoint without a certificate.
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
# Findings for which browsers reject the certificate.
_BAD_CERTIFICATE = frozenset(
    {
        "certificate-expired",
        "certificate-not-yet-valid",
        "name-mismatch",
        "default-certificate",
        "san-missing",
        "self-signed",
        "chain-incomplete",
        "chain-ambiguous",
        "intermediate-expired",
        "issuer-not-yet-valid",
        "root-expired",
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
_OLD_TLS = frozenset({"tls-legacy-only", "ciphers-obsolete", "handshake-incompatible"})
# Undetermined findings that leave open whether a page complies.
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
# The same for TLS and the certificate.
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

NOT_VISITED = "plain HTTP was not checked yet"
TRUST_UNKNOWN = "whether it is from a public CA could not be determined"
NEAR_BOUNDARY = "it was issued within 48 hours of the change, so the older limit may apply"


def _by_page(codes: frozenset[str]) -> Rule:
    """Return a rule that fails with findings of these codes, which a visit of the pages gives."""

    def rule(known: EndpointFacts, at: datetime) -> RuleResult:
        # An open fault is certain, even if other checks are undetermined.
        if failed := known.faults(codes):
            return RuleResult(ComplianceState.FAILS, failed)
        if not known.checked or not known.visited:
            return RuleResult(
                ComplianceState.UNKNOWN, note=NOT_VISITED if known.checked else NOT_CHECKED
            )
        if doubts := tuple(f for f in known.undetermined if f.code in _OF_THE_PAGE):
            return RuleResult(ComplianceState.UNKNOWN, doubts)
        return RuleResult(ComplianceState.COMPLIES)

    return rule


def _by_tls(codes: frozenset[str], needs_certificate: bool = False) -> Rule:
    """Return a rule that fails with findings of these codes, which a handshake gives.

    ``needs_certificate``: the rule also fails if the endpoint serves no certificate.
    """

    def rule(known: EndpointFacts, at: datetime) -> RuleResult:
        if failed := known.faults(codes):
            return RuleResult(ComplianceState.FAILS, failed)
        if not known.checked:
            return RuleResult(ComplianceState.UNKNOWN, note=NOT_CHECKED)
        if doubts := tuple(f for f in known.undetermined if f.code in _OF_TLS):
            return RuleResult(ComplianceState.UNKNOWN, doubts)
        if not known.leaves:
            missing = known.faults(_NO_CONNECTION)
            # Most rules restrict the certificates that are served, and do not require one.
            if not needs_certificate:
                return RuleResult(ComplianceState.NONE)
            return RuleResult(
                ComplianceState.FAILS if missing else ComplianceState.UNKNOWN,
                missing,
                note="" if missing else NOT_CHECKED,
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
    """Return a rule that fails for a certificate of these distrusted CAs.

    The names are those of certmgr/x509/trust_rules.toml.
    """

    def rule(known: EndpointFacts, at: datetime) -> RuleResult:
        # A certificate of another distrusted CA violates its own milestone, not this one.
        relevant = tuple(
            f for f in known.findings if f.code != "ca-distrusted" or f.evidence.get("ca") in cas
        )
        return trusted_ca(replace(known, findings=relevant), at)

    return rule


not_symantec = _not_of(frozenset({"Symantec"}))
not_entrust = _not_of(frozenset({"Entrust"}))
not_chunghwa_or_netlock = _not_of(frozenset({"Chunghwa Telecom", "NetLock"}))
_stays_there = _by_page(
    frozenset({"redirect-insecure", "redirect-loop", "redirect-broken", "answer-invalid"})
)
_redirects = _by_page(frozenset({"redirect-missing"}))
_certificate_now = _by_tls(_BAD_CERTIFICATE | _NO_CONNECTION | _OLD_TLS, needs_certificate=True)


def valid_certificate(known: EndpointFacts, at: datetime) -> RuleResult:
    """Check that browsers accept the certificate.

    If the certificate expires soon, it will not comply from then on. A renewal that is ours, or
    automatic, is planned until it is late.
    """
    # Browsers show an error to each visitor who gets the foreign address. Of severity medium, it
    # serves a certificate that they accept.
    if foreign := tuple(f for f in known.faults({FOREIGN_ADDRESS}) if f.severity == "critical"):
        return RuleResult(ComplianceState.FAILS, foreign)
    result = _certificate_now(known, at)
    # If the SCTs could not be checked, it is open whether browsers accept the certificate.
    if result.state is ComplianceState.COMPLIES and (
        doubts := tuple(f for f in known.undetermined if f.code == "sct-missing")
    ):
        return RuleResult(ComplianceState.UNKNOWN, doubts)
    if result.state is ComplianceState.COMPLIES:
        ends = [
            leaf.not_after
            for leaf in known.leaves
            if (severity := expiring(leaf.not_before, leaf.not_after, at)) is not None
            # By then an automation should have replaced it, so a severe finding means it failed.
            and not (known.renewed and severity == Severity.MEDIUM)
            # Whether an accepted end counts is decided by the acceptance.
            and not (leaf.not_after < at and _accepted_end(known))
        ]
        if ends:
            findings = known.faults({"certificate-expiring"})
            # It ended after the last scan, which could not find it yet.
            if min(ends) < at:
                return RuleResult(ComplianceState.FAILS, findings)
            return RuleResult(
                ComplianceState.WILL_FAIL,
                findings,
                since=shifted(min(ends), timedelta(seconds=1)),  # the last second is still valid
            )
    return result


def _accepted_end(known: EndpointFacts) -> bool:
    return any(f.code == "certificate-expired" for f, _ in known.accepted)


def opens_over_https(known: EndpointFacts, at: datetime) -> RuleResult:
    """Check that a visitor of https:// reaches the page, and is not redirected to http://."""
    return worst([_stays_there(known, at), valid_certificate(known, at)])


def https_only(known: EndpointFacts, at: datetime) -> RuleResult:
    """Check for a valid certificate, no page over plain HTTP, and redirects from HTTP to HTTPS.

    This is the default rule of a provider's deadline.
    """
    results = [opens_over_https(known, at), no_page_over_http(known, at), _redirects(known, at)]
    return worst(results)


def certificate_lifetime(known: EndpointFacts, at: datetime) -> RuleResult:
    """Check that no served certificate lives longer than was allowed when it was issued.

    Baseline Requirements 6.3.2; public CAs only. notBefore may differ from the time of issue by 48
    hours (BR 7.1.2.7). If the limit changed within that time, and the limits give different
    results, the result is undetermined.
    """
    return _lifetimes(known, known.leaves)


def _lifetimes(known: EndpointFacts, leaves: Sequence[LeafFacts]) -> RuleResult:
    if not known.checked:
        return RuleResult(ComplianceState.UNKNOWN, note=NOT_CHECKED)
    if not leaves:
        return RuleResult(ComplianceState.NONE)
    return worst(lifetime_of(leaf, known.faults({"validity-too-long"})) for leaf in leaves)


def _issued_between(since: datetime, until: datetime | None) -> Rule:
    """Return the rule of one limit, for certificates that were issued while it was the strictest.

    Around the beginning of a limit, it and the one before may apply.
    """

    def rule(known: EndpointFacts, at: datetime) -> RuleResult:
        # A limit does not apply to certificates that were issued before it.
        affected = [
            leaf
            for leaf in known.leaves
            if since <= shifted(leaf.not_before, BACKDATING)
            and (until is None or leaf.not_before < until)
        ]
        return _lifetimes(known, affected) if known.checked else RuleResult(ComplianceState.NONE)

    return rule


def lifetime_of(leaf: LeafFacts, findings: tuple[Finding, ...] = ()) -> RuleResult:
    """Check the lifetime of one certificate. ``findings``: given as the reason of a failure."""
    # The Baseline Requirements bind public CAs only.
    if leaf.public is False:
        return RuleResult(ComplianceState.NONE)
    # Without a verified path it is unknown whether the limits apply.
    if leaf.public is None:
        return RuleResult(ComplianceState.UNKNOWN, note=TRUST_UNKNOWN)
    if too_long(leaf.not_before, leaf.not_after) is not None:
        return RuleResult(ComplianceState.FAILS, findings)
    # It is within the limit that surely applies, but may exceed the stricter one near a boundary.
    days = -(-lifetime_seconds(leaf.not_before, leaf.not_after) // 86_400)
    strictest = min(
        (
            d
            for d in (
                limit_days(shifted(leaf.not_before, delta))
                for delta in (-BACKDATING, timedelta(0), BACKDATING)
            )
            if d is not None
        ),
        default=days,
    )
    if days > strictest:
        return RuleResult(ComplianceState.UNKNOWN, note=NEAR_BOUNDARY)
    return RuleResult(ComplianceState.COMPLIES)


# Rules that a certificate which is not renewed in time violates.
VALID_CERTIFICATE_RULES = frozenset({"valid-certificate", "opens-over-https", "https-only"})
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
    # One rule per limit in days, for certificates that were issued while it was the strictest.
    **{
        f"lifetime-{days}": _issued_between(
            since, LIMITS[i + 1][0] if i + 1 < len(LIMITS) else None
        )
        for i, (since, days) in enumerate(LIMITS)
    },
}
# Findings that need a new certificate. For all others, a change of the server is enough.
NEEDS_CERTIFICATE = (
    _BAD_CERTIFICATE
    - {
        "default-certificate",
        "chain-incomplete",
        "chain-ambiguous",
        "intermediate-expired",
        "issuer-not-yet-valid",
        "root-expired",
    }
) | {"https-missing", "not-tls", "certificate-expiring"}
