"""Imports go down the stack certmgr -> notifiers -> inventory, never up; and the inventory has no
network.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "inventory": {
        "certmgr",
        "notifiers",
        "socket",
        "ssl",
        "requests",
        "aiodns",
        "apprise",
        "acme",
        "OpenSSL",
    },
    "notifiers": {"certmgr", "acme", "OpenSSL"},
}
# runs.vantage() asks for this machine's name, which opens no connection.
ALLOWED = {("inventory/store/runs.py", "socket")}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_imports_go_down(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [(str(p.relative_to(ROOT)), m) for p in files for m in imported(p) & FORBIDDEN[package]]
    assert [w for w in wrong if w not in ALLOWED] == []


def test_private_openssl_stays_in_one_module() -> None:
    users = [
        p
        for p in (ROOT / "certmgr").rglob("*.py")
        if "._lib" in p.read_text() or "._ffi" in p.read_text()
    ]
    assert [p.name for p in users] == ["openssl.py"]


def test_apprise_has_one_importer() -> None:
    users = [
        p
        for name in ("certmgr", "inventory", "notifiers")
        for p in (ROOT / name).rglob("*.py")
        if "apprise" in imported(p)
    ]
    assert [p.name for p in users] == ["channels.py"]
