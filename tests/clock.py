"""The clock of the tests.

It starts each test at :data:`START`, so that no result depends on the time, the date or the time
zone of the machine. Code under test gets it as an argument. Tests with a CA that reads the system
clock (pebble, a static Go program) use ``inventory.clock.system_clock``.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 25, 10, tzinfo=UTC)  # a Wednesday, within office hours


class ManualClock:
    """A clock that starts at ``start``, runs at normal speed, and can be moved by a test."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._begun = time.monotonic()

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=time.monotonic() - self._begun)

    def advance(self, **duration: float) -> None:
        """Move the clock by a ``timedelta`` given as keywords, such as ``seconds=2``."""
        self._start += timedelta(**duration)

    def reset(self, start: datetime = START) -> None:
        self._start = start
        self._begun = time.monotonic()


clock = ManualClock()
"""The clock that a test and the code under test share. The fixture ``clock`` resets it."""


def frozen() -> datetime:
    """Return :data:`START`: the clock of certificates that are made once for many tests."""
    return START
