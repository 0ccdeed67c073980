"""Locks that end with their process."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.db.locks import file_lock
from inventory.errors import Busy


def test_lock_file_is_private_and_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "inventory.db"
    with file_lock(path), file_lock(path, "notify"):
        with pytest.raises(Busy, match="A scan is running"), file_lock(path):
            raise AssertionError("two holders of one lock")
        for name in ("scan", "notify"):
            lock = path.with_name(f"inventory.db.{name}.lock")
            assert lock.stat().st_mode & 0o777 == 0o600
    assert not path.exists(), "the database itself is not opened"
    with file_lock(path):
        pass
