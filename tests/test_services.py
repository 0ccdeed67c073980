"""The service files of the documentation are what systemd and cron read."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

DOC = (Path(__file__).parents[1] / "docs" / "notices.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", DOC, re.S)


def test_systemd_reads_the_service_and_its_timer(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    assert tool, "systemd-analyze is missing: apt-get install systemd (make test does it as root)"
    names = []
    for text in blocks("ini"):
        name = re.match(r"# /etc/systemd/system/(\S+)\n", text)
        assert name is not None
        (tmp_path / name[1]).write_text(text)
        names.append(name[1])
    assert names == ["certmgr.service", "certmgr.timer"]
    done = subprocess.run(
        [tool, "verify", "--man=no", *(str(tmp_path / n) for n in names)], capture_output=True, text=True, timeout=60
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "certmgr" in line]
    assert (done.returncode, said) == (0, []), done.stderr
    calendar = subprocess.run([tool, "calendar", "hourly"], capture_output=True, text=True, timeout=60)
    assert calendar.returncode == 0
    timer = (tmp_path / "certmgr.timer").read_text()
    assert "Persistent=true" in timer
    assert "RandomizedDelaySec=" in timer


def test_a_broken_unit_is_noticed(tmp_path: Path) -> None:
    """The test above can fail."""
    (tmp_path / "bad.service").write_text("[Service]\nType=oneshot\nExecStart=relative/path\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "bad.service")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0 or "bad.service" in done.stderr


FIELD = r"(\*|\d+(-\d+)?(,\d+(-\d+)?)*)(/\d+)?"


def test_the_lines_of_the_crontab_are_lines_of_a_crontab() -> None:
    """crontab(5): five fields within their bounds, then a command without an unescaped %."""
    (text,) = blocks("cron")
    bounds = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    lines = text.strip().splitlines()
    assert len(lines) == 2
    for line in lines:
        *fields, command = line.split(None, 5)
        for value, (low, high) in zip(fields, bounds, strict=True):
            assert re.fullmatch(FIELD, value), value
            assert all(low <= int(n) <= high for n in re.findall(r"(?<!/)\b\d+", value))
        assert command.startswith("certmgr ")
        assert "%" not in command
