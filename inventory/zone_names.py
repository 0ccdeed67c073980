"""Names of zones, the vantage points from which scans visit endpoints. Pure."""

import re

DEFAULT_ZONE = "default"
"""The zone of endpoints that no other zone was assigned to: any machine without a named zone."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def queue_of_zone(queue: str, zone: str) -> str:
    """Return the queue of a zone for one kind of jobs. Only workers of the zone take from it."""
    return queue if zone == DEFAULT_ZONE else f"{queue}@{zone}"


def is_zone_name(text: str) -> bool:
    """Return whether a text can name a zone: it needs no quoting in rows, queues and commands."""
    return _NAME.fullmatch(text) is not None
