"""Fixtures: installations for commands, environments for cases, and keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from inventory.db.database import Database
from tests.certmgr.cases.place import HOST, OTHER_HOST, SECOND_HOST, CaseEnvironment, make_env
from tests.certmgr.installation import Base, Installation, base
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.report.provider import ReportProvider, States, states
from tests.clock import frozen
from tests.databases import open_sqlite
from tests.servers.real import dns


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
    """An installation with a client, its contact, a staff contact, and a parked domain."""
    return installation_base.install(tmp_path, "new")


@pytest.fixture
def due_installation(installation_base: Base, tmp_path: Path) -> Installation:
    """An installation in which a notice about an expiring certificate is ready to be sent."""
    return installation_base.install(tmp_path, "due")


@pytest.fixture
def root_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that answers the question of ``doctor``, which waits for seconds otherwise."""
    with dns({".": "NODATA"}) as server:
        monkeypatch.setenv("CERTMGR_SCAN_RESOLVERS", server)
        yield


@pytest.fixture
def env(database: Database, settings: Settings, tmp_path: Path) -> CaseEnvironment:
    """Two clients and an administrator, in each kind of database."""
    made = make_env(database, settings, tmp_path)
    made.staff()
    made.client("1001", HOST, SECOND_HOST)
    made.client("1002", OTHER_HOST)
    return made


@pytest.fixture
def sqlite_env(tmp_path: Path, settings: Settings) -> Iterator[CaseEnvironment]:
    """A client and an administrator, in SQLite."""
    made = make_env(open_sqlite(tmp_path / "cases.db", "Bob"), settings, tmp_path)
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


@pytest.fixture
def provider(
    settings: Settings, issuer: Authority, tmp_path: Path, opened: contextlib.ExitStack
) -> ReportProvider:
    """Return a provider without clients."""
    return ReportProvider(settings, issuer, tmp_path, opened)


@pytest.fixture(scope="session")
def all_states(
    root: Authority, issuer: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[States]:
    """Yield a provider with scanned clients in each state, and their reports.

    The fixture is shared, so tests must not change it.
    """
    folder = tmp_path_factory.mktemp("states")
    with contextlib.ExitStack() as stack:
        provider = ReportProvider(loopback_settings(root, folder), issuer, folder, stack, frozen)
        yield provider, states(provider)
