"""The queues of workers, for commands that let workers do their work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from certmgr.cli.shared import CommandContext
from inventory.db.database import display_url
from inventory.errors import UsageError
from inventory.store import work_queues

if TYPE_CHECKING:
    from certmgr.config.context import Context
    from certmgr.inspection.scan_options import ScanOptions
    from certmgr.inspection.scan_summary import ScanSummary
    from certmgr.operations.cron import CronResult
    from certmgr.workers.engine import WorkQueues


def require_queues(app: CommandContext) -> None:
    """Check that this inventory has queues.

    Raises:
        UsageError: The database is SQLite, or its queues are not installed.
    """
    database = app.open()
    # SQLite locks the whole file, and network file systems do not lock it reliably.
    if database.path is not None:
        raise UsageError(
            "Workers need an inventory in PostgreSQL",
            f"{display_url(database.engine.url)} is an SQLite file, which one machine uses",
            "Run certmgr run instead, or move the inventory: certmgr help scale.",
        )
    # Without this check, the import of the extra would fail with a traceback.
    if find_spec("procrastinate") is None:
        raise UsageError(
            "Workers need the extra 'distributed'",
            "procrastinate is not installed",
            "Install it: pip install 'certmgr[distributed]'.",
        )
    with database.read() as conn:
        if not work_queues.installed(conn):
            raise UsageError(
                "The database has no queues for workers",
                "their tables are created once",
                "Run certmgr database upgrade.",
            )


@contextmanager
def queues_of(app: CommandContext) -> Iterator[tuple[Context, WorkQueues]]:
    """Open the inventory and its queues, for a command that lets workers do its work."""
    require_queues(app)
    # The library of the queues is an extra, and is needed only here.
    from certmgr.workers.engine import work_queues_of

    context = app.context()
    with work_queues_of(context.database) as queues:
        yield context, queues


def spread_scan(
    context: Context,
    options: ScanOptions,
    queues: WorkQueues,
    progress: Callable[[int, int], None],
) -> ScanSummary:
    """Scan the inventory by workers, and wait for the end."""
    # These modules import the library of the queues, which --help and scans in one process do not
    # need.
    from certmgr.workers.spread_scan import SpreadScan

    return SpreadScan(context, options, queues, progress).run()


def spread_run(
    app: CommandContext, *, scan: bool, progress: Callable[[str, int, int], None]
) -> CronResult:
    """Let workers do all scheduled work, and wait for the end."""
    with queues_of(app) as (context, queues):
        from certmgr.workers.spread_run import run

        return run(context, queues, scan=scan, stop=app.stop, progress=progress)
