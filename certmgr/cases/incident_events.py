"""Open incidents as events of the administrators: what happened, and what is left."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from sqlalchemy import Connection

from certmgr.cases.incident_progress import Progress, progress_of
from inventory.dates import minute_text
from inventory.db.database import to_epoch
from inventory.store import incidents
from inventory.vocabulary import IncidentCategory
from notifiers.pipeline.notice_source import StaffEvent

_LABELS = {
    IncidentCategory.REPLACED: "already replaced",
    IncidentCategory.AUTOMATIC: "renewed by automation",
    IncidentCategory.REINSTALL: "to be installed again",
    IncidentCategory.OURS: "bought by us",
    IncidentCategory.CLIENT: "bought by the client",
    IncidentCategory.UNKNOWN: "not in the inventory",
}


def events(conn: Connection, now: datetime, zone: tzinfo = UTC) -> list[StaffEvent]:
    """Return the open incidents, each with what is done of each category."""
    return [event_of(p, zone) for p in progress_of(conn, incidents.listing(conn), to_epoch(now))]


def event_of(progress: Progress, zone: tzinfo = UTC) -> StaffEvent:
    """Return an incident as an event. Pure."""
    row = progress.incident
    lines = [f"until {minute_text(datetime.fromtimestamp(row.until, UTC), zone)}: {row.reason}"]
    for category, (done, total) in progress.counts().items():
        # What is not in the inventory has nothing that could be done.
        if total and category is IncidentCategory.UNKNOWN:
            lines.append(f"{total} {_LABELS[category]}")
        elif total:
            lines.append(f"{done} of {total} done: {_LABELS[category]}")
    if progress.stranded:
        lines.append(f"{len(progress.stranded)} that no automation renews any more: open cases")
    return StaffEvent(
        reference=row.reference,
        title=f"{row.reference}: {row.what}, {len(progress.left)} of {len(progress.items)} left",
        lines=tuple(lines),
        command=f"certmgr incident show {row.reference}",
    )
