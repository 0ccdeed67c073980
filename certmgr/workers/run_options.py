"""The options of a spread scan, as they travel to workers in the database.

Options that name files or addresses of one machine do not travel: each worker reads its own
configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from certmgr.inspection.scan_options import ScanOptions
from inventory.errors import UsageError

# The selection (client, tag, server) is not here: it is applied once, when the shards are planned.
_TRAVELLING = (
    "deep",
    "accept_suspect",
    "timeout",
    "connect_timeout",
    "concurrency",
    "cache",
    "http",
    "http_port",
    "zones",
)


def to_document(options: ScanOptions) -> dict[str, Any]:
    """Return the options as JSON values.

    Raises:
        UsageError: An option holds for this machine only.
    """
    # A worker cannot read a file of this machine. A scan without its CAs would report false faults.
    if options.ca_files or options.overrides:
        raise UsageError(
            "--ca-file and --resolve hold for this machine only",
            "the scan is spread over workers ([workers] enabled)",
            "Configure [trust] ca_files on each worker, or scan with --here.",
        )
    return {name: getattr(options, name) for name in _TRAVELLING}


def covers(running: ScanOptions, wanted: ScanOptions) -> bool:
    """Return whether a scan that is running checks all that another one would check. Pure.

    The selection is compared separately (``inventory.store.runs.scope_of``).
    """
    return (
        running.zones == wanted.zones
        and running.deep >= wanted.deep
        and running.http >= wanted.http
        and (running.http_port == wanted.http_port or not wanted.http)
        # Without the cache, each chain is verified again, which includes the usual scan.
        and running.cache <= wanted.cache
    )


def from_document(document: Mapping[str, Any]) -> ScanOptions:
    """Return the options of a document; unknown names of another version are left out."""
    # During an update, machines with different versions share the queues.
    values = {k: v for k, v in document.items() if k in _TRAVELLING}
    # JSON has no tuples.
    values["zones"] = tuple(values.get("zones", ()))
    return ScanOptions(**values)
