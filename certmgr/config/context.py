"""What every effectful operation works with: the inventory, the configuration and the clock.

Pure functions take values and ``now`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from sqlalchemy import Connection

from certmgr.config.settings import Settings
from inventory.clock import Clock
from inventory.db.database import Database, Tx


@dataclass(frozen=True)
class Context:
    """The dependencies of an operation.

    Attributes:
        database: The inventory.
        settings: The configuration.
        clock: Returns the current time.
    """

    database: Database
    settings: Settings
    clock: Clock

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        return self.clock()

    def frozen(self) -> Self:
        """Return a context whose clock stands still.

        A pass takes one, so that all its results have the same time.
        """
        now = self.now()
        return replace(self, clock=lambda: now)

    def read(self) -> AbstractContextManager[Connection]:
        """Open a connection for reading."""
        return self.database.read()

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a write transaction at the current time of this context."""
        # The time of this context, so that all rows of a frozen pass have the same time.
        with self.database.write(self.now()) as tx:
            yield tx
