"""An inventory whose CA and solvers ask BIND."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from inventory.db.database import Database
from tests.certmgr.acme.shop import AcmeEnvironment, make_environment
from tests.servers.bind import Named
from tests.servers.pebble import Pebble


@pytest.fixture
def zone_env(
    database: Database, settings: Settings, tmp_path: Path, dns_ca: Pebble, bind: Named
) -> AcmeEnvironment:
    """An inventory whose CA and solvers ask ``bind``."""
    made = make_environment(
        database, settings, tmp_path, dns_ca.directory, dns_ca.ca_file, dns=bind.server
    )
    made.client("1001", "shop.test")
    made.register()
    return made
