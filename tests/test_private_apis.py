"""Only the two modules of the TLS handshake use the private interface of pyOpenSSL."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_private_openssl_stays_in_the_modules_of_the_handshake() -> None:
    files = (ROOT / "certmgr").rglob("*.py")
    users = [p for p in files if "._lib" in p.read_text() or "._ffi" in p.read_text()]
    assert {str(p.relative_to(ROOT / "certmgr")) for p in users} == {
        "scan/openssl.py",
        "scan/tls_offers.py",
    }
