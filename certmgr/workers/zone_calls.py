"""What other operations ask of the workers of a zone (``ZoneWorkers`` of a context)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from certmgr.config.context import Context
from certmgr.operations.stopping import StopState
from certmgr.workers.calls import RemoteCalls
from certmgr.workers.queue_names import SCAN
from inventory.store import zone_workers
from inventory.vocabulary import CallKind

# A worker that died is missing in the list of workers later than that.
PATIENCE_SECONDS = 10.0


class QueuedZoneWorkers:
    """The workers of zones, by the queues of the inventory's database."""

    def __init__(self, context: Context, stop: StopState | None = None) -> None:
        self._context, self._stop = context, stop

    def available(self, zone: str) -> bool:
        """Return whether a worker of a zone sends heartbeats."""
        silent = self._context.settings.workers.silent_seconds
        with self._context.read() as conn:
            return bool(zone_workers.live(conn, SCAN, silent).get(zone))

    def call(self, zone: str, kind: CallKind, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let a worker of a zone do something, and return its result.

        Raises:
            CertmgrError: Its error; or none has answered within [workers] zone_minutes.
        """
        # The library of the queues is an extra, and is needed only here.
        from certmgr.workers.engine import work_queues_of

        context = self._context
        with work_queues_of(context.database) as queues:
            calls = RemoteCalls(
                context,
                queues,
                SCAN,
                zone=zone,
                stop=self._stop,
                patience=PATIENCE_SECONDS,
                limit=60 * context.settings.workers.zone_minutes,
            )
            return calls.one(kind, arguments).values
