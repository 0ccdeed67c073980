"""A small inventory for revocation: two clients, files that nginx serves, and a name server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.demo.authority import IssuedCertificate
from certmgr.revocation.job import RevocationSummary, run
from inventory.certificates import parse
from inventory.db.database import Database
from inventory.store import clients, domains, findings
from inventory.store import revocation as store
from tests.certmgr.cases.place import serve
from tests.certmgr.net.server import NameServer
from tests.certmgr.revocation.files import Files
from tests.clock import START

ROSE, TULIP = "rose.example.test", "tulip.example.test"


@dataclass(slots=True)
class Sites:
    """Two clients with one site each. ``now`` is fixed until :meth:`advance` moves it."""

    database: Database
    settings: Settings
    files: Files
    names: NameServer
    now: datetime = START
    identities: Any = None
    known: dict[str, IssuedCertificate] = field(default_factory=dict)

    def serve(
        self, host: str, issued: IssuedCertificate, *addresses: str, **given: Any
    ) -> IssuedCertificate:
        """Store that a scan saw this certificate at these addresses."""
        serve(self.database, host, issued, self.now, addresses or ("192.0.2.1",), **given)
        self.known[host] = issued
        return issued

    def run(self, **given: Any) -> RevocationSummary:
        return run(
            Context(self.database, self.settings, lambda: self.now),
            identities_for=self.identities,
            **given,
        )

    def findings(self, host: str | None = None) -> dict[str, Any]:
        """Return the open findings by their code."""
        with self.database.read() as conn:
            rows = findings.listing(conn)
        return {r.code: r for r in rows if host is None or r.host == host}

    def status(self, issued: IssuedCertificate) -> Any:
        sha256 = parse(issued.der).sha256
        with self.database.read() as conn:
            return store.statuses(conn, [sha256]).get(sha256)

    def url(self, name: str = "1.crl") -> str:
        return self.files.url(name)

    def publish(self, body: bytes, name: str = "1.crl") -> None:
        self.files.publish(body, name)

    def remove(self, name: str = "1.crl") -> None:
        self.files.remove(name)

    def list(self, name: str = "1.crl") -> Any:
        """Return what is stored about a list."""
        with self.database.read() as conn:
            return store.lists(conn, [self.url(name)]).get(self.url(name))

    def add(self, number: str, *names: str, **given: Any) -> None:
        """Add a client with these domains."""
        parties = {"buys": "client", "renews": "client", "hosts": "us", "dns": "client"}
        with self.database.write(self.now) as tx:
            clients.add(tx, {"number": number, "name": f"Client {number}", **parties})
            for name in names:
                domains.add(tx, name, {"client": number, **given})

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)
