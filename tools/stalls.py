"""Run a command while its processes are stopped at random: ``make test-stalls``.

usage: python tools/stalls.py [--run SECONDS] [--stop SECONDS] [--seed N] COMMAND ...

A busy or slow machine lets a process wait for its turn. This program has the same effect without
any load: again and again it stops some of the processes below the command (SIGSTOP), and continues
them after a while. Clocks go on, so a time limit passes while a process stands still. Whatever
depends on the order of two processes, or on an answer in time, fails more often than under load.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path


def descendants(root: int) -> list[int]:
    """Return the processes below ``root``, which are not stopped by anyone else."""
    children: dict[int, list[tuple[int, str]]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The command name stands in parentheses, and may contain any character.
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # It ended.
        children.setdefault(int(parent), []).append((int(folder.name), state))
    found, waiting = [], [root]
    while waiting:
        for pid, state in children.get(waiting.pop(), ()):
            waiting.append(pid)
            # A test that stops a process itself also continues it.
            if state not in "TZ":
                found.append(pid)
    return found


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those of the processes that still exist."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Stop the processes of a command at random.")
    parser.add_argument("--run", type=float, default=0.3, help="the mean time between two stops")
    parser.add_argument("--stop", type=float, default=0.6, help="the mean time of a stop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - repeatable
    process = subprocess.Popen(options.command)
    stopped: list[int] = []
    try:
        while process.poll() is None:
            time.sleep(options.run * chance.uniform(0.1, 1.9))
            below = descendants(process.pid)
            # All of them stand still as on a machine without a free core, or each one separately.
            share = chance.choice((0.3, 0.6, 1.0))
            stopped = [pid for pid in below if chance.random() < share]
            send(stopped, signal.SIGSTOP)
            time.sleep(options.stop * chance.uniform(0.1, 1.9))
            send(stopped, signal.SIGCONT)
            stopped = []
    finally:
        send(stopped, signal.SIGCONT)
        process.terminate()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
