"""The clock that all workers share: that of the database.

Machines whose clocks differ must not disagree about what has expired, which lease has ended, or
whether a run ended before it began.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from certmgr.config.context import Context
from inventory.clock import Clock
from inventory.db.database import to_epoch
from inventory.store import shards

_log = logging.getLogger(__name__)

# A smaller difference is not a wrong clock, but the time of a query.
TOLERATED_SECONDS = 5


def with_database_clock(context: Context) -> Context:
    """Return a context whose clock agrees with the database, as long as an operation takes."""
    with context.read() as conn:
        return replace(context, clock=agreeing(context.clock, shards.database_time(conn)))


def agreeing(clock: Clock, database_time: int) -> Clock:
    """Return a clock that agrees with the database, if that of this machine does not.

    Args:
        clock: The clock of this machine.
        database_time: The time of the database now, in epoch seconds.
    """
    difference = database_time - to_epoch(clock())
    if abs(difference) <= TOLERATED_SECONDS:
        return clock
    _log.warning("the clock of this machine differs from the database's by %d s", -difference)
    offset = timedelta(seconds=difference)

    def corrected() -> datetime:
        return (clock() + offset).astimezone(UTC)

    return corrected
