"""Rows of lineages for the tests of their three tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from inventory.db.database import Database
from inventory.models import AcmeAccount
from inventory.records import LineageNameRecord, LineageRecord
from inventory.store import lineage_names, lineages


def add(tx: Any, name: str, *names: str, client: str = "1001", **given: Any) -> int:
    account_id = tx.conn.execute(select(AcmeAccount.id)).scalar_one()
    values = {"account_id": account_id, "key_type": "ec-p256", "solver": "http"} | given
    return lineages.add(tx, name, client, names or (f"shop{client}.example",), values)


def names_of(database: Database, lineage_id: int) -> dict[str, LineageNameRecord]:
    with database.read() as conn:
        return {r.name: r for r in lineage_names.by_lineage(conn, [lineage_id]).get(lineage_id, [])}


def found_names(found: Sequence[LineageRecord | LineageNameRecord]) -> list[str]:
    return [r.name for r in found]
