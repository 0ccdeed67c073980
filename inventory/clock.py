"""The clock: the one place that reads the wall clock.

Commands, transactions and scans get a :data:`Clock` and call it when they need the time. Production
passes :func:`system_clock`; tests pass a clock that is set to a fixed date. Durations, such as
time limits, are measured with ``time.monotonic`` and not with this clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time as an aware datetime in UTC."""


def system_clock() -> datetime:
    """Return the time of the operating system, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the clock
