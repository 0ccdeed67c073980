"""The clock, the only module that reads the wall clock, and the form in which times are stored.

Commands, transactions and scans get a :data:`Clock` and call it when they need the time. Production
passes :func:`system_clock`; tests pass a clock that is set to a fixed date. Durations, such as
time limits, are measured with ``time.monotonic`` and not with this clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Timestamp: TypeAlias = int
"""A time in whole seconds since 1970 in UTC, as the database stores it. Never days or local time.

Times are integers in tables, records and the store, because scans and status pass hundreds of
thousands of them. At the edges, :func:`inventory.db.database.to_epoch` and ``from_epoch`` convert
from and to aware datetimes: where an administrator types a date, where a decision counts days in a
time zone, and where a reader sees a date.
"""

Clock = Callable[[], datetime]
"""Returns the current time as an aware datetime in UTC."""


def system_clock() -> datetime:
    """Return the time of the operating system, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the clock
