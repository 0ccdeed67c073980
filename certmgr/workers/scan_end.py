"""The end of a spread scan: findings change once, after all shards have stored their facts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from certmgr.config.context import Context
from certmgr.inspection.control_targets import failed_control
from certmgr.inspection.scan_options import setup_for
from certmgr.inspection.scan_storage import conclude_run
from certmgr.inspection.suspicion import failed_together, suspicious
from certmgr.workers.database_clock import with_database_clock
from certmgr.workers.run_options import from_document
from inventory.records import SpreadRun, ZoneShards
from inventory.store import runs, shards
from inventory.targets import parse
from inventory.zone_names import DEFAULT_ZONE

_log = logging.getLogger(__name__)


def end_scan(context: Context, run_id: int) -> bool:
    """End a run whose shards are all finished. Return False if there is nothing to end.

    The state of the run and the changes of findings are one transaction, which locks the run: of
    two workers that end it, one does, and a worker that dies in between leaves the run as it was.
    """
    context = with_database_clock(context)
    with context.read() as conn:
        run = next((r for r in shards.running(conn) if r.id == run_id), None)
        progress = shards.progress(conn, run_id)
        left_out = shards.without_result(conn, run_id)
        zones = shards.zones_of(conn, run_id)
    # Another worker has ended the run, or a shard is being scanned again.
    if run is None or progress.finished < progress.shards:
        return False
    state, reason = _judge(context, run, progress.errors, zones)
    with context.write() as tx:
        # It is locked only now: the control targets take seconds.
        if shards.claim_end(tx, run_id) is None:
            return False
        opened, closed = conclude_run(
            tx,
            run_id,
            state=state,
            reason=reason,
            checked=progress.checked,
            undetermined=progress.undetermined,
        )
        runs.add_notes(tx, run_id, zone_notes(left_out))
        # The shards have no use after the run, and would slow down each poll.
        shards.remove(tx, run_id)
    _log.info("run %d is %s: %d opened, %d closed", run_id, state, opened, closed)
    return True


def zone_notes(left_out: Sequence[ZoneShards]) -> tuple[str, ...]:
    """Return what a run states about zones whose views it does not use. Pure."""
    return tuple(
        f"zone {z.zone}: {z.doubt}; {z.endpoints} endpoint(s) were not judged from there"
        for z in left_out
        if z.doubt is not None
    )


def _judge(
    context: Context, run: SpreadRun, errors: tuple[str, ...], zones: Sequence[str]
) -> tuple[str, str | None]:
    """Return the state of the run, and the reason if it is not complete.

    The rules are those of a scan in one process (certmgr/inspection/scan_run.py).
    """
    # Some endpoints have no facts of this run, so no finding may change.
    if errors:
        return "incomplete", f"{len(errors)} shard(s) were given up: {errors[0]}"
    options, settings = from_document(run.options), context.settings
    setup = setup_for(settings, options, guarded=True, clock=context.clock)
    # The network may have failed during the scan, which the check before it cannot show.
    # Those of other zones were probed with each shard, by the workers of the zone.
    controls = settings.scan.controls if DEFAULT_ZONE in zones else ()
    failed = failed_control(setup, [parse(text) for text in controls])
    if failed is not None:
        return "suspect", f"the control target {failed} failed after the run"
    if options.accept_suspect:
        return "complete", None
    with context.read() as conn:
        fell = shards.fell(conn, run.id)
        good = runs.good_endpoints(conn, run.id, fell) if fell else []
    counts = failed_together(good, settings.scan.suspect_percent, settings.scan.suspect_least)
    return ("complete", None) if counts is None else ("suspect", suspicious(*counts))
