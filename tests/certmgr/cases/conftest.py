"""A place at which cases are worked on, in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.config import Settings
from tests.certmgr.cases.place import Place
from tests.certmgr.cases.place import place as make
from tests.databases import open_sqlite


@pytest.fixture
def place(tmp_path: Path, settings: Settings) -> Iterator[Place]:
    made = make(open_sqlite(tmp_path / "cases.db", "Bob"), settings, tmp_path)
    made.staff()
    made.client("1001", "shop.example.com", "www.shop.example.com")
    with made.servers:
        yield made
    made.database.close()
