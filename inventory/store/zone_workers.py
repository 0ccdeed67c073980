"""Which workers run now, and from which zone each of them scans.

The tables of the queues know workers, and not what they take jobs from. All times are those of the
database, since the clocks of workers may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from inventory.db.database import Tx
from inventory.db.sql import database_now, upsert
from inventory.models import ZoneWorker
from inventory.zone_names import queue_of_zone

# Rows of workers that died are deleted after this time. Their machine may only be away.
KEEP_SECONDS = 86_400


def seen(tx: Tx, worker: str, zone: str, queues: Sequence[str]) -> None:
    """Record that a worker runs."""
    now = database_now(tx.conn)
    row = {"worker": worker, "zone": zone, "queues": tuple(queues), "seen_at": now}
    statement = upsert(tx.conn, ZoneWorker).values(row)
    new = statement.excluded
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["worker"],
            set_={"zone": new.zone, "queues": new.queues, "seen_at": new.seen_at},
        )
    )
    tx.conn.execute(delete(ZoneWorker).where(ZoneWorker.seen_at < now - KEEP_SECONDS))


def ended(tx: Tx, worker: str) -> None:
    """Record that a worker has ended."""
    tx.conn.execute(delete(ZoneWorker).where(ZoneWorker.worker == worker))


def by_queue(conn: Connection, silent: float) -> dict[str, int]:
    """Return queue -> the number of workers that take jobs from it.

    Args:
        conn: An open connection.
        silent: Seconds without a heartbeat after which a worker counts as dead.
    """
    query = select(ZoneWorker.zone, ZoneWorker.queues).where(
        ZoneWorker.seen_at > database_now(conn) - int(silent)
    )
    return dict(
        Counter(
            queue_of_zone(queue, zone) for zone, queues in conn.execute(query) for queue in queues
        )
    )


def live(conn: Connection, queue: str, silent: float) -> dict[str, int]:
    """Return zone -> the number of workers that take jobs from a queue.

    Args:
        conn: An open connection.
        queue: The queue, without its zone.
        silent: Seconds without a heartbeat after which a worker counts as dead.
    """
    query = select(ZoneWorker.zone, ZoneWorker.queues).where(
        ZoneWorker.seen_at > database_now(conn) - int(silent)
    )
    found: dict[str, int] = {}
    for zone, queues in conn.execute(query):
        if queue in queues:
            found[zone] = found.get(zone, 0) + 1
    return found
