"""One scan of all sites, and a web server with settings of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.scan.page_sites import SITES
from tests.certmgr.tls_servers import Stack
from tests.certmgr.websites import Scanned, Website


@pytest.fixture(scope="session")
def scanned(
    root: Authority,
    issuer: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scanned:
    folder = tmp_path_factory.mktemp("visited")
    return SITES.scan(loopback_settings(root, folder), issuer, folder)


@pytest.fixture
def website(settings: Settings, issuer: Authority, tmp_path: Path, opened: Stack) -> Website:
    return Website(settings, issuer, tmp_path, opened)
