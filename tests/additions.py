"""Adds a module to a package whose modules declare what they are: one file must be enough."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@contextmanager
def added_module(folder: Path, package: ModuleType, name: str, source: str) -> Iterator[None]:
    """Let a package have one further module, whose file is in another folder.

    Whatever remembers the modules of the package must be cleared by the caller.
    """
    (folder / f"{name}.py").write_text(dedent(source))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(folder)])
        try:
            yield
        finally:
            sys.modules.pop(f"{package.__name__}.{name}", None)
            vars(package).pop(name, None)


def run_with_module(folder: Path, package: str, name: str, source: str, code: str) -> str:
    """Run code in a process in which a package has one further module from the start.

    Args:
        folder: An empty folder, for a copy of the package.
        package: The package, such as ``inventory.protocols``.
        name: The name of the new module.
        source: The content of its file.
        code: The code, in which every module of the program can be imported.

    Returns:
        What the code printed.
    """
    parent, _, last = package.rpartition(".")
    copy = folder / last
    shutil.copytree(
        ROOT / package.replace(".", "/"), copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    (copy / f"{name}.py").write_text(dedent(source))
    first = f"import {parent}\n{parent}.__path__.insert(0, {str(folder)!r})\n"
    process = subprocess.run(
        [sys.executable, "-c", first + dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
