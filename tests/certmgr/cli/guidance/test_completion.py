"""Shell completion: commands, options, and values of the inventory."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from certmgr.cli.guidance.completing import completions
from tests.certmgr.cli.conftest import Runner
from tests.program import run_process


def complete(*words: str, database: Path | None = None) -> list[str]:
    options = ("--database", str(database)) if database else ()
    return [value for value, _ in completions([*options, *words], {})]


@pytest.fixture
def inventory(certmgr: Runner, tmp_path: Path) -> Path:
    certmgr("client", "add", "10017", "Schäfer GmbH")
    certmgr("client", "add", "10018", "Evil `reboot`")
    certmgr("client", "add", "$(id)", "Hostile number")
    certmgr("domain", "add", "shop.example.test", "shop_x.example.test", "--client", "10017")
    certmgr("domain", "add", "other.example.test", "--client", "10018", "--tag", "vip")
    return next(tmp_path.glob("*.db"))


def test_commands_and_options_are_completed_with_descriptions() -> None:
    assert complete("dom") == ["domain"]
    assert complete("domain", "") == ["add", "edit", "list", "retire", "show"]
    assert "--client" in complete("scan", "--cl") and "--format" in complete("status", "--")
    assert complete("status", "--format", "") == ["table", "json", "csv"]
    assert complete("status", "--format=j") == ["--format=json"]
    assert complete("finding", "accept", "chain-") == [
        "chain-incomplete",
        "chain-disordered",
        "chain-ambiguous",
    ]
    assert "https-missing" in complete("explain", "https-")
    assert "targets" in complete("help", "tar")
    assert complete("--config", "x.toml", "-v", "dead") == ["deadline"]
    assert complete("no-such-command", "") == complete("")
    assert dict(completions(["scan"], {}))["scan"] == "Inspect the certificates that are served."


def test_values_of_the_inventory_are_completed(certmgr: Runner, inventory: Path) -> None:
    assert complete("client", "show", "100", database=inventory) == ["10017", "10018"]
    opened = certmgr("case", "open", "10017", "shop.example.test")
    (reference,) = complete("case", "show", "", database=inventory)
    assert reference in opened.out
    assert complete("scan", "--client", "10017", database=inventory) == ["10017"]
    assert complete("domain", "show", "shop_", database=inventory) == ["shop_x.example.test"]
    assert complete("scan", "ot", database=inventory) == ["other.example.test"]
    assert complete("status", "--tag", "", database=inventory) == ["vip"]
    # The shell quotes what it inserts.
    assert complete("client", "show", "$", database=inventory) == ["$(id)"]
    # New names are not completed.
    assert complete("domain", "add", "sh", database=inventory) == []


def test_completion_creates_and_changes_nothing(tmp_path: Path) -> None:
    assert complete("client", "show", "", database=tmp_path / "missing.db") == []
    (tmp_path / "broken.db").write_bytes(b"no database")
    ran = run_process(
        [],
        environment={
            "_CERTMGR_COMPLETE": "bash",
            "_CERTMGR_WORDS": f"certmgr\n--database\n{tmp_path}/broken.db\nclient\nshow\n",
        },
    )
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert [p.name for p in tmp_path.iterdir()] == ["broken.db"]


def test_completion_imports_no_command_and_no_database_library() -> None:
    program = (
        "import sys; from certmgr.cli.main import run\n"
        "try: run()\nexcept SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'rich', 'cryptography', 'OpenSSL', 'acme', 'apprise', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    for words in ("certmgr\ndomain\nshow\nx", "certmgr\n"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "_CERTMGR_COMPLETE": "fish", "_CERTMGR_WORDS": words},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "[]"


# What is typed before TAB, and the words that the program gets.
TYPED = (
    ("certmgr dom", "domain"),
    ("certmgr status --format=j", "status --format=json"),
    ("certmgr finding accept chain-d", "finding accept chain-disordered"),
    ("certmgr domain show oth", "domain show other.example.test"),
    ("certmgr client show 10018", "client show 10018"),
    ("certmgr client show A", "client show A B:1"),
    ("certmgr client show 'A", "client show A B:1"),
    ('certmgr scan --client="A', "scan --client=A B:1"),
    ("certmgr scan --client A\\ B:", "scan --client A B:1"),
    ("certmgr client show Ü", "client show Ü\"'!$(id)"),
    ('certmgr client show "Ü', "client show Ü\"'!$(id)"),
    ("certmgr client show back", "client show back\\slash*"),
)
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}


@pytest.mark.parametrize("shell", list(SHELLS))
def test_shell_passes_completed_text_unchanged(
    certmgr: Runner, inventory: Path, tmp_path: Path, shell: str
) -> None:
    """A real shell at a terminal, which is typed at; its command writes the words that it gets."""
    for number in ("A B:1", "Ü\"'!$(id)", "back\\slash*"):
        assert certmgr("client", "add", number, f"Odd: {number}\\").code == 0
    (tmp_path / "script").write_text(certmgr("completion", shell).out)
    (tmp_path / "certmgr").write_text(
        f'#!/bin/sh\n[ -z "$_CERTMGR_COMPLETE" ] || exec {sys.executable} -m certmgr\n'
        'echo "$*" >>"$PASSED"\n'
    )
    (tmp_path / "certmgr").chmod(0o755)
    environment = {
        "CERTMGR_DATABASE_URL": f"sqlite:///{inventory}",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "PASSED": str(tmp_path / "passed"),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[4]),
        "TERM": "dumb",
    }
    compinit = "autoload -Uz compinit && compinit -D -u && " if shell == "zsh" else ""
    lines = [f"{compinit}source {tmp_path}/script", *(f"{line}\t" for line, _ in TYPED), "exit"]
    shown = type_at_terminal(SHELLS[shell], lines, environment)
    file = tmp_path / "passed"
    passed = file.read_text().splitlines() if file.exists() else []
    assert passed == [words for _, words in TYPED], shown


def type_at_terminal(
    command: Sequence[str], lines: Sequence[str], environment: Mapping[str, str]
) -> str:
    """Run a shell at a new terminal, type lines, and return all that it shows until its end."""
    leader, follower = pty.openpty()
    shown = b""
    with (
        open(leader, "r+b", buffering=0) as terminal,  # noqa: PTH123 - a file descriptor
        subprocess.Popen(
            # fish starts only if the terminal controls its session.
            ["setsid", "--ctty", *command],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=dict(environment),
            cwd=environment["HOME"],
        ) as process,
    ):
        os.close(follower)
        # A shell with many candidates asks whether to list them, and takes the rest as answers.
        watchdog = threading.Timer(20, process.kill)
        watchdog.start()
        terminal.write("".join(f"{line}\n" for line in lines).encode())
        try:
            while chunk := terminal.read(65_536):
                shown += chunk
        except OSError:  # EIO: the shell has ended
            pass
        watchdog.cancel()
    return shown.decode(errors="replace")
