"""Loaded by each Python process of a run under a moved clock (tools/clocks.py).

``time.sleep`` sleeps until a time of the monotonic clock. libfaketime 0.9.10 moves that time even
if it must leave the monotonic clock alone, and the sleep fails. ``select`` takes a duration.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep  # type: ignore[assignment]
