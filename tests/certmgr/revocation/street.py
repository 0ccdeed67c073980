"""A small inventory for revocation: two clients, a folder that nginx serves lists from, and a name server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from certmgr.config import Settings
from certmgr.demo.authority import Issued
from certmgr.revocation.job import Summary, run
from inventory.certificates import parse
from inventory.database import Database
from inventory.store import clients, domains, findings
from inventory.store import revocation as store
from tests.certmgr.cases.place import serve
from tests.certmgr.dns.server import NameServer
from tests.clock import clock

START = clock().replace(microsecond=0)
ROSE, TULIP = "rose.example.test", "tulip.example.test"


@dataclass(slots=True)
class Street:
    """Two clients with a name each; a folder that is served over http; ``now`` is moved by hand."""

    database: Database
    settings: Settings
    folder: Path
    port: int
    served: Path
    names: NameServer
    now: datetime = START
    identities: Any = None
    known: dict[str, Issued] = field(default_factory=dict)

    def url(self, name: str = "1.crl") -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def put(self, body: bytes, name: str = "1.crl") -> None:
        (self.served / name).write_bytes(body)

    def gone(self, name: str = "1.crl") -> None:
        (self.served / name).unlink(missing_ok=True)

    def shows(self, host: str, issued: Issued, *addresses: str, **given: Any) -> Issued:
        serve(self.database, host, issued, self.now, addresses or ("192.0.2.1",), **given)
        self.known[host] = issued
        return issued

    def run(self, **given: Any) -> Summary:
        return run(self.database, self.settings, self.now, identities_for=self.identities, **given)

    def found(self, host: str | None = None) -> dict[str, Any]:
        with self.database.read() as conn:
            rows = findings.listing(conn)
        return {r["code"]: r for r in rows if host is None or r["host"] == host}

    def status(self, issued: Issued) -> Any:
        sha256 = parse(issued.der).sha256
        with self.database.read() as conn:
            return store.statuses(conn, [sha256]).get(sha256)

    def list(self, name: str = "1.crl") -> Any:
        with self.database.read() as conn:
            return store.lists(conn, [self.url(name)]).get(self.url(name))

    def add(self, number: str, *names: str, **given: Any) -> None:
        with self.database.write(self.now) as tx:
            clients.add(
                tx,
                {
                    "number": number,
                    "name": f"Client {number}",
                    "buys": "client",
                    "renews": "client",
                    "hosts": "us",
                    "dns": "client",
                },
            )
            for name in names:
                domains.add(tx, name, {"client": number, **given})

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)
