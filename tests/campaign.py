"""Campaigns: tests that repeat one experiment many times, such as kills at each recorded step.

``make test`` runs a small number of repetitions, and ``make soak`` (``CERTMGR_SOAK=1``) the full
number. Both print the numbers at the end of the run.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator

SOAK = os.environ.get("CERTMGR_SOAK") == "1"
PATIENCE = 300.0
"""Seconds without any progress after which a campaign counts as stuck. The total has no limit."""
UNREACHED = 60.0
"""Seconds: a time limit of the code under test that no test waits for, however busy the machine."""


def size(small: int, full: int) -> int:
    """Return ``full`` in a soak, else ``small``. For parameters, which exist at collection."""
    return full if SOAK else small


class Campaign:
    """The sizes of one test's campaigns, kept for the summary of the run."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def size(self, what: str, small: int, full: int) -> int:
        """Return the number of ``what`` to run, and record it."""
        count = size(small, full)
        self.report(what, count)
        return count

    def report(self, what: str, value: object) -> None:
        """Record a figure for the summary."""
        self._record("campaign", f"{value} {what}")


class Progress:
    """Fails a loop that makes no progress for :data:`PATIENCE` seconds. The total is unlimited."""

    def __init__(self, what: str, patience: float = PATIENCE) -> None:
        self._what, self._patience = what, patience
        self._last: object = None
        self._since = time.monotonic()

    def check(self, state: object) -> None:
        """Compare with the last state; any change counts as progress."""
        if state != self._last:
            self._last, self._since = state, time.monotonic()
        elif time.monotonic() - self._since > self._patience:
            raise AssertionError(
                f"{self._what} made no progress in {self._patience:.0f} s: {state!r}"
            )


def wait_until(done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Poll ``done`` until it is true, for events without a notification."""
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen in {patience:.0f} s")
        time.sleep(0.01)


def time_limits(first: float) -> Iterator[float]:
    """Yield a time limit of the code under test, and then longer ones.

    For a test that waits for a limit after something else has happened within it. A busy machine
    may need longer for that: the test then repeats its experiment with the next limit.
    """
    limit = first
    while limit < PATIENCE:
        yield limit
        limit *= 4


def follow(process: subprocess.Popen[bytes], state: Callable[[], object], what: str) -> int:
    """Wait for a child that makes progress, which ``state`` measures, and return its exit code."""
    progress = Progress(what)
    while True:
        try:
            return process.wait(0.2)
        except subprocess.TimeoutExpired:
            try:
                progress.check(state())
            except AssertionError:
                process.kill()
                process.wait()
                raise
