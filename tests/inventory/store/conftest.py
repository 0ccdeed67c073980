"""The rows that most tests of inventory/store begin with."""

from __future__ import annotations

import pytest

from inventory.db.database import Database
from tests.inventory.store.builders import NOW, two_clients


@pytest.fixture
def pair(database: Database) -> Database:
    """Clients 1001 and 1002 with a domain, its endpoint and a contact each, added at NOW."""
    with database.write(NOW) as tx:
        two_clients(tx)
    return database
