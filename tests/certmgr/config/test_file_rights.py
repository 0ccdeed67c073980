"""A configuration that other users may change, and that names programs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.config.file_rights import changeable_by_others
from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran

Runner = Callable[..., Ran]

HOOK = '[acme.solver.own]\nkind = "hook"\ncommand = ["/bin/true"]\n'
RELOAD = '[acme.target.web]\nkind = "reload"\nreload = ["/bin/true"]\n'
OWNER = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "etc"
    made.mkdir(mode=0o755)
    (made / "c.toml").write_text(HOOK)
    (made / "c.toml").chmod(0o644)
    return made


def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("root_servers")
@pytest.mark.parametrize("text", [HOOK, RELOAD])
@pytest.mark.parametrize(("name", "mode"), [("c.toml", 0o664), ("c.toml", 0o646), ("", 0o775)])
def test_configuration_with_programs_that_others_may_write_is_refused_as_root(
    certmgr: Runner,
    folder: Path,
    name: str,
    mode: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_root(monkeypatch)
    (folder / "c.toml").write_text(text)
    call = ("--config", str(folder / "c.toml"), "client", "list")
    assert "names programs" not in certmgr(*call).err
    (folder / name).chmod(mode)
    assert_refused(certmgr(*call), 2, "names programs, and other users may change")
    # Without programs, it is only reported by doctor.
    (folder / "c.toml").write_text("[scan]\ntimeout = 4.0\n")
    assert certmgr(*call).code == 0
    doctor = certmgr("--config", str(folder / "c.toml"), "doctor", "--format", "json")
    rows = [r for r in doctor.json["doctor"] if r["check"] == "file rights"]
    assert [r["state"] for r in rows] == ["fault"]


def test_owner_and_links_and_sticky_folders_count(folder: Path) -> None:
    file = folder / "c.toml"
    assert changeable_by_others(file) is None
    folder.chmod(0o1777)
    assert changeable_by_others(file) is None
    folder.chmod(0o755)
    # The link itself stands where others may replace it.
    shared = folder.parent / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "link.toml").symlink_to(file)
    assert changeable_by_others(shared / "link.toml") == shared
    inner = shared / "inner"
    inner.mkdir()
    (inner / "c.toml").touch(0o644)
    assert changeable_by_others(inner / "c.toml") == shared


def test_file_of_another_user_is_changeable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "c.toml"
    if os.geteuid() == 0:
        os.chown(file, OWNER, OWNER)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OWNER)
    assert changeable_by_others(file) is not None


@pytest.mark.usefixtures("root_servers")
def test_pipe_as_source_is_refused_at_once(certmgr: Runner, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (str(pipe), "/dev/zero"):
        assert_refused(certmgr("--config", path, "client", "list"), 2, "cannot be read")
        for kind in ("csv", "json", "zone", "nginx", "apache", "certbot"):
            call = ("import", path, "--from", kind, "--client", "1")
            assert_refused(certmgr(*call), 3, "pipe, device")
        assert_refused(
            certmgr("purchase", "import", path, "--from", "csv"), 3, "not a regular file"
        )
        assert_refused(certmgr("scan", "127.0.0.1", "--ca-file", path), 2, "cannot be read")
        (tmp_path / "certmgr.toml").write_text(f'[database]\nurl = "file:{path}"\n')
        url = certmgr("doctor", environment={"CERTMGR_NOTIFY_MAIL": f"file:{path}"})
        assert "cannot be read" in url.out
    assert stat.S_ISFIFO(pipe.stat().st_mode)
