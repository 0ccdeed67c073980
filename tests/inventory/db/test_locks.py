"""Locks that end with their process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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


def test_file_lock_ends_although_a_starting_program_has_a_copy_of_its_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between fork and exec, the child of another thread shares each open file."""
    copies: list[int] = []
    open_ = os.open

    def with_copy(*arguments: Any) -> int:
        descriptor = open_(*arguments)
        copies.append(os.dup(descriptor))
        return descriptor

    monkeypatch.setattr(os, "open", with_copy)
    try:
        for _ in range(2):
            with file_lock(tmp_path / "lineage", "order"):
                pass
    finally:
        for descriptor in copies:
            os.close(descriptor)
    assert len(copies) == 2
