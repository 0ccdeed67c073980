"""Installations for commands, sites at which cases are worked on, and keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from inventory.db.database import Database
from tests.certmgr.cases.place import HOST, OTHER_HOST, SECOND_HOST, Place
from tests.certmgr.cases.place import place as make
from tests.certmgr.installation import Base, Installation, base
from tests.databases import open_sqlite


@pytest.fixture(scope="session")
def installation_base(
    root: Authority,
    issuer: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Base]:
    with base(root, issuer, tmp_path_factory.mktemp("installation")) as made:
        yield made


@pytest.fixture
def installation(installation_base: Base, tmp_path: Path) -> Installation:
    """An installation with one client, one contact of it, one of the staff, and a parked domain."""
    return installation_base.install(tmp_path, "new")


@pytest.fixture
def due_installation(installation_base: Base, tmp_path: Path) -> Installation:
    """An installation in which a notice about an expiring certificate is ready to be sent."""
    return installation_base.install(tmp_path, "due")


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
