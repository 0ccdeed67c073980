"""The end of child processes, whose wait has a limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any

# A killed process ends at once, unless the kernel waits for a disk or a network file system.
END_SECONDS = 5.0
# Processes that did not end. Each is reaped as soon as it does.
_left: list[subprocess.Popen[Any]] = []


def kill(process: subprocess.Popen[Any], *, group: bool = False) -> bool:
    """Kill a child process, and return whether it has ended.

    A program that changed its user, such as sudo, cannot be killed by an ordinary user. It goes on,
    and is not waited for.

    Args:
        process: The process.
        group: Whether the processes of its group, which it leads, are killed as well.
    """
    _reap()
    # PermissionError: it runs as another user by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        _left.append(process)
        return False
    return True


def _reap() -> None:
    """Forget the processes that have ended since."""
    _left[:] = [p for p in _left if p.poll() is None]
