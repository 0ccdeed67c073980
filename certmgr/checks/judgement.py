"""What a judgement needs from the inventory, and what it returns. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from certmgr.checks.certificate import change_dates
from certmgr.checks.ocsp import Staple
from certmgr.checks.transport import FailureHistory
from certmgr.net.addresses import Network
from certmgr.scan.evidence import AddressEvidence, Evidence
from certmgr.x509.trust import PathVerdict
from certmgr.x509.trust_until import TrustEnd
from certmgr.x509.trust_until import change_dates as trust_change_dates
from inventory.certificates import Certificate
from inventory.vocabulary import Finding, Parties


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
        others: The times at which the verdicts on the servers of redirects may change.
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
    others: tuple[datetime, ...] = ()

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
        dates = [now + MAX_JUDGEMENT_AGE, *self.others]
        for judged in self.addresses:
            leaf, verdict = judged.leaf, judged.verdict
            if (
                leaf is None
                or verdict is None
                or leaf.not_before is None
                or leaf.not_after is None
                or judged.evidence.other_chain
            ):
                # Without dates, the time of a change is unknown. Those of the second chain of a
                # deep scan are not followed.
                return None
            dates += change_dates(leaf.not_before, leaf.not_after)
            dates += trust_change_dates(judged.trust_ends)
            dates += [
                # A certificate of the CA may expire before the leaf.
                d
                for c in verdict.path[1:]
                for d in (c.not_before, c.not_after)
                if d is not None
            ]
            if judged.staple is not None and judged.staple.until is not None:
                dates.append(judged.staple.until)
        return min(d for d in dates if d > now)


# The maximum age of a judgement that is reused: rules and trust stores change too.
MAX_JUDGEMENT_AGE = timedelta(days=7)


def _end(leaf: Certificate) -> float:
    # A leaf without a readable end is worse than one that ends, so it comes first.
    return leaf.not_after.timestamp() if leaf.not_after is not None else 0.0
