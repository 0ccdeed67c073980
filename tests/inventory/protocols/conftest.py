"""Fixtures for the tests of the dialogues: a certificate in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from tests.inventory.protocols.dialogues import HOST
from tests.servers.real import write_pair


@pytest.fixture
def pair(issuer: Authority, tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path, issuer.issue(HOST))
