"""Fixtures: databases of both kinds, a CA, and short ways to look at a server."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from certmgr.config import HttpSettings, ScanSettings, Settings, TrustSettings
from certmgr.demo.authority import Authority
from certmgr.scan.report import Report
from certmgr.survey import Options, scan_targets
from inventory.database import Database, open_database
from inventory.model import Finding
from inventory.targets import parse
from tests.servers import postgres

hypothesis_settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("here")


# The longest files begin first, so that no worker waits at the end for one that another began last.
LONGEST = (
    "test_year_of_a_fleet.py",
    "test_faults.py",
    "test_year.py",
    "test_crash.py",
    "test_challenges.py",
    "test_fleet.py",
    "test_accounts.py",
    "test_delivery.py",
    "test_notices_cli.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def postgres_port() -> Iterator[int]:
    with postgres.running() as port:
        yield port


@pytest.fixture
def new_postgres(postgres_port: int) -> Callable[[], str]:
    """Makes an empty PostgreSQL database and returns its URL."""
    import psycopg

    def make() -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(f"host=127.0.0.1 port={postgres_port} user=test dbname=postgres", autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload, unused-ignore]
        return f"postgresql://test@127.0.0.1:{postgres_port}/{name}"

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "inventory.db")
    return str(request.getfixturevalue("new_postgres")())


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url, actor="tester", migrate=True)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def root() -> Authority:
    return Authority("Test Root", organisation="certmgr tests")


@pytest.fixture(scope="session")
def issuer(root: Authority) -> Authority:
    return Authority("Test Issuer", root, path_length=0)


@pytest.fixture
def root_file(root: Authority, tmp_path: Path) -> Path:
    path = tmp_path / "root.pem"
    path.write_bytes(root.pem)
    return path


@pytest.fixture
def settings(root_file: Path) -> Settings:
    """Trusts the test CA; short times, no politeness towards loopback, and only TLS: most test servers speak nothing else."""
    scan = ScanSettings(timeout=4.0, per_address=0, rate=0.0)
    http = HttpSettings(enabled=False, per_address=0, rate=0.0)
    return replace(Settings(), scan=scan, trust=TrustSettings(ca_files=(str(root_file),)), http=http)


@dataclass(slots=True)
class Look:
    """What a look at one target found."""

    report: Report

    @property
    def codes(self) -> dict[str, Finding]:
        return {f.code: f for f in self.report.findings}

    def severe(self) -> set[str]:
        return {f.code for f in self.report.findings if f.severity in ("critical", "high")}


@pytest.fixture
def look(settings: Settings) -> Callable[..., Look]:
    """Looks at ``host:port`` with host resolved to 127.0.0.1 unless ``at`` says otherwise."""

    def one(target: str, at: tuple[str, ...] = ("127.0.0.1",), changes: Settings | None = None, **options: Any) -> Look:
        parsed = parse(target)
        overrides = {} if parsed.is_address else {(parsed.host, parsed.port): at}
        reports = scan_targets(changes or settings, Options(overrides=overrides, **options), [parsed])
        assert len(reports) == 1
        return Look(reports[0])

    return one


@dataclass(slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def certmgr(tmp_path: Path) -> Callable[..., Ran]:
    """Runs the program as a user does, with a database and a configuration of its own."""
    config = tmp_path / "certmgr.toml"
    if not config.exists():
        config.write_text("[scan]\nper_address = 0\nrate = 0.0\ntimeout = 4.0\n[http]\nenabled = false\n")

    def run(*arguments: str, input: str | None = None, environment: dict[str, str] | None = None) -> Ran:
        import os

        command = [sys.executable, "-m", "certmgr", "--config", str(config), "--database", str(tmp_path / "cli.db"), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, input=input, timeout=120, env={**os.environ, **(environment or {})}
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """Servers entered here are closed at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield stack
