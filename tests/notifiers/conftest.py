"""Fixtures: a simulated inventory, and one message of each kind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from apprise.manager_plugins import NotificationManager

from certmgr.demo.authority import Authority
from inventory.db.database import Database
from notifiers.pipeline.message import Message
from tests.databases import open_sqlite
from tests.notifiers.samples import sample_messages
from tests.notifiers.sites import SiteSimulation
from tests.servers.mail import MailServer, mail_server


@pytest.fixture(autouse=True)
def every_channel() -> None:
    """Load the plug-ins of the tests.

    A command that ran before in this process loaded only those of its configuration.
    """
    NotificationManager().enable_only("mailtos", "jsons")  # type: ignore[no-untyped-call]


@pytest.fixture
def simulation_database(tmp_path: Path) -> Iterator[Database]:
    """An SQLite database for simulations."""
    with contextlib.closing(open_sqlite(tmp_path / "simulation.db")) as database:
        yield database


@pytest.fixture
def simulation(simulation_database: Database) -> SiteSimulation:
    return SiteSimulation(simulation_database)


@pytest.fixture(scope="session")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Message]:
    """One message of each outcome, in German or English; a digest, an alarm, an announcement."""
    with contextlib.closing(
        open_sqlite(tmp_path_factory.mktemp("messages") / "simulation.db"),
    ) as database:
        return sample_messages(SiteSimulation(database))


@pytest.fixture
def trusted(root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail libraries and hooks trust the test CA."""
    path = tmp_path / "trusted.pem"
    path.write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))


@pytest.fixture
def server(root: Authority, tmp_path: Path, trusted: None) -> Iterator[MailServer]:
    with mail_server(root, tmp_path / "mail") as found:
        yield found
