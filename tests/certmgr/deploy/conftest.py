"""Each test has a lineage of its own in a new folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.deploy.lineage import Lineage
from tests.certmgr.deploy.rig import NAME


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    return Lineage(tmp_path / "base", NAME)
