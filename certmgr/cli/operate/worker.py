"""``certmgr worker``: take jobs from the queues of a PostgreSQL inventory."""

from __future__ import annotations

from dataclasses import replace

import click

from certmgr.cli.queues import require_queues
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.config.zones import in_zone
from certmgr.workers.queue_names import QUEUES, SCAN
from inventory.errors import UsageError
from inventory.store import zones
from inventory.text import printable
from inventory.zone_names import DEFAULT_ZONE


def _queue_names(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    # A queue that is named twice is meant once.
    names = tuple(dict.fromkeys(n.strip() for n in value.split(",") if n.strip()))
    unknown = [n for n in names if n not in QUEUES]
    if unknown or not names:
        raise click.BadParameter(
            f"{unknown[0]!r} is not a queue: {', '.join(QUEUES)}."
            if unknown
            else f"Name at least one queue: {', '.join(QUEUES)}."
        )
    return names


@click.command()
@click.option(
    "--queues",
    default=",".join(QUEUES),
    show_default=True,
    metavar="NAMES",
    callback=_queue_names,
    help="Queues to take jobs from. Renewals need the machine with the keys.",
)
@click.option(
    "--zone",
    metavar="NAME",
    help="Scan from this vantage point, which [zones.NAME] describes, and do nothing else.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 32),
    default=2,
    show_default=True,
    metavar="N",
    help="Jobs at a time. Scans use one core per process.",
)
@click.option(
    "--schedule",
    metavar="CRON",
    help="Begin all scheduled work at these times ('0 * * * *'); of all workers, one does.",
)
@click.option("--drain", is_flag=True, help="End when no job waits.")
@pass_app
def worker(
    app: CommandContext,
    queues: tuple[str, ...],
    zone: str | None,
    concurrency: int,
    schedule: str | None,
    drain: bool,
) -> None:
    """Take jobs of scans, renewals, revocation and notices from a shared inventory.

    Start it on any machine that reaches the PostgreSQL database, once per core. SIGTERM ends it
    after its current jobs. See certmgr help scale.
    """
    # First, because the check of the schedule needs the library, which may be missing.
    require_queues(app)
    # The library of the queues is an extra, and is needed only here.
    from certmgr.workers.engine import valid_schedule
    from certmgr.workers.service import WorkerService

    if schedule is not None and not valid_schedule(schedule):
        raise UsageError(
            f"--schedule '{printable(schedule, 60)}' is not valid",
            "it needs five fields, as in a crontab",
            "Write '0 * * * *' for each full hour.",
        )
    context = app.context()
    if zone is not None:
        queues = _queues_of_zone(queues, schedule)
        with context.read() as conn:
            zones.require(conn, zone)
        context = replace(context, settings=in_zone(context.settings, zone))
    service = WorkerService(context, queues, concurrency, schedule, zone or DEFAULT_ZONE)
    # This returns after the current jobs, so that their results are stored.
    service.run(drain=drain)


def _queues_of_zone(queues: tuple[str, ...], schedule: str | None) -> tuple[str, ...]:
    """Return the queues of a worker with ``--zone``.

    Raises:
        UsageError: It would have other work too, which is not bound to a vantage point.
    """
    if schedule is not None or (SCAN not in queues) or (set(queues) not in ({SCAN}, set(QUEUES))):
        raise UsageError(
            "A worker of a zone only scans",
            "renewals, notices and scheduled runs are not bound to a vantage point",
            "Leave out --queues and --schedule, and start a second worker for them.",
        )
    return (SCAN,)
