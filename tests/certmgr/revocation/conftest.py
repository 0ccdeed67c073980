"""Fixtures: a street of two clients, and a certificate of one of them that names a list."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.config import NetworkSettings, Settings
from certmgr.demo.authority import Authority, Issued
from inventory.database import Database
from tests.certmgr.dns.server import serving
from tests.certmgr.revocation.lists import files, points
from tests.certmgr.revocation.street import ROSE, TULIP, Street


@pytest.fixture
def street(database: Database, settings: Settings, tmp_path: Path) -> Iterator[Street]:
    with contextlib.ExitStack() as stack:
        port, served = stack.enter_context(files(tmp_path / "web"))
        names = stack.enter_context(serving({}, authentic=("example.test",)))
        scan = replace(settings.scan, resolvers=(names.address,), timeout=1.2)
        made = replace(settings, scan=scan, network=NetworkSettings(allow=("127.0.0.0/8",)))
        street = Street(database, made, tmp_path, port, served, names)
        street.add("1001", ROSE)
        street.add("1002", TULIP)
        yield street


@pytest.fixture
def rose(street: Street, issuer: Authority) -> Issued:
    return street.shows(ROSE, issuer.issue(ROSE, extensions=[points(street.url())]))
