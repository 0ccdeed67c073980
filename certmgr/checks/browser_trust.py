"""Findings about what browsers do with a CA: trust that has ended, and trust that ends soon. Pure.

``ca-distrusted`` is critical: a current browser shows an error page. ``trust-ending`` names a
certificate that will be refused before it expires, 90 days ahead. An approximate date that has
passed leaves open whether the browser has acted, so the result is undetermined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from certmgr.checks.transport import finding
from certmgr.x509.trust import Issuers, PathVerdict, TrustStore
from certmgr.x509.trust_rules import BROWSER_NAMES, TrustRules
from certmgr.x509.trust_until import (
    ALWAYS,
    NOTICE,
    URGENT,
    PathFinder,
    TrustEnd,
    UpperPath,
    leaf_dates,
    trusted_until,
    upper_path,
)
from inventory.certificates import Certificate
from inventory.vocabulary import Finding, Severity
from notifiers.wording.values import ANNOUNCED, APPROXIMATE

# Without a complete path it is unknown which root the certificate belongs to.
_NO_PATH = frozenset({"missing", "self-signed", "unreadable"})


class BrowserTrust:
    """Computes until when browsers trust a chain.

    Args:
        store: The trust store; its public roots stand for the browsers' lists.
        rules: The rules in force.
        issuers: The intermediates that are known, which may give further paths.
    """

    def __init__(self, store: TrustStore, rules: TrustRules, issuers: Issuers) -> None:
        self.rules = rules
        # Rules that name a certificate or a key hold for it wherever it is; those about the roots
        # of a programme do not concern a private CA.
        named = [r for r in rules.rules if r.certificates or r.spki]
        self._named = TrustRules(rules.version, rules.day, named)
        self._upper: dict[tuple[tuple[str, ...], tuple[str, ...]], UpperPath] = {}
        self._finder = PathFinder.of(
            store.public_anchors(), lambda subject: issuers.by_subject.get(subject, ())
        )

    def ends(self, chain: Sequence[Certificate], verdict: PathVerdict) -> tuple[TrustEnd, ...]:
        """Return until when each browser trusts a chain; empty if it has no public root.

        Args:
            chain: The certificates as served, leaf first.
            verdict: The verdict on the chain.
        """
        leaf = chain[0]
        # Without a rule there is nothing to add to the verdict.
        if verdict.reason in _NO_PATH or len(verdict.path) < 2 or not self.rules.rules:
            return ()
        dates = leaf_dates(leaf, self.rules)
        if dates is None:
            return ()
        # A path needs a few certificates; a server may send any number.
        sent = tuple(c.sha256 for c in chain[1:33])
        if not verdict.public:
            named = self._named
            path = upper_path(verdict.path[1:], named, sent, public=False)
            concerned = path.rules or dates.rules
            return trusted_until(dates, [path], named) if concerned else ()
        found = self._finder.paths(leaf, chain[1:33], verdict.path) or [verdict.path]
        return trusted_until(dates, [self._upper_path(p[1:], sent) for p in found], self.rules)

    def _upper_path(self, issuers: tuple[Certificate, ...], sent: tuple[str, ...]) -> UpperPath:
        """Return the issuers of a path with their rules; the leaves of one CA share them."""
        key = (tuple(c.sha256 for c in issuers), sent)
        if key not in self._upper:
            # Bounded memory. Clearing everything is cheap compared with an eviction order.
            if len(self._upper) >= 8192:
                self._upper.clear()
            self._upper[key] = upper_path(issuers, self.rules, sent)
        return self._upper[key]


def trust_findings(
    ends: Sequence[TrustEnd],
    rules: TrustRules,
    leaf: Certificate,
    now: datetime,
    at: tuple[str, ...],
) -> Iterator[Finding]:
    """Yield at most one finding about the trust of browsers.

    Args:
        ends: Until when each browser trusts the certificate.
        rules: The rules they rest on; evidence names their version.
    """
    early = [e for e in ends if e.early and e.rule is not None and not _key_of_leaf(e, leaf)]
    ended = [e for e in early if e.state(now) == "ended"]
    if ended:
        # A browser shows an error already, so a later end in another one is no further task.
        yield finding("ca-distrusted", at, **_evidence(ended, rules, leaf))
        return
    doubtful = [e for e in early if e.state(now) == "undetermined"]
    soon = [e for e in early if e.state(now) == "ends" and now >= e.at - NOTICE]
    # An expired certificate has a worse finding, and a new one gets a new root anyway.
    if leaf.not_after is None or now > leaf.not_after:
        return
    if soon:
        urgent = any(now >= e.at - URGENT for e in soon)
        severity = Severity.HIGH if urgent else Severity.MEDIUM
        yield finding("trust-ending", at, severity, **_evidence(soon, rules, leaf))
    elif doubtful:
        evidence = _evidence(doubtful, rules, leaf)
        yield finding("trust-ending", at, Severity.UNDETERMINED, **evidence)


def _key_of_leaf(end: TrustEnd, leaf: Certificate) -> bool:
    """Return whether only the size of the leaf's key ends it, which is the finding key-weak."""
    return (
        end.rule is not None
        and end.rule.kind == "key"
        and leaf.key_type == "RSA"
        and leaf.key_bits < end.rule.rsa_bits
    )


def _evidence(ends: Sequence[TrustEnd], rules: TrustRules, leaf: Certificate) -> dict[str, Any]:
    first = min(ends, key=lambda e: e.at)
    rule = first.rule
    assert rule is not None
    names = [BROWSER_NAMES[e.browser] for e in ends]
    return {
        "ca": rule.ca,
        "issuer": leaf.issuer,
        "root": first.root,
        "browsers": names,
        "who": " / ".join(names),
        "until": first.at.isoformat() if first.at > ALWAYS else "",
        "approximate": rule.approximate,
        "about": APPROXIMATE if rule.approximate else ANNOUNCED,
        "rule": rule.name,
        "kind": rule.kind,
        "source": rule.source,
        "confidence": rule.confidence,
        "rules": rules.version,
        "not_after": leaf.not_after.isoformat() if leaf.not_after else "",
    }
