"""A lineage on disk: its names, its layout and modes, and readers during switches."""

from __future__ import annotations

import grp
import os
import stat
import subprocess
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from certmgr.deploy.disk import resolve_modes
from certmgr.deploy.lineage import Lineage
from inventory.errors import UsageError
from tests.campaign import Campaign
from tests.certmgr.deploy.forks import Forks
from tests.certmgr.deploy.rig import NAME, ders, read_by_path, stored


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "/",
        ".",
        "..",
        "",
        "a/b",
        "-x",
        "a" * 201,
        "a\0b",
        "a\nb",
        "a\x1b[31mb",
        "a b",
        "a..b",
        "a.",
        "*.example.com",
        "$(id)",
        ".hidden",
        "ä",
    ],
)
def test_name_that_is_not_a_safe_word_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Lineage(tmp_path / "base", name)
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    "name",
    ["shop.example.com", "shop.example.com-0001", "xn--e1afmkfd.example", "_x", "a" * 200],
)
def test_name_as_certbot_gives_it_is_accepted(tmp_path: Path, name: str) -> None:
    assert Lineage(tmp_path, name).current() is None


def test_switched_lineage_has_certbots_layout_and_is_private(
    lineage: Lineage, issuer: Authority
) -> None:
    issued = issuer.issue(NAME)
    version = stored(lineage, issued)
    assert lineage.current() is None, "stored is not switched"
    assert lineage.switch(version) is None
    assert version.name.startswith("000001-")
    assert str((lineage.archive / "current").readlink()) == version.name
    for name in ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem"):
        link = (lineage.live / name).readlink()
        assert str(link) == f"../../archive/{NAME}/current/{name}"
        assert stat.S_IMODE((lineage.archive / version.name / name).stat().st_mode) == 0o600
    assert not lineage.live.is_symlink()
    for folder in (
        lineage.base,
        lineage.base / "archive",
        lineage.archive,
        lineage.archive / version.name,
        lineage.base / "live",
        lineage.live,
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    read = read_by_path(lineage.live)
    assert read.key_pem == issued.key_pem
    assert read.chain_der == tuple(ders(issued))
    assert (lineage.live / "combined.pem").read_bytes() == issued.key_pem + issued.chain_pem


def test_version_without_a_key_has_no_files_for_it(lineage: Lineage, issuer: Authority) -> None:
    """The client has the key."""
    lineage.switch(lineage.store(None, ders(issuer.issue(NAME))))
    names = sorted(p.name for p in lineage.live.iterdir())
    assert names == ["cert.pem", "chain.pem", "fullchain.pem"]
    current = lineage.read_current()
    assert current is not None
    assert current.key_pem is None


def test_group_can_read_the_files_and_cannot_replace_them(
    lineage: Lineage, issuer: Authority
) -> None:
    """As root, a process of that group tries it. Without root, only the modes are checked."""
    issued = issuer.issue(NAME)
    group = "daemon" if os.geteuid() == 0 else grp.getgrgid(os.getegid()).gr_name
    version = lineage.store(issued.key_pem, ders(issued), modes=resolve_modes("", group, "0640"))
    lineage.switch(version)
    assert stat.S_IMODE((lineage.live / "privkey.pem").stat().st_mode) == 0o640
    assert stat.S_IMODE((lineage.archive / version.name).stat().st_mode) == 0o750
    assert stat.S_IMODE(lineage.base.stat().st_mode) == 0o711
    if os.geteuid() == 0:
        for folder in lineage.base.parents:
            if "pytest" in str(folder):
                folder.chmod(0o711)
        read = ["/usr/bin/env", "cat", str(lineage.live / "privkey.pem")]
        write = ["/usr/bin/env", "touch", str(lineage.archive / version.name / "x")]
        for command, who, good in (
            (read, "daemon", True),
            (read, "nogroup", False),
            (write, "daemon", False),
        ):
            done = subprocess.run(
                command, user="nobody", group=who, extra_groups=[], capture_output=True
            )
            assert (done.returncode == 0) is good, (command, who, done)


@pytest.mark.campaign
def test_readers_during_switches_always_read_one_version(
    lineage: Lineage, issuer: Authority, forks: Forks, campaign: Campaign
) -> None:
    for _ in range(3):
        stored(lineage, issuer.issue(NAME))
    switches = campaign.size("switches under two readers", 100, 2000)
    found = forks.call("switches under readers", base=str(lineage.base), switches=switches)
    assert set(found) == {"combined", "folder"}
    for reader in found.values():
        assert reader["failures"] == []
        assert reader["reads"] >= switches * 3 // 10
        assert len(reader["seen"]) == 3
    campaign.report("reads meanwhile", sum(r["reads"] for r in found.values()))
