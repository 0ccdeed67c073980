"""Fixtures: clients with sites on loopback, a report in each state, and a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.report.village import States, Village, states
from tests.clock import frozen
from tests.servers import chromium


@pytest.fixture
def village(
    settings: Settings, issuer: Authority, tmp_path: Path, opened: contextlib.ExitStack
) -> Village:
    return Village(settings, issuer, tmp_path, opened)


@pytest.fixture(scope="session")
def all_states(
    root: Authority, issuer: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[States]:
    """Clients whose reports are in each state, already scanned, and the reports.

    Tests only read it.
    """
    folder = tmp_path_factory.mktemp("states")
    with contextlib.ExitStack() as stack:
        village = Village(loopback_settings(root, folder), issuer, folder, stack, frozen)
        yield village, states(village)


@pytest.fixture(scope="session")
def browser() -> Iterator[chromium.Browser]:
    with chromium.browser() as opened:
        yield opened
