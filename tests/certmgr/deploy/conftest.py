"""Each test has a separate lineage in a new folder. An sshd and a process for forks run for all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.deploy.lineage import Lineage
from tests.certmgr.deploy.forks import Forks
from tests.certmgr.deploy.forks import forks as started
from tests.certmgr.deploy.rig import NAME, Sshd
from tests.certmgr.deploy.rig import sshd as running_sshd


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    return Lineage(tmp_path / "base", NAME)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The directory of certbot."""
    return tmp_path / "letsencrypt"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is one: hundreds of crashes create and remove many files."""
    above = Path("/dev/shm")
    if not os.access(above, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=above, prefix="certmgr-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with started("tests.certmgr.deploy.jobs") as process:
        yield process


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("ssh") / "sshd") as server:
        yield server
