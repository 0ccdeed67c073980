"""Output files are written atomically, through links and into pipes."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest

from certmgr.files import write_whole
from inventory.errors import CertmgrError


def test_write_beyond_the_file_size_limit_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    target.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(CertmgrError, match="cannot be written"):
            write_whole(target, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_file_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    target.write_text("old")
    folder = tmp_path / "r"
    folder.mkdir()
    with pytest.raises(CertmgrError):
        write_whole(folder / "missing" / "x.html", b"new")
    assert target.read_text() == "old"
    write_whole(target, b"new")
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".certmgr")] == []


def test_output_is_written_through_a_link_and_into_a_pipe(tmp_path: Path) -> None:
    target = tmp_path / "real.html"
    target.write_text("old")
    (tmp_path / "link.html").symlink_to(target)
    write_whole(tmp_path / "link.html", b"new")
    assert target.read_text() == "new"
    assert (tmp_path / "link.html").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_whole(tmp_path / "pipe", b"through")
    reader.join()
    assert received == [b"through"]
