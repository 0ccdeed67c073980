"""Helper that adds a purchase, for tests of storing and reading."""

from __future__ import annotations

from typing import Any

from inventory.db.database import Database
from inventory.store import purchase_changes
from tests.clock import START

NAME = "shop1001.example"


def add(
    database: Database, client: str = "1001", names: tuple[str, ...] = (NAME,), **given: Any
) -> int:
    """Add a purchase and return its id."""
    with database.write(START) as tx:
        values = {"vendor": "DigiCert", "currency": "EUR", **given}
        return purchase_changes.add(tx, client, values, names)[0]
