"""The oracle: an input ends with a result or an error of this program, within CPU and memory."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# CPU time is independent of other work on the machine. A parser process of certmgr has 2 seconds.
CPU_SECONDS = 5.0
MEMORY = 400_000_000  # bytes above what the process has before the first input


class TooCostly(BaseException):
    """An input took more CPU time than its limit. No handler of a parser may catch it."""


@contextmanager
def cpu_limit() -> Iterator[None]:
    """Raise :class:`TooCostly` in the block after :data:`CPU_SECONDS` of CPU time."""

    def end(_: int, __: FrameType | None) -> None:
        raise TooCostly(f"more than {CPU_SECONDS:g} s of CPU time")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
