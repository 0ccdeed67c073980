"""No input of a stranger raises anything but our own errors, or costs too much CPU or memory."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.campaign import SOAK
from tests.fuzz import mutations, targets
from tests.fuzz.__main__ import main
from tests.fuzz.limits import MEMORY, cpu_limit, peak_memory

# Seconds of coverage-guided fuzzing for each target in a soak.
SECONDS = int(os.environ.get("CERTMGR_FUZZ_SECONDS", "180"))
INPUTS = 150


@pytest.mark.parametrize("name", targets.TARGETS)
def test_mutated_inputs_raise_only_our_errors(name: str) -> None:
    before = peak_memory()
    for data in islice(mutations.inputs(targets.corpus(name), 1), INPUTS):
        try:
            with cpu_limit():
                targets.run(name, data)
        except BaseException as error:
            raise AssertionError(f"{data[:2000]!r}: {error!r}") from error
    assert peak_memory() - before < MEMORY


@pytest.mark.campaign
@pytest.mark.parametrize("name", targets.TARGETS if SOAK else ["audit export"])
def test_coverage_guided_inputs_raise_only_our_errors(name: str) -> None:
    seconds = SECONDS if SOAK else 1
    # Instrumentation takes ten seconds of CPU: a short run only shows that the command works.
    options = [f"--seconds={seconds}", *(() if SOAK else ("--no-coverage",))]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, *options],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds * 3 + 600,
    )
    # The first line names the seed, and the last ones the failure.
    assert done.returncode == 0, done.stderr[:300] + done.stderr[300:][-6000:]


def test_failed_input_is_kept_and_its_run_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # It would hold for all tests of this process.
    monkeypatch.setattr(logging, "disable", lambda _level: None)
    tried: list[bytes] = []

    def fail_late(_: str, data: bytes) -> None:
        tried.append(data)
        if len(tried) == 60:
            raise RuntimeError("a fault")

    def fuzz(*arguments: str) -> str:
        tried.clear()
        monkeypatch.setattr(sys, "argv", ["fuzz", *arguments])
        with pytest.raises(RuntimeError, match="a fault"):
            main()
        return capsys.readouterr().err

    monkeypatch.setattr(targets, "run", fail_late)
    printed = fuzz("csr", "--seconds=600", "--no-coverage")
    (kept,) = (tmp_path / "build" / "fuzz").iterdir()
    first = list(tried)
    assert kept.read_bytes() == first[-1]
    # The printed command gives the same inputs again.
    command = shlex.split(printed.splitlines()[0].partition("python -m tests.fuzz ")[2])
    fuzz(*command)
    assert tried == first
    assert len(set(first)) > 40
    # It runs alone as well.
    tried[:] = [b""] * 59
    monkeypatch.setattr(sys, "argv", ["fuzz", "csr", f"--input={kept}"])
    with pytest.raises(RuntimeError, match="a fault"):
        main()
    assert tried[59:] == first[-1:]
