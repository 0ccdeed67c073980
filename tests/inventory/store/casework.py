"""Purchases, cases and issuances that the tests of their stores share."""

from __future__ import annotations

from typing import Any, cast

from inventory.db.database import Database, Tx
from inventory.records import CaseRecord
from inventory.store import case_changes, clients, issuances, purchase_changes
from inventory.store.case_changes import CaseColumns
from tests.inventory.store.builders import NOW, ONE, TWO, add_certificate


def ids_of_clients(tx: Tx) -> tuple[int, int]:
    return clients.find(tx.conn, ONE).id, clients.find(tx.conn, TWO).id


def client_ids(database: Database) -> tuple[int, int]:
    with database.read() as conn:
        one, two = (int(clients.find(conn, n).id) for n in ("1001", "1002"))
        return one, two


def move(tx: Tx, row: CaseRecord, new_state: str, **values: Any) -> CaseRecord:
    columns = cast("CaseColumns", {**values, "state": new_state})
    return case_changes.change(tx, row, "move", columns)


def add_issued(
    tx: Tx, row: CaseRecord, label: str, *, live: bool = False, **certificate: Any
) -> str:
    """An issuance of the case whose certificate came, and was seen live if so asked."""
    sha256 = add_certificate(tx, label, **certificate)
    issuances.record_received(
        tx, issuances.add(tx, issuances.NewIssuance(case_id=row.id)), sha256, ()
    )
    if live:
        issuances.record_live(tx, row.id)
    return sha256


def add_order(tx: Tx, number: str, *names: str) -> int:
    return purchase_changes.add(
        tx, number, {"vendor": "DigiCert", "starts_at": NOW, "years": 1}, names
    )[0]


def add_purchase(database: Database, *names: str, client: str = "1001", **given: Any) -> int:
    with database.write(NOW) as tx:
        values = {"vendor": "DigiCert", "currency": "EUR"} | given
        return purchase_changes.add(tx, client, values, names or (f"shop{client}.example",))[0]
