"""The queues of workers, and which of them each part of ``certmgr run`` belongs to."""

from __future__ import annotations

from inventory.zone_names import DEFAULT_ZONE

SCAN = "scan"
# Cases, replies and notices build on each other, and are quick; so they share a queue.
QUEUE_OF = {
    "renew": "renew",
    "revocation": "revocation",
    "cases": "notify",
    "inbox": "notify",
    "notify": "notify",
}
QUEUES = (SCAN, *dict.fromkeys(QUEUE_OF.values()))


def scan_queue(zone: str) -> str:
    """Return the queue of scans from a zone. Only workers of the zone take from it."""
    return SCAN if zone == DEFAULT_ZONE else f"{SCAN}@{zone}"


# Only workers with --schedule take from it.
SCHEDULE = "schedule"
