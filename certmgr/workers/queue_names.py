"""The queues of workers, and which of them each part of ``certmgr run`` belongs to."""

from __future__ import annotations

from inventory.zone_names import queue_of_zone

SCAN = "scan"
# Cases, replies and notices build on each other, and are quick; so they share a queue.
QUEUE_OF = {
    "renew": "renew",
    "revocation": "revocation",
    "cases": "notify",
    "inbox": "notify",
    "notify": "notify",
}
# What single commands leave to workers, apart from certmgr run.
IMPORT, REPORT = "import", "report"
QUEUES = (SCAN, *dict.fromkeys(QUEUE_OF.values()), IMPORT, REPORT)


def scan_queue(zone: str) -> str:
    """Return the queue of scans from a zone. Only workers of the zone take from it."""
    return queue_of_zone(SCAN, zone)


# Only workers with --schedule take from it.
SCHEDULE = "schedule"
