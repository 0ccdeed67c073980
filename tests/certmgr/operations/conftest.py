"""Fixtures: a scanned inventory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from inventory.db.database import Database
from tests.certmgr.scanning import add, scan
from tests.certmgr.tls_servers import Stack, serve_certificate
from tests.clock import clock
from tests.databases import open_sqlite


@pytest.fixture
def scanned(
    settings: Settings,
    issuer: Authority,
    tmp_path: Path,
    opened: Stack,
) -> Iterator[Database]:
    """A scanned inventory: the certificate of client 1 is valid, that of 2 ends in 3 days."""
    database = open_sqlite(tmp_path / "scanned.db")
    start = clock() - timedelta(days=80)
    for number, host, days in (("1", "good.example.test", 80), ("2", "short.example.test", 3)):
        issued = issuer.issue(host, not_before=start, days=days)
        add(database, serve_certificate(opened, issued), host, client=number)
    scan(database, settings)
    yield database
    database.close()
