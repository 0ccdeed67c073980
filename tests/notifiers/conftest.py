"""An inventory that is moved by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.database import open_database
from tests.notifiers.street import Street


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(open_database(str(tmp_path / "street.db"), actor="tester"))
