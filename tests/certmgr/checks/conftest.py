"""Fixtures of the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certmgr.x509 import anchors


@pytest.fixture
def browsers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Return a function that replaces the root programme of the browsers by the CAs of a file."""
    import certifi

    def replace(path: Path) -> None:
        monkeypatch.setattr(certifi, "where", lambda: str(path))
        anchors._mozilla.cache_clear()  # it is read once per process

    yield replace
    anchors._mozilla.cache_clear()
