"""A key that openssl made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certmgr.x509.openssl_files import openssl


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key.pem"
    path.write_bytes(openssl("genrsa", "2048"))
    return path
