"""Each change of the code that judges is another version."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.scan.code_version import code_version


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules that can be imported."""
    folder = tmp_path / "judging_rooms"
    folder.mkdir()
    for name in ("__init__.py", "dates.py"):
        (folder / name).write_text("LIMIT = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    sys.modules.pop(folder.name, None)
    code_version.cache_clear()


def version_of(package: Path) -> str:
    code_version.cache_clear()
    return code_version(package.name)


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename", "exchange"])
def test_each_change_of_a_module_is_another_version(package: Path, change: str) -> None:
    (package / "names.py").write_text("LIMIT = 2\n")
    before = version_of(package)
    match change:
        case "edit":
            (package / "dates.py").write_text("LIMIT = 3\n")
        case "add":
            (package / "chains.py").write_text("")
        case "remove":
            (package / "dates.py").unlink()
        case "rename":
            (package / "dates.py").rename(package / "days.py")
        case "exchange":
            (package / "dates.py").write_text("LIMIT = 2\n")
            (package / "names.py").write_text("LIMIT = 1\n")
    assert version_of(package) != before


def test_what_is_no_module_changes_nothing(package: Path) -> None:
    before = version_of(package)
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "notes.txt").write_text("x")
    assert version_of(package) == before
