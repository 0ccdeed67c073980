"""Shell completion: commands, options, and values of the inventory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from certmgr.cli.completing import completions
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
    assert complete("finding", "accept", "chain-") == ["chain-incomplete", "chain-disordered"]
    assert "https-missing" in complete("explain", "https-")
    assert "targets" in complete("help", "tar")
    assert complete("--config", "x.toml", "-v", "dead") == ["deadline"]
    assert complete("no-such-command", "") == complete("")
    assert dict(completions(["scan"], {}))["scan"] == "Inspect the certificates that are served."


def test_values_of_the_inventory_are_completed(inventory: Path) -> None:
    assert complete("client", "show", "100", database=inventory) == ["10017", "10018"]
    assert complete("scan", "--client", "10017", database=inventory) == ["10017"]
    assert complete("domain", "show", "shop_", database=inventory) == ["shop_x.example.test"]
    assert complete("scan", "ot", database=inventory) == ["other.example.test"]
    assert complete("status", "--tag", "", database=inventory) == ["vip"]
    # A number that a shell would run is not offered.
    assert complete("client", "show", "", database=inventory) == ["10017", "10018"]
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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_accepted_by_its_shell(certmgr: Runner, shell: str) -> None:
    script = certmgr("completion", shell).out
    assert "_CERTMGR_COMPLETE" in script and "certmgr" in script
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_at_tab(certmgr: Runner, inventory: Path, tmp_path: Path) -> None:
    (tmp_path / "completion").write_text(certmgr("completion", "bash").out)
    (tmp_path / "certmgr").write_text(f'#!/bin/sh\nexec {sys.executable} -m certmgr "$@"\n')
    (tmp_path / "certmgr").chmod(0o755)
    program = (
        f"source {tmp_path}/completion\n"
        f"COMP_WORDS=(certmgr --database {inventory} domain show sh); COMP_CWORD=5\n"
        '_certmgr; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", program],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["shop.example.test", "shop_x.example.test"]
