"""Sites whose CAs browsers treat differently, in rows as a scan writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert, select

from certmgr.demo.authority import Authority
from certmgr.inspection.report import certificate_row
from certmgr.x509 import anchors
from certmgr.x509.trust import TrustStore
from certmgr.x509.trust_rules import TrustRule, TrustRules, document_of
from inventory.certificates import Certificate, parse
from inventory.db.database import Database, to_epoch
from inventory.models import Client, Domain, Endpoint, ProbeState, ServedChain, StoredCertificate

# A fixed day: the dates of the rules are fixed too.
NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)
DAY = timedelta(days=1)
SUNSET = datetime(2027, 4, 15, tzinfo=UTC)
REMOVAL = datetime(2027, 3, 1, tzinfo=UTC)
LAST_ISSUE = datetime(2027, 1, 10, tzinfo=UTC)
FAR = datetime(2060, 1, 1, tzinfo=UTC)


def _root(name: str, made: datetime) -> Authority:
    return Authority(name, not_before=made, not_after=FAR, clock=lambda: NOW)


def _issuer(name: str, parent: Authority, **values: Any) -> Authority:
    dates = {"not_before": NOW - 800 * DAY, "not_after": FAR}
    return Authority(name, parent, **dates | values)


@dataclass(frozen=True, slots=True)
class TrustedCa:
    """A CA with what a server sends, and when a browser ends it.

    Attributes:
        ends: When the first browser stops trusting an earlier certificate; None: never.
    """

    name: str
    issuer: Authority
    sent: tuple[Certificate, ...]
    ends: datetime | None = None
    public: bool = True


class TrustedCas:
    """CAs of each kind, and the rules about them."""

    def __init__(self) -> None:
        old = _root("Old Root", datetime(2009, 3, 18, tzinfo=UTC))
        new = _root("New Root", datetime(2019, 3, 20, tzinfo=UTC))
        gone = _root("Gone Root", datetime(2019, 3, 20, tzinfo=UTC))
        later = _root("Later Root", datetime(2019, 3, 20, tzinfo=UTC))
        own = _root("Company Root", datetime(2009, 3, 18, tzinfo=UTC))
        self.roots = [old, new, gone, later]
        cross = Authority("New Root", old, key=new.key, not_before=old.clock(), not_after=FAR)
        again = Authority("Gone Root", new, key=gone.key, not_before=old.clock(), not_after=FAR)
        self.cross = parse(cross.der)
        issuers = {
            n: _issuer(f"{n} issuer", r)
            for n, r in (("old", old), ("new", new), ("gone", gone), ("later", later), ("own", own))
        }
        double = _issuer("double issuer", old)
        twin = _issuer("double issuer", new, key=double.key)
        rescued = _issuer("rescued issuer", gone)
        self.stored = [
            parse(c.der) for c in (*issuers.values(), cross, again, double, twin, rescued)
        ]

        def sent(*authorities: Authority) -> tuple[Certificate, ...]:
            return tuple(parse(a.der) for a in authorities)

        self.cas = (
            TrustedCa("old", issuers["old"], sent(issuers["old"]), SUNSET),
            TrustedCa("new", issuers["new"], sent(issuers["new"])),
            # The chain leads to the old root, but the new one is in the list too.
            TrustedCa("crossed", issuers["new"], sent(issuers["new"], cross)),
            # Two certificates of one issuer key; only one is sent.
            TrustedCa("double", double, sent(double)),
            TrustedCa("gone", issuers["later"], sent(issuers["later"]), REMOVAL),
            # The removed root is cross-signed by another one.
            TrustedCa("rescued", rescued, sent(rescued, again)),
            TrustedCa("own", issuers["own"], sent(issuers["own"]), public=False),
        )
        self.rules = self._rules(parse(gone.der).sha256, parse(later.der).sha256)

    def _rules(self, gone: str, later: str) -> TrustRules:
        def rule(name: str, **values: Any) -> TrustRule:
            defaults: dict[str, Any] = {
                "browsers": ("chrome", "mozilla"),
                "ca": name,
                "source": "test",
                "confidence": "V",
            }
            return TrustRule(name=name, **defaults | values)

        return TrustRules(
            "test-1",
            date(2026, 11, 28),
            [
                rule(
                    "sunset",
                    kind="key-age",
                    key_from=datetime(2008, 1, 1, tzinfo=UTC),
                    key_until=datetime(2010, 1, 1, tzinfo=UTC),
                    at=SUNSET,
                    approximate=True,
                ),
                rule(
                    "gone",
                    kind="removed",
                    browsers=("mozilla",),
                    certificates=frozenset({gone, later}),
                    at=REMOVAL,
                ),
                rule(
                    "later",
                    kind="not-trusted-after",
                    browsers=("chrome",),
                    certificates=frozenset({later}),
                    basis="logged",
                    at=LAST_ISSUE,
                ),
            ],
        )

    def store(self) -> TrustStore:
        """Return a trust store with these roots as those of browsers."""
        return TrustStore([parse(r.der) for r in self.roots])

    @contextmanager
    def as_browsers(self, folder: Path) -> Iterator[None]:
        """Let the roots stand for the list of certifi, in this process."""
        import certifi

        (folder / "browsers.pem").write_bytes(b"".join(r.pem for r in self.roots))
        with mock.patch.object(certifi, "where", lambda: str(folder / "browsers.pem")):
            anchors._mozilla.cache_clear()  # it is read once per process
            try:
                yield
            finally:
                anchors._mozilla.cache_clear()

    def write_rules(self, path: Path) -> Path:
        """Write the rules as a file that ``certmgr trust update`` accepts."""
        import json

        path.write_text(json.dumps(document_of(self.rules)))
        return path


@dataclass(frozen=True, slots=True)
class TrustedSite:
    """A stored site."""

    host: str
    ca: TrustedCa
    leaf: Certificate

    @property
    def dies(self) -> datetime | None:
        """When the first browser stops trusting it before it expires; None: never."""
        assert self.leaf.not_after is not None
        end = self.ca.ends
        return end if end is not None and end <= self.leaf.not_after else None


def write_sites(database: Database, cas: TrustedCas, count: int, client: str) -> list[TrustedSite]:
    """Write sites of each CA in turn, whose certificates end on different days."""
    key = ec.generate_private_key(ec.SECP256R1())
    sites = []
    for i in range(count):
        ca = cas.cas[i % len(cas.cas)]
        host = f"site{i}.example"
        ends = NOW + timedelta(days=20 + (i * 7) % 260, hours=i % 24)
        issued = ca.issuer.issue(host, key=key, not_before=NOW - 10 * DAY, not_after=ends)
        sites.append(TrustedSite(host, ca, parse(issued.der)))
    at = to_epoch(NOW)
    with database.write(NOW) as tx:
        owner = tx.conn.scalar(select(Client.id).where(Client.number == client))
        rows = [vars_of(c) for c in {c.sha256: c for c in cas.stored}.values()]
        rows += [vars_of(s.leaf) for s in sites]
        tx.conn.execute(insert(StoredCertificate), [r | {"first_seen": at} for r in rows])
        tx.conn.execute(
            insert(Domain), [{"client_id": owner, "name": s.host, "created_at": at} for s in sites]
        )
        ids = {row.name: row.id for row in tx.conn.execute(select(Domain.name, Domain.id))}
        tx.conn.execute(
            insert(Endpoint),
            [
                {
                    "domain_id": ids[s.host],
                    "host": s.host,
                    "port": 443,
                    "protocol": "https",
                    "created_at": at,
                }
                for s in sites
            ],
        )
        found = tx.conn.execute(select(Endpoint.host, Endpoint.id))
        endpoints = {row.host: row.id for row in found}
        tx.conn.execute(
            insert(ServedChain), [_observation(s, endpoints[s.host], at) for s in sites]
        )
        tx.conn.execute(insert(ProbeState), [_state(s, endpoints[s.host], at) for s in sites])
    return sites


def vars_of(certificate: Certificate) -> dict[str, Any]:
    """Return a certificate as a row."""
    row = certificate_row(certificate)
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def _observation(site: TrustedSite, endpoint_id: int, at: int) -> dict[str, Any]:
    return {
        "endpoint_id": endpoint_id,
        "address": "192.0.2.1",
        "first_seen": at,
        "last_seen": at,
        "open": 1,
        "live": 1,
        "chain": " ".join(c.sha256 for c in (site.leaf, *site.ca.sent)),
        "leaf": site.leaf.sha256,
        "trusted": 1,
        "public": int(site.ca.public),
    }


def _state(site: TrustedSite, endpoint_id: int, at: int) -> dict[str, Any]:
    assert site.leaf.not_after is not None
    return {
        "endpoint_id": endpoint_id,
        "judged_at": at,
        "good": 1,
        "last_attempt": at,
        "last_good": at,
        "leaf": site.leaf.sha256,
        "not_after": to_epoch(site.leaf.not_after),
        "issuer": site.leaf.issuer,
    }
