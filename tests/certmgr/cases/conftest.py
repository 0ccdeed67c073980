"""Places at which cases are worked on, in both kinds of database or in SQLite alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certmgr.config import Settings
from inventory.database import Database
from tests.certmgr.cases.place import HOST, OTHER_HOST, SECOND_HOST, Place
from tests.certmgr.cases.place import place as make
from tests.databases import open_sqlite


@pytest.fixture
def place(database: Database, settings: Settings, tmp_path: Path) -> Place:
    """Two clients and an administrator, in each kind of database."""
    made = make(database, settings, tmp_path)
    made.staff()
    made.client("1001", HOST, SECOND_HOST)
    made.client("1002", OTHER_HOST)
    return made


@pytest.fixture
def sqlite_place(tmp_path: Path, settings: Settings) -> Iterator[Place]:
    """A client and an administrator, in SQLite."""
    made = make(open_sqlite(tmp_path / "cases.db", "Bob"), settings, tmp_path)
    made.staff()
    made.client("1001", HOST, SECOND_HOST)
    with made.servers:
        yield made
    made.database.close()


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)
