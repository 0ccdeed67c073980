"""Until when browsers trust the certificates that endpoints serve, from stored observations.

Nothing of it is stored: the rules change more often than the certificates, and the answer must be
that of the rules in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from certmgr.config.settings import Settings
from certmgr.x509.trust import Issuers, TrustStore
from certmgr.x509.trust_data import load_rules, rules_path
from certmgr.x509.trust_rules import TrustRules
from certmgr.x509.trust_until import (
    ALWAYS,
    LeafDates,
    PathFinder,
    TrustEnd,
    UpperPath,
    leaf_dates,
    trusted_until,
    upper_path,
)
from inventory.certificates import Certificate, parse
from inventory.db.sql import chunks
from inventory.store import certificates, served_chains
from inventory.store.served_chains import StoredChain
from inventory.targets import Target


@dataclass(frozen=True, slots=True)
class EndpointTrust:
    """Until when browsers trust what an endpoint serves: for each the first end of its addresses.

    Attributes:
        leaf: The SHA-256 of the leaf that ends first.
    """

    endpoint_id: int
    target: Target
    client: str
    leaf: str
    ends: tuple[TrustEnd, ...]

    def early(self) -> list[TrustEnd]:
        """Return the ends that lie before the end of the certificate."""
        return [e for e in self.ends if e.early and e.rule is not None]


class StoredTrust:
    """Computes the ends of trust from the database.

    Args:
        conn: A connection.
        store: The trust store.
        rules: The rules in force.
    """

    def __init__(self, conn: Connection, store: TrustStore, rules: TrustRules) -> None:
        self.conn, self.rules, self._store = conn, rules, store
        self._state = certificates.authorities_state(conn)
        self._ders: dict[str, bytes] = {}
        # Leaves with one issuer and the same chain share the paths above them.
        self._paths: dict[tuple[str, tuple[str, ...]], list[tuple[Certificate, ...]]] = {}
        self._upper: dict[tuple[str, tuple[str, ...]], list[UpperPath]] = {}

    # Both are needed only if something under a public root is served.

    @cached_property
    def authorities(self) -> dict[str, Certificate]:
        """All stored CA certificates by SHA-256."""
        ders = certificates.authorities(self.conn)
        return {c.sha256: c for c in map(parse, ders)}

    @cached_property
    def finder(self) -> PathFinder:
        """Finds paths through the stored CA certificates to public roots."""
        issuers = Issuers()
        for authority in self.authorities.values():
            issuers.add(authority)
        return PathFinder.of(
            self._store.public_anchors(), lambda subject: issuers.by_subject.get(subject, ())
        )

    @classmethod
    def of(cls, conn: Connection, settings: Settings) -> StoredTrust:
        """Return the computation for a configuration."""
        return cls(
            conn,
            TrustStore.load(settings.trust.store, settings.trust.ca_files),
            load_rules(rules_path(settings.trust.rules)),
        )

    def on(self, conn: Connection) -> StoredTrust:
        """Return the same computation with another connection; what was loaded stays.

        CA certificates and paths are loaded again if a scan stored another CA certificate.
        """
        state = certificates.authorities_state(conn)
        if state == self._state:
            self.conn = conn
            return self
        return StoredTrust(conn, self._store, self.rules)

    def paths(self, chain: StoredChain) -> list[tuple[Certificate, ...]]:
        """Return the issuers of each path of a chain, without the leaf, up to a public root."""
        key = (chain.issuer, chain.chain[1:])
        if key not in self._paths:
            leaf = self._leaf(chain)
            # A path needs a few certificates; a server may send any number.
            served = [self.authorities[s] for s in chain.chain[1:33] if s in self.authorities]
            found = [] if leaf is None else self.finder.paths(leaf, served)
            self._paths[key] = [p[1:] for p in found]
        return self._paths[key]

    def _leaf(self, chain: StoredChain) -> Certificate | None:
        der = self._ders.get(chain.leaf)
        if der is None:
            der = certificates.ders(self.conn, [chain.leaf]).get(chain.leaf)
        return None if der is None else parse(der)

    def ends(self, chain: StoredChain) -> tuple[TrustEnd, ...]:
        """Return until when each browser trusts a chain; empty if its root is not public."""
        # A private root is in no list of a browser, and its path may be undetermined.
        if not chain.public:
            return ()
        upper = self._upper_paths(chain)
        dates = self._dates(chain, upper)
        return () if dates is None else trusted_until(dates, upper, self.rules)

    def _upper_paths(self, chain: StoredChain) -> list[UpperPath]:
        key = (chain.issuer, chain.chain[1:])
        if key not in self._upper:
            self._upper[key] = [
                upper_path(p, self.rules, chain.chain[1:]) for p in self.paths(chain)
            ]
        return self._upper[key]

    def _needs_leaf(self, chain: StoredChain) -> bool:
        """Return whether a rule depends on more than the dates of the leaf."""
        starts = datetime.fromtimestamp(chain.not_before, UTC)
        return (
            # The dates of a leaf and the size of its key are columns. Its key, the time of its SCTs
            # and its purposes are only in the DER.
            self.rules.blocks_keys
            or any(r.basis == "logged" for p in self._upper_paths(chain) for r in p.rules)
            or any(
                r.kind == "eku" and r.issued_from is not None and starts >= r.issued_from
                for r in self.rules.general
            )
        )

    def _dates(self, chain: StoredChain, upper: Sequence[UpperPath]) -> LeafDates | None:
        """Return what the rules need to know of the leaf. Most leaves need no parsing."""
        if self._needs_leaf(chain):
            leaf = self._leaf(chain)
            return None if leaf is None else leaf_dates(leaf, self.rules)
        # Rules about the size of a key concern RSA only.
        bits = chain.key.partition(" ")
        return LeafDates(
            datetime.fromtimestamp(chain.not_before, UTC),
            datetime.fromtimestamp(chain.not_after, UTC),
            rules=tuple(self.rules.for_fingerprint(chain.leaf)),
            rsa_bits=int(bits[2]) if bits[0] == "RSA" and bits[2].isdecimal() else 0,
        )

    def chains(
        self, *, endpoint_ids: Sequence[int] | None = None, client_id: int | None = None
    ) -> Iterator[StoredChain]:
        """Yield what is served. The leaves that must be parsed are read some hundred at a time."""
        listed = list(
            served_chains.served(self.conn, endpoint_ids=endpoint_ids, client_id=client_id)
        )
        for part in chunks(listed):
            needed = [c.leaf for c in part if c.public and self._needs_leaf(c)]
            self._ders = certificates.ders(self.conn, needed)
            yield from part

    def endpoints(
        self, *, endpoint_ids: Sequence[int] | None = None, client_id: int | None = None
    ) -> dict[int, EndpointTrust]:
        """Return the ends by endpoint; endpoints without a public certificate are left out."""
        found: dict[int, EndpointTrust] = {}
        for chain in self.chains(endpoint_ids=endpoint_ids, client_id=client_id):
            ends = self.ends(chain)
            if not ends:
                continue
            known = found.get(chain.endpoint_id)
            merged = ends if known is None else first_ends([*known.ends, *ends])
            # The leaf that ends first is named.
            leaf = chain.leaf if known is None or merged != known.ends else known.leaf
            found[chain.endpoint_id] = EndpointTrust(
                chain.endpoint_id,
                Target(chain.host, chain.port, chain.protocol),
                chain.client,
                leaf,
                merged,
            )
        return found


def first_ends(ends: Iterable[TrustEnd]) -> tuple[TrustEnd, ...]:
    """Return the first end per browser."""
    by_browser: dict[str, TrustEnd] = {}
    for end in ends:
        known = by_browser.get(end.browser)
        if known is None or end.at < known.at:
            by_browser[end.browser] = end
    return tuple(by_browser.values())


def trust_row(ends: Sequence[TrustEnd], now: datetime, version: str) -> dict[str, Any] | None:
    """Return the ends as plain values for JSON; None without any."""
    if not ends:
        return None
    row: dict[str, Any] = {"rules": version}
    for end in ends:
        rule = end.rule
        row[end.browser] = {
            "at": end.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            if end.at > ALWAYS
            else None,
            "state": end.state(now),
            "reason": rule.kind if rule else "expiry",
            "ca": rule.ca if rule else None,
            "rule": rule.name if rule else None,
            "approximate": bool(rule and rule.approximate),
            "source": rule.source if rule else None,
            "confidence": rule.confidence if rule else None,
            "root": end.root,
            "paths": end.paths,
            "needs_unsent": end.unsent or None,
        }
    return row


_REASONS = {
    "removed": "root of {ca} removed",
    "not-trusted-after": "new certificates of {ca} are refused",
    "blocked": "key of {ca} blocked",
    "key-age": "age of the root's key",
    "key": "size of a key",
    "eku": "a purpose besides servers",
}


def trust_text(row: Mapping[str, Any] | None) -> str:
    """Return the ends of a row in a few words; empty if both browsers trust it to its end."""
    texts = []
    for browser, name in (("chrome", "Chrome"), ("mozilla", "Firefox")):
        end = (row or {}).get(browser)
        # Without a rule, trust ends with the certificate, which other columns show.
        if end is None or end["state"] == "trusted" or end["rule"] is None:
            continue
        day = f"until {end['at'][:10]}" if end["at"] else "no longer"
        about = " (approximate)" if end["approximate"] else ""
        reason = _REASONS.get(end["reason"], end["reason"]).format(ca=end["ca"])
        texts.append(f"{name} {day}{about}: {reason}")
    return "; ".join(texts)
