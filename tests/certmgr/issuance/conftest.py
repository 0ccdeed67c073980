from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.config import Settings
from certmgr.demo.authority import Authority
from inventory.clock import Clock, system_clock
from inventory.database import Database
from tests.certmgr.issuance.shop import Shop, shop
from tests.servers.pebble import Pebble, pebble


@pytest.fixture
def clock() -> Clock:
    """The system's: pebble reads it too, and nothing moves it there."""
    return system_clock


@pytest.fixture(scope="session")
def root() -> Authority:
    return Authority("Test Root", organisation="certmgr tests")


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """One pebble for the tests that ask for nothing special: it looks at every challenge, and offers an alternate chain."""
    with pebble(tmp_path_factory.mktemp("pebble"), authz_reuse=0, alternate_roots=1) as running:
        yield running


@pytest.fixture
def place(database: Database, settings: Settings, tmp_path: Path, ca: Pebble) -> Shop:
    """With a client 1001, and the account ``main``."""
    made = shop(database, settings, tmp_path, ca.directory, ca.ca_file, dns=ca.dns, http_port=ca.http_port, tls_port=ca.tls_port)
    made.client("1001", "shop.test", "müller.test", "127.0.0.1")
    made.register()
    return made
