"""The rows that most tests of inventory/store begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from inventory.clock import Clock
from inventory.db.database import Database, prepare_file
from inventory.db.opening import open_database
from tests.databases import PostgresDatabases, open_sqlite
from tests.inventory.store.builders import NOW, add_account, two_clients


def add_pair(database: Database) -> None:
    with closing(database), database.write(NOW) as tx:
        two_clients(tx)


@pytest.fixture(scope="session")
def sqlite_pair(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The SQLite file that `pair` copies: adding its rows for each test takes longer."""
    path = tmp_path_factory.mktemp("pair") / "inventory.db"
    add_pair(open_sqlite(path))
    return path.read_bytes()


@pytest.fixture(scope="session")
def postgres_pair(postgres_databases: PostgresDatabases, postgres_template: str) -> str:
    """The name of the PostgreSQL database that `pair` copies."""
    url = postgres_databases.create(postgres_template)
    add_pair(open_database(url, actor="tester"))
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Database]:
    """Clients 1001 and 1002 with a domain, its endpoint and a contact each, added at NOW."""
    if request.param == "sqlite":
        path = tmp_path / "inventory.db"
        prepare_file(path)
        path.write_bytes(request.getfixturevalue("sqlite_pair"))
        with closing(open_database(str(path), actor="tester", clock=clock)) as database:
            yield database
        return
    databases = request.getfixturevalue("postgres_databases")
    url = databases.create(request.getfixturevalue("postgres_pair"))
    with closing(open_database(url, actor="tester", clock=clock)) as database:
        yield database
    databases.drop(url)


@pytest.fixture
def acme(pair: Database) -> Database:
    """The two clients and an ACME account."""
    with pair.write(NOW) as tx:
        add_account(tx, "letsencrypt")
    return pair
