"""Fixtures: two clients with one domain each, in both kinds of database."""

from __future__ import annotations

import pytest

from inventory.db.database import Database
from inventory.store import clients, contacts, domains
from tests.clock import START


@pytest.fixture
def two_clients(database: Database) -> Database:
    """Return an inventory of two clients with one domain and one contact each."""
    with database.write(START) as tx:
        for number in ("1001", "1002"):
            clients.add(tx, {"number": number, "name": f"Client {number}", "buys": "client"})
            domains.add(tx, f"shop{number}.example", {"client": number})
            owner = {"name": f"Owner {number}"}
            contacts.add(tx, number, owner, (f"email:owner@shop{number}.example",))
    return database
