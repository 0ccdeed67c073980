"""Fixtures for the commands of an installation (installation.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from tests.certmgr.installation import Base, Installation, base


@pytest.fixture(scope="session")
def installation_base(
    root: Authority,
    issuer: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Base]:
    with base(root, issuer, tmp_path_factory.mktemp("installation")) as made:
        yield made


@pytest.fixture
def installation(installation_base: Base, tmp_path: Path) -> Installation:
    """An installation with one client, one contact of it, one of the staff, and a parked domain."""
    return installation_base.install(tmp_path, "new")


@pytest.fixture
def due_installation(installation_base: Base, tmp_path: Path) -> Installation:
    """An installation in which a notice about an expiring certificate is ready to be sent."""
    return installation_base.install(tmp_path, "due")
