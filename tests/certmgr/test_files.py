"""Output files are written atomically, into pipes, and never through links."""

from __future__ import annotations

import os
import resource
import stat
import threading
from pathlib import Path

import pytest

from certmgr.files import write_whole
from inventory.errors import CertmgrError, Conflict


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


def test_link_with_the_name_of_the_output_is_replaced_and_its_target_unchanged(
    tmp_path: Path,
) -> None:
    target = tmp_path / "real.html"
    target.write_text("old")
    for name in (target, tmp_path / "absent"):
        (tmp_path / "link.html").unlink(missing_ok=True)
        (tmp_path / "link.html").symlink_to(name)
        write_whole(tmp_path / "link.html", b"new")
        assert not (tmp_path / "link.html").is_symlink()
        assert (tmp_path / "link.html").read_text() == "new"
    assert target.read_text() == "old"
    assert not (tmp_path / "absent").exists()


def test_pipe_is_written_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_whole(tmp_path / "pipe", b"through")
    reader.join()
    assert received == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_descriptor_of_this_process_is_written(tmp_path: Path, name: str) -> None:
    reading, writing = os.pipe()
    write_whole(Path(name.format(writing)), b"through")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"through"


STRANGER = 65534


def _give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a path that belongs to another user."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


def test_link_of_another_user_on_the_way_to_the_output_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "r.html").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(victim)
    write_whole(link / "r.html", b"by root")
    _give_away(link, monkeypatch)
    with pytest.raises(CertmgrError, match="another user"):
        write_whole(link / "r.html", b"new")
    os.mkfifo(tmp_path / "pipe")
    _give_away(tmp_path / "pipe", monkeypatch)
    with pytest.raises(CertmgrError, match="another user"):
        write_whole(tmp_path / "pipe", b"new")
    assert (victim / "r.html").read_text() == "by root"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_no_key_is_written_where_other_users_may_write(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(CertmgrError, match="other users may write"):
        write_whole(folder / "package.zip", b"key", secret=True)
    assert list(folder.iterdir()) == []
    folder.chmod(0o750)
    write_whole(folder / "package.zip", b"key", secret=True)
    assert stat.S_IMODE((folder / "package.zip").stat().st_mode) == 0o600


def test_no_key_is_written_into_the_folder_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _give_away(tmp_path, monkeypatch)
    with pytest.raises(CertmgrError, match="other users may write"):
        write_whole(tmp_path / "package.zip", b"key", secret=True)


@pytest.mark.parametrize("hard_links", [True, False])
def test_name_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, hard_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not hard_links:
        monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    (tmp_path / "file").write_text("old")
    for name in ("link", "file"):
        with pytest.raises(Conflict):
            write_whole(tmp_path / name, b"new", overwrite=False)
    write_whole(tmp_path / "other", b"new", overwrite=False)
    assert {p.name for p in tmp_path.iterdir()} == {"link", "file", "other"}
    assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "other").read_text() == "new"


def test_folders_on_the_way_need_not_be_readable(tmp_path: Path) -> None:
    # As in /home of a shared host: 0711.
    inner = tmp_path / "home" / "user"
    inner.mkdir(parents=True)
    (tmp_path / "home").chmod(0o111)
    write_whole(inner / ".." / "user" / "r.html", b"new")
    assert (inner / "r.html").read_text() == "new"
    (tmp_path / "home").chmod(0o700)
