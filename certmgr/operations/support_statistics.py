"""Statistics for the support team: how fast clients respond and faults are resolved.

:func:`read` queries the database; :func:`measure` is a pure function.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select

from inventory.db.database import to_epoch
from inventory.models import Notice, Ticket


@dataclass(frozen=True, slots=True)
class DayStatistics:
    """One day in the provider's time zone.

    Attributes:
        day: The date.
        sent: Notices sent to clients.
        acknowledged: How many of these notices were acknowledged.
        opened: Tickets of which a client was first notified on this day.
        resolved: Tickets closed on this day.
        hours_to_acknowledge: Median over the notices of this day; None if there is no value.
        hours_to_resolve: Median over the notices of this day; None if there is no value.
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
    """Read the rows for :func:`measure`.

    Returns:
        Notices sent to clients since then, and tickets notified or closed since then.
    """
    at = to_epoch(since)
    columns = (Notice.sent_at, Notice.acked_at, Notice.resolved_at)
    sent = select(*columns).where(Notice.kind == "client", Notice.sent_at >= at)
    notified = select(Ticket.told_at, Ticket.closed_at).where(
        Ticket.told_at.is_not(None), or_(Ticket.told_at >= at, Ticket.closed_at >= at)
    )
    return [dict(r) for r in conn.execute(sent).mappings()], [
        dict(r) for r in conn.execute(notified).mappings()
    ]


def measure(
    sent: Iterable[Mapping[str, Any]],
    notified: Sequence[Mapping[str, Any]],
    first: datetime,
    last: datetime,
) -> list[DayStatistics]:
    """Return one row per day, the last day first.

    Args:
        sent: Notices with the times of sending, acknowledgement and resolution.
        notified: Tickets with the times of notification and closing.
        first: A time on the first day, in the provider's time zone.
        last: A time on the last day, in the same zone.
    """
    zone = first.tzinfo
    by_day: dict[date, list[Mapping[str, Any]]] = {}
    for row in sent:
        by_day.setdefault(datetime.fromtimestamp(row["sent_at"], zone).date(), []).append(row)
    opened, resolved = _per_day(notified, "told_at", zone), _per_day(notified, "closed_at", zone)
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
    counts: dict[date, int] = {}
    for row in rows:
        if row[column] is not None:
            day = datetime.fromtimestamp(row[column], zone).date()
            counts[day] = counts.get(day, 0) + 1
    return counts


def _median(rows: Iterable[Mapping[str, Any]], column: str) -> float | None:
    hours = [(r[column] - r["sent_at"]) / 3600 for r in rows if r[column] is not None]
    return round(statistics.median(hours), 1) if hours else None
