"""Fixtures: databases of both kinds, a CA, and short ways to probe a server."""

from __future__ import annotations

import contextlib
import gc
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.internal.conjecture import providers

from certmgr.config.settings import HttpSettings, ScanSettings, Settings, TrustSettings
from certmgr.demo.authority import Authority
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from inventory.clock import Clock
from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.targets import parse
from inventory.vocabulary import Finding
from tests.campaign import SOAK, UNREACHED, Campaign
from tests.clock import clock as test_clock
from tests.clock import frozen
from tests.databases import PostgresDatabases, open_sqlite, speed_up_engines, write_sqlite
from tests.program import Ran, run
from tests.servers import chromium, postgres

pytest_plugins = ["tests.reporting"]

# The same examples in each run of "make test", and new ones in each soak. No examples of earlier
# runs are stored.
hypothesis_settings.register_profile(
    "here",
    deadline=None,
    derandomize=not SOAK,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("here")
if not SOAK:
    # Hypothesis tries the constants of all modules of the program that are loaded. Which ones are,
    # depends on the tests that this worker ran before, so the examples would differ between runs.
    # Reading them also costs each worker 8 s of CPU in a fresh clone.
    pytest.MonkeyPatch().setattr(providers, "is_local_module_file", lambda _path: False)


# A full garbage collection visits all objects of a worker: it comes after half a million new ones
# (70,000 by default).
gc.set_threshold(5_000, 10, 10)
# Collecting the tests makes half a million objects, which live until the end of the run. Each full
# garbage collection would visit all of them, which took 7% of the CPU of the tests, and a third of
# that of their collection.
gc.disable()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Begin to collect garbage, but never what the collection of the tests has made."""
    result = yield
    gc.freeze()
    gc.enable()
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests: the other core would idle while the last worker runs one."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


@pytest.fixture(scope="session")
def postgres_port() -> Iterator[int]:
    with postgres.running() as port:
        yield port


@pytest.fixture(scope="session", autouse=True)
def _own_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests of default settings away from the data of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        # Output must not depend on the terminal in which the tests run.
        for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _fast_engines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        speed_up_engines(patch)
        yield


@pytest.fixture(autouse=True)
def _at_start() -> Iterator[None]:
    """Start each test at the same time, independent of earlier tests."""
    test_clock.reset()
    yield
    # Fixtures with a wider scope run before this fixture of the next test.
    test_clock.reset()


@pytest.fixture
def clock() -> Clock:
    """The clock of the test and of the code under test."""
    return test_clock


@pytest.fixture(scope="session")
def postgres_databases(postgres_port: int) -> Iterator[PostgresDatabases]:
    """The databases of the server of this worker."""
    databases = PostgresDatabases(postgres_port)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def postgres_template(postgres_databases: PostgresDatabases) -> str:
    """The name of a PostgreSQL database of the current version, the template of others."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    url = postgres_databases.create(name=name)
    open_database(url, actor="tester", migrate=True).close()
    return name


@pytest.fixture
def new_postgres(postgres_databases: PostgresDatabases) -> Iterator[Callable[[], str]]:
    """A function that creates an empty PostgreSQL database and returns its URL.

    The databases are dropped after the test.
    """
    urls: list[str] = []

    def make() -> str:
        urls.append(postgres_databases.create())
        return urls[-1]

    yield make
    for url in urls:
        postgres_databases.drop(url)


@pytest.fixture
def migrated_postgres(
    postgres_databases: PostgresDatabases, postgres_template: str
) -> Iterator[Callable[[], str]]:
    """A function that creates a PostgreSQL database of the current version and returns its URL.

    The databases are dropped after the test.
    """
    urls: list[str] = []

    def make() -> str:
        urls.append(postgres_databases.create(postgres_template))
        return urls[-1]

    yield make
    for url in urls:
        postgres_databases.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind without any tables."""
    if request.param == "sqlite":
        return str(tmp_path / "inventory.db")
    return str(request.getfixturevalue("new_postgres")())


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind, of the current version and without rows."""
    if request.param == "sqlite":
        yield write_sqlite(tmp_path / "inventory.db")
        return
    databases = request.getfixturevalue("postgres_databases")
    url = databases.create(request.getfixturevalue("postgres_template"))
    yield url
    databases.drop(url)


@pytest.fixture
def database(url: str, clock: Clock) -> Iterator[Database]:
    opened = open_database(url, actor="tester", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    opened = open_sqlite(tmp_path / "inventory.db", clock=clock)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[chromium.Browser]:
    """A browser that draws pages from files, once per worker."""
    with chromium.browser(drawn=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def root() -> Authority:
    return Authority("Test Root", organisation="certmgr tests", clock=frozen)


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
    """Settings that trust the test CA, with a time limit that is not reached, and without rates.

    HTTP is disabled, because most test servers support only TLS.
    """
    scan = ScanSettings(timeout=UNREACHED, per_address=0, rate=0.0)
    http = HttpSettings(enabled=False, per_address=0, rate=0.0)
    return replace(
        Settings(), scan=scan, trust=TrustSettings(ca_files=(str(root_file),)), http=http
    )


@dataclass(slots=True)
class ProbeResult:
    """The report about one probed target."""

    report: EndpointReport

    @property
    def codes(self) -> dict[str, Finding]:
        return {f.code: f for f in self.report.findings}

    def severe(self) -> set[str]:
        return {f.code for f in self.report.findings if f.severity in ("critical", "high")}


@pytest.fixture
def probe(settings: Settings, clock: Clock) -> Callable[..., ProbeResult]:
    """A function that probes ``host:port``; the host resolves to ``at``."""

    def probe_target(
        target: str,
        at: tuple[str, ...] = ("127.0.0.1",),
        changes: Settings | None = None,
        **options: Any,
    ) -> ProbeResult:
        parsed = parse(target)
        overrides = {} if parsed.is_address else {(parsed.host, parsed.port): at}
        reports = scan_targets(
            changes or settings, ScanOptions(overrides=overrides, **options), [parsed], clock=clock
        )
        assert len(reports) == 1
        return ProbeResult(reports[0])

    return probe_target


@pytest.fixture
def certmgr(tmp_path: Path, clock: Clock) -> Callable[..., Ran]:
    """A function that runs the command line with a separate database and configuration."""
    config, path = tmp_path / "certmgr.toml", tmp_path / "cli.db"
    if not config.exists():
        config.write_text(
            f"[scan]\nper_address = 0\nrate = 0.0\ntimeout = {UNREACHED}\n[http]\nenabled = false\n"
        )

    def call(
        *arguments: str, input: str | None = None, environment: dict[str, str] | None = None
    ) -> Ran:
        # A scan of given targets must work without a database.
        if not path.exists() and "scan" not in arguments:
            write_sqlite(path)
        options = ("--config", str(config), "--database", str(path))
        return run((*options, *arguments), clock, input=input, environment=environment)

    return call


@pytest.fixture
def campaign(record_property: Callable[[str, object], None]) -> Campaign:
    return Campaign(record_property)


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """A stack whose contexts are closed at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield stack
