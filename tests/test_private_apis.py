"""Only one module uses the private interface of pyOpenSSL."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_private_openssl_stays_in_one_module() -> None:
    files = (ROOT / "certmgr").rglob("*.py")
    users = [p for p in files if "._lib" in p.read_text() or "._ffi" in p.read_text()]
    assert [p.name for p in users] == ["openssl.py"]
