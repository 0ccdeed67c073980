"""An inventory that is moved by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.databases import open_sqlite
from tests.notifiers.street import Street


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(open_sqlite(tmp_path / "street.db"))
