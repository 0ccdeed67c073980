"""An inventory with an account at a CA of the tests, and functions to order from that CA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from certmgr.acme.accounts import accounts
from certmgr.acme.accounts.accounts import AccountRequest
from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders.service import IssuanceService
from certmgr.acme.renewal import staff_news as news
from certmgr.acme.results import IssueResult, RenewalReason
from certmgr.config.acme import AcmeSettings, CaSettings, SolverSettings
from certmgr.config.settings import NetworkSettings, Settings
from inventory.db.database import Database
from inventory.records import AccountRecord, LineageRecord, OrderRecord
from inventory.store import accounts as account_rows
from inventory.store import acme_orders, certificates, clients, domains, endpoints, lineages
from inventory.targets import Target
from tests.servers.ports import free_port


@dataclass
class AcmeEnvironment:
    """An inventory and a configuration for ACME.

    Attributes:
        database: The inventory.
        settings: The configuration.
        folder: The directory of the test.
        given: Arguments of the :class:`IssuanceContext`.
    """

    database: Database
    settings: Settings
    folder: Path
    given: dict[str, Any] = field(default_factory=dict)

    def register(self, name: str = "main", **given: Any) -> AccountRecord:
        return accounts.add(
            self.context,
            AccountRequest(
                "test", name, agree=True, by="tester", contacts=("ca@provider.example",), **given
            ),
        )

    def client(self, number: str, *names: str) -> None:
        with self.database.write() as tx:
            clients.add(
                tx,
                {
                    "number": number,
                    "name": f"Client {number}",
                    "hosts": "us",
                    "dns": "us",
                    "buys": "us",
                    "renews": "us",
                },
            )
            for name in names:
                domains.add(tx, name, {"client": number})

    def lineage(
        self,
        number: str,
        names: Sequence[str],
        name: str = "",
        account: str = "main",
        **values: Any,
    ) -> int:
        with self.database.write() as tx:
            row = account_rows.find(tx.conn, account)
            made = {"account_id": row.id, "key_type": "ec-p256", "solver": "web", **values}
            return lineages.add(tx, name or names[0].removeprefix("*."), number, names, made)

    def unwatch(self, *names: str) -> None:
        """Retire the endpoints of ``names``, so that no certificate is expected to be served."""
        with self.database.write() as tx:
            for name in names:
                endpoints.retire(tx, Target(name))

    def configure(self, **changes: Any) -> None:
        """Change values of [acme]."""
        self.settings = replace(self.settings, acme=replace(self.settings.acme, **changes))

    def solve(self, **solvers: SolverSettings) -> None:
        """Add solvers to the configuration."""
        self.configure(solvers={**self.settings.acme.solvers, **solvers})

    def staff_news(self, now: datetime | None = None) -> news.AutomationReport:
        with self.database.read() as conn:
            return news.gather(conn, now or self.context.now())

    @property
    def context(self) -> IssuanceContext:
        return IssuanceContext(
            self.database, self.settings, **{"clock": self.database.clock, **self.given}
        )

    def order(self, lineage_id: int, reason: str = "test", **given: Any) -> IssueResult:
        return IssuanceService(self.context).issue(lineage_id, RenewalReason(reason, **given))

    def row(self, lineage_id: int) -> LineageRecord:
        with self.database.read() as conn:
            return lineages.by_id(conn, lineage_id)

    def orders(self, lineage_id: int) -> list[OrderRecord]:
        with self.database.read() as conn:
            return acme_orders.last_of(conn, lineage_id, 1000)


def leaf(env: AcmeEnvironment, lineage: int) -> x509.Certificate:
    """Return the newest certificate of the lineage."""
    row = env.row(lineage)
    assert row.sha256 is not None
    with env.database.read() as conn:
        return x509.load_der_x509_certificate(certificates.ders_in_order(conn, [row.sha256])[0])


def names(certificate: x509.Certificate) -> set[str]:
    """Return the DNS names and addresses of a certificate."""
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        *san.get_values_for_type(x509.DNSName),
        *(str(a) for a in san.get_values_for_type(x509.IPAddress)),
    }


def make_environment(
    database: Database,
    settings: Settings,
    folder: Path,
    directory: str,
    ca_file: Path,
    *,
    dns: str = "",
    http_port: int = 0,
    tls_port: int = 0,
    **ca: Any,
) -> AcmeEnvironment:
    """Return an environment whose configuration names a CA of the tests.

    Args:
        database: The inventory.
        settings: The base configuration.
        folder: The directory of the test.
        directory: The URL of the CA's directory.
        ca_file: PEM file that verifies the CA's TLS certificate.
        dns: HOST:PORT of the resolver that certmgr and the CA share.
        http_port: The port on which the CA validates http-01; 0 if it validates no challenge.
        tls_port: The port on which the CA validates tls-alpn-01; 0 for no such solver.
        ca: Further settings of [acme.ca.test].
    """
    # A CA that validates no challenge needs no fixed port, and two workers must not share port 80.
    port = http_port or free_port()
    solvers = {
        "web": SolverSettings(kind="standalone", address="127.0.0.1", port=port, http_port=port)
    }
    if tls_port:
        solvers["alpn"] = SolverSettings(kind="tls-alpn", address="127.0.0.1", port=tls_port)
    acme = AcmeSettings(
        directory=str(folder / "acme"),
        default_account="main",
        default_solver="web",
        cas={"test": CaSettings(directory=directory, ca_file=str(ca_file), internal=True, **ca)},
        solvers=solvers,
    )
    scan = replace(settings.scan, resolvers=(dns,) if dns else ())
    return AcmeEnvironment(
        database,
        replace(settings, acme=acme, scan=scan, network=NetworkSettings(allow=("127.0.0.0/8",))),
        folder,
    )
