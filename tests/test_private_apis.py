"""Which modules use the private interface of a library."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def private_attributes(file: Path) -> set[str]:
    """Return the private attributes that a module reads from other objects than its own."""
    return {
        node.attr
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


def test_private_openssl_stays_in_the_modules_of_the_handshake() -> None:
    files = (ROOT / "certmgr").rglob("*.py")
    users = [p for p in files if "._lib" in p.read_text() or "._ffi" in p.read_text()]
    assert {str(p.relative_to(ROOT / "certmgr")) for p in users} == {
        "scan/openssl.py",
        "scan/tls_offers.py",
    }


def test_only_the_connection_to_a_ca_uses_private_parts_of_the_acme_library() -> None:
    folder = ROOT / "certmgr" / "acme"
    users = {str(p.relative_to(folder)) for p in folder.rglob("*.py") if private_attributes(p)}
    # requests has no public way to give a response a body that was read within bounds.
    assert users == {"protocol/client.py"}
