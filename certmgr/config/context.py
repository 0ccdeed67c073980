"""What every effectful operation works with: the inventory, the configuration and the clock.

Pure functions take values and ``now`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, Self

from sqlalchemy import Connection

from certmgr.config.settings import Settings
from inventory.clock import Clock
from inventory.db.database import Database, Tx
from inventory.vocabulary import CallKind


class ZoneWorkers(Protocol):
    """The workers of other vantage points, which see what this machine does not."""

    def available(self, zone: str) -> bool:
        """Return whether a worker of a zone sends heartbeats."""
        ...

    def call(self, zone: str, kind: CallKind, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let a worker of a zone do something, and return its result.

        Raises:
            CertmgrError: Its error; or none has answered in time.
        """
        ...


@dataclass(frozen=True)
class Context:
    """The dependencies of an operation.

    Attributes:
        database: The inventory.
        settings: The configuration.
        clock: Returns the current time.
        zone_workers: The workers of other vantage points; None if there are no workers.
    """

    database: Database
    settings: Settings
    clock: Clock
    zone_workers: ZoneWorkers | None = field(default=None, kw_only=True)

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
