"""Shows that a new protocol, import format or solver is one new file: runs the program with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]


def run_with_module(folder: Path, package: str, module: str, source: str, code: str) -> str:
    """Run code in a process in which a package has one further module.

    Args:
        folder: An empty folder, for a copy of the package.
        package: The package, such as ``inventory.protocols``.
        module: The name of the new module.
        source: The content of its file.
        code: The code, in which every module of the program can be imported.

    Returns:
        What the code printed.
    """
    parent, _, name = package.rpartition(".")
    copy = folder / name
    shutil.copytree(
        ROOT / package.replace(".", "/"), copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    (copy / f"{module}.py").write_text(dedent(source))
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
