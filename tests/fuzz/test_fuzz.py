"""No input of a stranger raises anything but our own errors, or costs too much CPU or memory."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice

import pytest

from tests.campaign import SOAK
from tests.fuzz import mutations, targets
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
    assert done.returncode == 0, done.stderr[-6000:]
