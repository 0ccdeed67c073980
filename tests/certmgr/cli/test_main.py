"""Tests of the command line as a whole: commands, exit codes, and a failing standard output."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran

Runner = Callable[..., Ran]


@pytest.mark.parametrize("noun", ["client", "contact", "server", "domain", "endpoint"])
def test_each_noun_has_the_five_verbs_and_lists_in_each_format(certmgr: Runner, noun: str) -> None:
    ran = certmgr(noun, "--help")
    for verb in ("add", "list", "show", "edit", "retire"):
        assert f"  {verb} " in ran.out
    for output_format in ("table", "json", "csv"):
        assert certmgr(noun, "list", "--format", output_format).code == 0


def test_object_that_does_not_exist_is_refused_by_name(certmgr: Runner) -> None:
    assert_refused(certmgr("client", "show", "404"), 2, "There is no client '404'")
    assert_refused(certmgr("domain", "show", "none.example.com"), 2, "There is no domain")
    ran = certmgr("domain", "add", "a.example.com", "--client", "404")
    assert_refused(ran, 2, "There is no client")
    assert_refused(certmgr("scan"), 2, "no active endpoint", "certmgr domain add")
    assert_refused(certmgr("scan", "--client", "404"), 2, "There is no client")


@pytest.mark.parametrize(
    "arguments",
    [
        ("contact", "show", "9" * 30),
        ("contact", "show", "²"),
        ("finding", "withdraw", "9" * 30),
        ("status", "--as-of", "9999-12-31T23:59-12:00"),
        ("scan", "[1.2.3.4]"),
        ("scan", "fe80::1%eth0"),
        ("--database", ":memory:", "client", "list"),
        ("--database", "postgresql://u:p@127.0.0.1:port/x", "client", "list"),
    ],
)
def test_unusual_argument_is_refused_without_an_internal_error(
    certmgr: Runner,
    arguments: tuple[str, ...],
) -> None:
    ran = certmgr(*arguments)
    assert ran.code in (2, 3)
    assert "should not be" not in ran.err
    assert ran.out == ""


def test_debug_option_shows_the_traceback(certmgr: Runner) -> None:
    ran = certmgr("--debug", "client", "show", "404")
    assert ran.code == 2
    assert "Traceback" in ran.err


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        (
            "certmgr.cli.main",
            (
                "asyncio",
                "sqlalchemy",
                "cryptography",
                "OpenSSL",
                "rich",
                "acme",
                "apprise",
                "alembic",
            ),
        ),
        # Each command of the inventory would wait for what it does not use.
        ("certmgr.cli.inspect.status", ("acme", "apprise", "alembic", "procrastinate")),
    ],
)
def test_import_of_a_command_loads_no_heavy_library(module: str, heavy: tuple[str, ...]) -> None:
    loaded = f"[m for m in {heavy} if m in sys.modules]"
    program = f"import sys; import {module}; print({loaded})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == "[]"


def test_full_standard_output_fails_without_a_traceback(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "certmgr",
                "--database",
                str(
                    tmp_path / "x.db",
                ),
                "client",
                "list",
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_closed_standard_output_is_not_an_error(tmp_path: Path) -> None:
    program = f"{sys.executable} -m certmgr --database {tmp_path}/x.db"
    subprocess.run(f"{program} client add 1 One", shell=True, check=True, stdout=subprocess.DEVNULL)
    command = f"{program} client list"
    done = subprocess.run(
        f"{command} | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_crash_of_the_program_writes_no_core_file_with_keys() -> None:
    """The soft limit is zero, and the hard one stays for programs that are started."""
    code = """
import resource, sys
from certmgr.cli import main
limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
sys.argv = ["certmgr", "--version"]
try:
    main.run()
finally:
    print(resource.getrlimit(resource.RLIMIT_CORE) == (0, limit))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "True"
