"""Folders that are refused, and the state after a full or read-only disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from inventory.errors import CertmgrError
from tests.certmgr.deploy.forks import Forks
from tests.certmgr.deploy.rig import NAME, ders, leftovers, read_by_path, stored


def test_folder_in_which_others_can_put_links_is_not_written_to(
    tmp_path: Path, issuer: Authority
) -> None:
    """For root, this is also true of each folder above, and of a folder of another user."""
    cases = [(tmp_path / "open", tmp_path / "open", 0o777, os.geteuid())]
    if os.geteuid() == 0:
        cases += [
            (tmp_path / "client", tmp_path / "client/base", 0o755, 1234),
            (tmp_path / "group", tmp_path / "group/base", 0o775, 0),
        ]
    for folder, base, mode, owner in cases:
        folder.mkdir()
        folder.chmod(mode)
        os.chown(folder, owner, -1)
        with pytest.raises(CertmgrError, match="Nothing is written below"):
            stored(Lineage(base, NAME), issuer.issue(NAME))
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 100, 1000])
def test_full_disk_leaves_the_previous_version_and_is_reported_once(
    lineage: Lineage, issuer: Authority, forks: Forks, limit: int
) -> None:
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    lineage.switch(stored(lineage, one))
    what, why, todo = forks.call(
        "limited",
        base=str(lineage.base),
        key=two.key_pem.decode(),
        chain=[d.hex() for d in ders(two)],
        limit=limit,
    )
    assert what.startswith(f"The new version of '{NAME}' cannot be written"), what
    assert why.startswith("File too large")
    assert todo.startswith("Free some space")
    assert read_by_path(lineage.live).chain_der == tuple(ders(one))
    assert len(lineage.versions()) == 1
    assert leftovers(lineage.base) == []
    lineage.switch(stored(lineage, two))
    assert read_by_path(lineage.live).chain_der == tuple(ders(two))


def test_read_only_folder_leaves_the_previous_version_and_is_reported_once(
    lineage: Lineage, issuer: Authority
) -> None:
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    first = stored(lineage, one)
    lineage.switch(first)
    second = stored(lineage, two)
    with _read_only(lineage.archive):
        with pytest.raises(CertmgrError, match=r"cannot be switched|cannot be written") as caught:
            lineage.switch(second)
        assert "previous version is still in use" in str(caught.value)
        with pytest.raises(CertmgrError, match="cannot be written"):
            stored(lineage, issuer.issue(NAME))
        assert read_by_path(lineage.live).chain_der == tuple(ders(one))
    assert lineage.switch(second) == first


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only.

    A mode does not stop root. For root it is a read-only mount or, if this machine allows none, the
    attribute of an immutable folder.
    """
    if os.geteuid() != 0:
        folder.chmod(0o500)
        undo = ["chmod", "700", str(folder)]
    elif _run("mount", "--bind", str(folder), str(folder)).returncode == 0:
        _run("mount", "-o", "remount,ro,bind", str(folder)).check_returncode()
        undo = ["umount", str(folder)]
    else:
        _run("chattr", "+i", str(folder)).check_returncode()
        undo = ["chattr", "-i", str(folder)]
    try:
        yield
    finally:
        subprocess.run(undo, check=True)


def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True)
