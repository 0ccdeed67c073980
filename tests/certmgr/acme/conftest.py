"""CAs, and environments with an account at one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from inventory.clock import Clock, system_clock
from inventory.db.database import Database
from tests.certmgr.acme.inprocess import running
from tests.certmgr.acme.renewal.test_year_of_a_fleet import Calendar, environment_at
from tests.certmgr.acme.shop import AcmeEnvironment, make_environment
from tests.certmgr.acme.strange_ca import StrangeCa
from tests.certmgr.acme.strange_shop import Shop
from tests.clock import clock as test_clock
from tests.servers.acme2certifier import Acme2certifier, acme2certifier
from tests.servers.bind import Named, named
from tests.servers.bind import real_clock as binds_clock
from tests.servers.faulty import Proxy, faulty
from tests.servers.pebble import Pebble, mac_key, pebble
from tests.servers.pebble import real_clock as pebbles_clock

HERE = f"{Path(__file__).parent}/"
PEBBLES = {"ca", "binding_ca", "dns_ca", "refusing_ca"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder that talk to a server whose clock cannot be moved."""
    for item in items:
        # All tests of the suite are here.
        if not str(item.path).startswith(HERE):
            continue
        fixtures = set(getattr(item, "fixturenames", ()))
        if PEBBLES & fixtures:
            item.add_marker(pebbles_clock)
        elif "bind" in fixtures:
            item.add_marker(binds_clock)


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Clock:
    """The clock of the test: the system clock if the CA is a separate process, which reads it."""
    processes = PEBBLES | {"ari_ca"}
    return system_clock if processes & set(request.fixturenames) else test_clock


# Created with the system clock, because the certificates of the CAs are compared with it. Both are
# defined here: otherwise pytest would use an issuer of another folder, below another root.
@pytest.fixture(scope="session")
def root() -> Authority:
    return Authority("Test Root", organisation="certmgr tests")


@pytest.fixture(scope="session")
def issuer(root: Authority) -> Authority:
    return Authority("Test Issuer", root, path_length=0)


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A pebble that validates each challenge and offers an alternate chain."""
    folder = tmp_path_factory.mktemp("pebble")
    with pebble(folder, authz_reuse=0, alternate_roots=1) as running:
        yield running


@pytest.fixture(scope="session")
def binding_key() -> str:
    """The MAC key ``kid-1`` of ``binding_ca``."""
    return mac_key()


@pytest.fixture(scope="session")
def binding_ca(tmp_path_factory: pytest.TempPathFactory, binding_key: str) -> Iterator[Pebble]:
    """A pebble that requires an external account binding, without the accounts of ``ca``."""
    with pebble(tmp_path_factory.mktemp("binding"), eab={"kid-1": binding_key}) as running:
        yield running


@pytest.fixture(scope="session")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    """BIND with the zone shop.test."""
    with named(tmp_path_factory.mktemp("bind"), "shop.test") as running:
        yield running


@pytest.fixture(scope="session")
def dns_ca(tmp_path_factory: pytest.TempPathFactory, bind: Named) -> Iterator[Pebble]:
    """A pebble that asks ``bind`` itself: a resolver would keep an answer for up to a second."""
    folder = tmp_path_factory.mktemp("dns-ca")
    with pebble(folder, resolver=bind.server, authz_reuse=0) as running:
        yield running


@pytest.fixture(scope="session")
def ari_ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acme2certifier]:
    """A CA with ARI and profiles, which accepts each challenge.

    Its renewalInfo may be kept for two hours.
    """
    with acme2certifier(tmp_path_factory.mktemp("ari"), retry_after=7200) as running:
        yield running


@pytest.fixture
def env(database: Database, settings: Settings, tmp_path: Path, ca: Pebble) -> AcmeEnvironment:
    """An environment with a client 1001 and the account ``main`` at ``ca``."""
    made = make_environment(
        database,
        settings,
        tmp_path,
        ca.directory,
        ca.ca_file,
        dns=ca.dns,
        http_port=ca.http_port,
        tls_port=ca.tls_port,
    )
    made.client("1001", "shop.test", "müller.test", "127.0.0.1")
    made.register()
    return made


@pytest.fixture
def proxy(tmp_path: Path, ca: Pebble, opened: ExitStack) -> Proxy:
    """A proxy in front of ``ca`` that injects the faults of its rules."""
    return opened.enter_context(faulty(tmp_path, ca.directory, ca.ca_file))


@pytest.fixture
def proxied_env(
    database: Database, settings: Settings, tmp_path: Path, ca: Pebble, proxy: Proxy
) -> AcmeEnvironment:
    """An environment like ``env``, whose account is at ``proxy``."""
    made = make_environment(
        database,
        settings,
        tmp_path,
        proxy.directory,
        proxy.ca_file,
        dns=ca.dns,
        http_port=ca.http_port,
        tls_port=ca.tls_port,
    )
    made.client("1001", "shop.test", "other.test")
    made.register()
    return made


@pytest.fixture
def shop(settings: Settings, tmp_path: Path, opened: ExitStack) -> Shop:
    """A lineage at a CA in this process, whose answers a test changes."""
    clock = Calendar()
    ca = StrangeCa(clock, timedelta(days=90), validated_by_http=True)
    opened.enter_context(running(ca, tmp_path / "ca"))
    return Shop(environment_at(settings, tmp_path, ca, clock, opened), ca, clock)
