"""systemd and cron accept the service files in docs/notices.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.servers.real import program

DOC = (Path(__file__).parents[1] / "docs" / "notices.md").read_text()
FIELD = r"(\*|\d+(-\d+)?(,\d+(-\d+)?)*)(/\d+)?"


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", DOC, re.S)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze", "systemd"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_service_and_timer_are_accepted_by_systemd(tmp_path: Path) -> None:
    paths = []
    for text in blocks("ini"):
        name = re.match(r"# /etc/systemd/system/(\S+)\n", text)
        assert name is not None
        paths.append(tmp_path / name[1])
        paths[-1].write_text(text)
    assert [path.name for path in paths] == ["certmgr.service", "certmgr.timer"]
    completed = analyze("verify", "--man=no", *map(str, paths))
    lines = completed.stderr.splitlines()
    problems = [line for line in lines if str(tmp_path) in line or "certmgr" in line]
    assert (completed.returncode, problems) == (0, []), completed.stderr
    assert analyze("calendar", "hourly").returncode == 0
    timer = (tmp_path / "certmgr.timer").read_text()
    assert "Persistent=true" in timer
    assert "RandomizedDelaySec=" in timer


def test_broken_unit_is_rejected_by_systemd(tmp_path: Path) -> None:
    """This shows that the test above can fail."""
    unit = tmp_path / "bad.service"
    unit.write_text("[Service]\nType=oneshot\nExecStart=relative/path\n")
    completed = analyze("verify", "--man=no", str(unit))
    assert completed.returncode != 0 or "bad.service" in completed.stderr


def test_crontab_has_five_fields_within_their_bounds_and_a_command() -> None:
    """A % in the command would have to be escaped (crontab(5))."""
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
