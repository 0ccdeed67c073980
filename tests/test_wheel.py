"""The wheel: two builds are identical, and it contains what the program reads at run time."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    built = []
    for number in range(2):
        folder = tmp_path_factory.mktemp(f"build{number}")
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        built += list(folder.glob("*.whl"))
    return built


def test_two_builds_are_identical(wheels: list[Path]) -> None:
    first, second = (w.read_bytes() for w in wheels)
    assert first == second


def test_wheel_contains_packages_data_and_documentation(wheels: list[Path]) -> None:
    names = set(zipfile.ZipFile(wheels[0]).namelist())
    tops = {n.split("/")[0] for n in names}
    assert {"certmgr", "inventory", "notifiers"} <= tops
    assert not [n for n in names if n.startswith("tests/")]
    tracked = subprocess.run(
        ["git", "ls-files", "certmgr", "inventory", "notifiers"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert set(tracked) <= names
    pages = {f"certmgr/docs/{p.name}" for p in (ROOT / "docs").glob("*.md")}
    assert pages <= names


def test_documents_of_security_name_tests_that_exist() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(tests/[\w/.]+)`", text)
    assert len(named) > 15
    assert [n for n in named if not (ROOT / n).exists()] == []
