"""Fixtures: the sites of the demonstration, scanned once for several tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from certmgr.config.context import Context
from certmgr.config.settings import HttpSettings, ScanSettings, Settings, TrustSettings
from certmgr.demo import run
from certmgr.demo.sites import open_sites
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from inventory.store import findings
from tests.campaign import time_limits
from tests.certmgr.diagnose.demonstration import Demo
from tests.clock import frozen
from tests.databases import open_sqlite


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A test that changes the inventory changes it back."""
    folder = tmp_path_factory.mktemp("demo")
    sites = open_sites(frozen)
    (folder / "root.pem").write_bytes(sites.root.pem)
    database = open_sqlite(folder / "demo.db", clock=frozen)
    run.fill_inventory(database, sites)
    settings = replace(
        Settings(),
        scan=ScanSettings(per_address=0, rate=0.0),
        trust=TrustSettings(ca_files=(str(folder / "root.pem"),)),
        http=HttpSettings(port=sites.http_port, per_address=0, rate=0.0),
    )
    for limit in time_limits(2.5):
        options = ScanOptions(overrides=sites.overrides(), timeout=limit)
        ScanRun(Context(database, settings, database.clock), options).run()
        with database.read() as conn:
            late = [r for r in findings.listing(conn) if r.code == "connection-timeout"]
        if len(late) == 1:  # one site of the demonstration is silent
            break
    yield Demo(sites, database, folder)
    sites.close()
    database.close()
