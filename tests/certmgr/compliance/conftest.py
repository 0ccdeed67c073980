"""Fixtures: a domain that nginx serves, and one that is scanned once for several tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from tests.certmgr.compliance.town import HOST, HSTS, REDIRECT, Town
from tests.certmgr.loopback import loopback_settings


@pytest.fixture
def town(settings: Settings, tmp_path: Path, opened: contextlib.ExitStack) -> Town:
    return Town(settings, tmp_path, opened)


@pytest.fixture(scope="session")
def good_town(
    root: Authority, issuer: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """A domain that complies with each milestone, already scanned. Tests only read it."""
    folder = tmp_path_factory.mktemp("good-town")
    with contextlib.ExitStack() as stack:
        town = Town(loopback_settings(root, folder), folder, stack)
        town.serve(issuer.issue(HOST), REDIRECT, f"{HSTS} index page.html;", "<h1>Shop</h1>")
        town.scan()
        yield town
