"""Runs commands, and measures their CPU time, memory and output."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Row:
    """One row of the result.

    Attributes:
        what: What was measured.
        endpoints: The number of endpoints, or of other units.
        cpu_ms: Client CPU time per unit, in milliseconds.
        per_second: Units per second.
        peak_mb: Peak memory.
        note: A remark.
        goal: The required figure.
        reached: Whether the goal was reached.
        compared: Whether ``cpu_ms`` is stated as a multiple of a bare Go handshake.
        times_go: That multiple; None without Go.
        at_most: The highest multiple that is wanted.
    """

    what: str
    endpoints: int
    cpu_ms: float
    per_second: float
    peak_mb: float | None = None
    note: str = ""
    goal: str = ""
    reached: bool | None = None
    compared: bool = False
    times_go: float | None = None
    at_most: float | None = None


@dataclass(slots=True)
class Measured:
    """CPU and wall time in seconds, peak memory, exit code, and output of a command."""

    cpu: float
    wall: float
    peak_mb: float
    code: int
    out: str


def _tree_mb(pid: int) -> float:
    """Return the proportional memory (PSS) of a process and its children, in MB."""
    total = 0.0
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        try:
            waiting += [
                int(p) for p in Path(f"/proc/{current}/task/{current}/children").read_text().split()
            ]
            for line in Path(f"/proc/{current}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
        except (OSError, ValueError):
            continue
    return total


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command and measure it with its children."""
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        peak = [0.0]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.25):
                peak[0] = max(peak[0], _tree_mb(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        stop.set()
        watcher.join()
        output.seek(0)
        text = output.read()
    return Measured(
        usage.ru_utime + usage.ru_stime, time.monotonic() - begun, peak[0], process.returncode, text
    )
