"""The queues of workers, and which of them each part of ``certmgr run`` belongs to."""

from __future__ import annotations

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
# Only workers with --schedule take from it.
SCHEDULE = "schedule"
