"""Fixtures: clients with sites on loopback, a report in each state, and a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.report.provider import ReportProvider, States, states
from tests.clock import frozen


@pytest.fixture
def provider(
    settings: Settings, issuer: Authority, tmp_path: Path, opened: contextlib.ExitStack
) -> ReportProvider:
    """Return a provider without clients."""
    return ReportProvider(settings, issuer, tmp_path, opened)


@pytest.fixture(scope="session")
def all_states(
    root: Authority, issuer: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[States]:
    """Yield a provider with scanned clients in each state, and their reports.

    The fixture is shared, so tests must not change it.
    """
    folder = tmp_path_factory.mktemp("states")
    with contextlib.ExitStack() as stack:
        provider = ReportProvider(loopback_settings(root, folder), issuer, folder, stack, frozen)
        yield provider, states(provider)
