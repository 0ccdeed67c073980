"""An inventory with an account at a CA of the tests, and ways to order from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from certmgr.config import NetworkSettings, Settings
from certmgr.config_acme import AcmeSettings, CaSettings, SolverSettings
from certmgr.issuance import accounts
from certmgr.issuance.accounts import Wanted
from certmgr.issuance.office import Office
from certmgr.issuance.worker import Done, Why, Worker
from inventory.database import Database
from inventory.store import accounts as account_rows
from inventory.store import acme_orders, clients, domains, lineages
from inventory.store.records import Row


@dataclass
class Shop:
    """``settings``: with an account ``main`` once :meth:`register` was called."""

    database: Database
    settings: Settings
    folder: Path
    given: dict[str, Any] = field(default_factory=dict)

    def register(self, name: str = "main", **given: Any) -> Row:
        return accounts.add(
            self.database,
            self.settings,
            Wanted("test", name, agree=True, by="tester", contacts=("ca@provider.example",), **given),
        )

    def client(self, number: str, *names: str) -> None:
        with self.database.write() as tx:
            clients.add(
                tx, {"number": number, "name": f"Client {number}", "hosts": "us", "dns": "us", "buys": "us", "renews": "us"}
            )
            for name in names:
                domains.add(tx, name, {"client": number})

    def lineage(self, number: str, names: Sequence[str], name: str = "", account: str = "main", **values: Any) -> int:
        with self.database.write() as tx:
            row = account_rows.find(tx.conn, account)
            made = {"account_id": row["id"], "key_type": "ec-p256", "solver": "web", **values}
            return lineages.add(tx, name or names[0].removeprefix("*."), number, names, made)

    @property
    def office(self) -> Office:
        return Office(self.database, self.settings, **self.given)

    def order(self, lineage_id: int, reason: str = "test", **given: Any) -> Done:
        return Worker(self.office).order(lineage_id, Why(reason, **given))

    def row(self, lineage_id: int) -> Row:
        with self.database.read() as conn:
            return lineages.by_id(conn, lineage_id)

    def orders(self, lineage_id: int) -> list[Row]:
        with self.database.read() as conn:
            return acme_orders.last_of(conn, lineage_id, 1000)


def shop(
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
) -> Shop:
    """``http_port``, ``tls_port``: where the CA looks; ``dns``: the resolver of both."""
    solvers = {"web": SolverSettings(kind="standalone", address="127.0.0.1", port=http_port, http_port=http_port or 80)}
    if tls_port:
        solvers["alpn"] = SolverSettings(kind="tls-alpn", address="127.0.0.1", port=tls_port)
    acme = AcmeSettings(
        directory=str(folder / "acme"), default_account="main", default_solver="web", challenge_seconds=20.0, proof_seconds=5.0,
        cas={"test": CaSettings(directory=directory, ca_file=str(ca_file), internal=True, **ca)}, solvers=solvers,
    )  # fmt: skip
    scan = replace(settings.scan, resolvers=(dns,) if dns else ())
    return Shop(database, replace(settings, acme=acme, scan=scan, network=NetworkSettings(allow=("127.0.0.0/8",))), folder)
