"""Secrets in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.config.secret_values import secret


@pytest.mark.parametrize(
    "data",
    [
        b"p\xc3\xa4ss word\r\n",
        b"\xef\xbb\xbfp\xc3\xa4ss word\n",
        "päss word\r\n".encode("utf-16"),
        "päss word\u00a0\u200b\n".encode(),
    ],
)
def test_secret_is_read_without_what_an_editor_adds(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "secret").write_bytes(data)
    assert secret(f"file:{tmp_path / 'secret'}") == "päss word"
