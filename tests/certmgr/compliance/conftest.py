"""Fixtures: a domain that nginx serves, and one that is scanned once for several tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from tests.certmgr.compliance.scanned_site import HOST, HSTS, REDIRECT, ScannedSite
from tests.certmgr.loopback import loopback_settings


@pytest.fixture
def site(settings: Settings, tmp_path: Path, opened: contextlib.ExitStack) -> ScannedSite:
    return ScannedSite(settings, tmp_path, opened)


@pytest.fixture(scope="session")
def good_site(
    root: Authority, issuer: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ScannedSite]:
    """A domain that complies with each milestone, already scanned. Tests only read it."""
    folder = tmp_path_factory.mktemp("good-site")
    with contextlib.ExitStack() as stack:
        site = ScannedSite(loopback_settings(root, folder), folder, stack)
        site.serve(issuer.issue(HOST), REDIRECT, f"{HSTS} index page.html;", "<h1>Shop</h1>")
        site.scan()
        yield site
