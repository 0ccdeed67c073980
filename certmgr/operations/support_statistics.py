"""How fast clients answer and faults go: measures for the coordinating team.

Reading is the edge, counting is pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select

from inventory.db.database import to_epoch
from inventory.models.tables import matter, notice


@dataclass(frozen=True, slots=True)
class DayStatistics:
    """One day in the provider's time zone.

    Hours are medians of what was sent that day, None where nothing was.
    """

    day: date
    sent: int
    acknowledged: int
    opened: int
    resolved: int
    hours_to_acknowledge: float | None
    hours_to_resolve: float | None


def read(
    conn: Connection, since: datetime
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """(notices to clients that were sent, matters that were told) since then."""
    at = to_epoch(since)
    columns = (notice.c.sent_at, notice.c.acked_at, notice.c.resolved_at)
    sent = select(*columns).where(notice.c.kind == "client", notice.c.sent_at >= at)
    told = select(matter.c.told_at, matter.c.closed_at).where(
        matter.c.told_at.is_not(None), or_(matter.c.told_at >= at, matter.c.closed_at >= at)
    )
    return [dict(r) for r in conn.execute(sent).mappings()], [
        dict(r) for r in conn.execute(told).mappings()
    ]


def measure(
    sent: Iterable[Mapping[str, Any]],
    told: Sequence[Mapping[str, Any]],
    first: datetime,
    last: datetime,
) -> list[DayStatistics]:
    """A row a day, the last first. ``first`` and ``last`` carry the provider's time zone. Pure."""
    zone = first.tzinfo
    by_day: dict[date, list[Mapping[str, Any]]] = {}
    for row in sent:
        by_day.setdefault(datetime.fromtimestamp(row["sent_at"], zone).date(), []).append(row)
    opened, resolved = _per_day(told, "told_at", zone), _per_day(told, "closed_at", zone)
    days, day = [], last.date()
    while day >= first.date():
        rows = by_day.get(day, [])
        days.append(
            DayStatistics(
                day=day,
                sent=len(rows),
                acknowledged=sum(r["acked_at"] is not None for r in rows),
                opened=opened.get(day, 0),
                resolved=resolved.get(day, 0),
                hours_to_acknowledge=_median(rows, "acked_at"),
                hours_to_resolve=_median(rows, "resolved_at"),
            )
        )
        day -= timedelta(days=1)
    return days


def _per_day(rows: Iterable[Mapping[str, Any]], column: str, zone: Any) -> dict[date, int]:
    found: dict[date, int] = {}
    for row in rows:
        if row[column] is not None:
            day = datetime.fromtimestamp(row[column], zone).date()
            found[day] = found.get(day, 0) + 1
    return found


def _median(rows: Iterable[Mapping[str, Any]], column: str) -> float | None:
    hours = [(r[column] - r["sent_at"]) / 3600 for r in rows if r[column] is not None]
    return round(statistics.median(hours), 1) if hours else None
