"""``certmgr import axfr:ZONE@SERVER`` over workers: one transfers the zone, the command imports."""

from __future__ import annotations

from certmgr.config.context import Context
from certmgr.operations.stopping import StopState
from certmgr.workers.calls import CallQueue, RemoteCalls
from certmgr.workers.queue_names import IMPORT
from inventory.vocabulary import CallKind


def transferred_by_worker(
    context: Context, queues: CallQueue, source: str, stop: StopState
) -> list[str]:
    """Return the names of a zone, which a worker transfers with the key of its configuration.

    Raises:
        CertmgrError: As in one process; or there is no worker.
    """
    calls = RemoteCalls(context, queues, IMPORT, stop=stop)
    names = calls.one(CallKind.TRANSFER, {"source": source}).files["names"].decode()
    return names.split("\n") if names else []
