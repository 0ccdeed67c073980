"""Files that the real openssl makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.servers.real import program

NAMES = ("shop.example.com", "www.shop.example.com")


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    command = [program("openssl", "openssl"), *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def csr(
    key: Path, *options: str, subject: str = "/CN=shop.example.com", san: str = "both"
) -> bytes:
    if san == "both":
        san = ",".join(f"DNS:{n}" for n in NAMES)
    extension = ["-addext", f"subjectAltName={san}"] if san else []
    return openssl("req", "-new", "-utf8", "-key", str(key), "-subj", subject, *extension, *options)
