"""Statistics for the support team: how fast clients respond and faults are resolved.

:func:`read` queries the database; :func:`measure` is a pure function.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from sqlalchemy import Connection

from inventory.db.database import to_epoch
from inventory.records import NoticeTimes, TicketTimes
from inventory.store import notices, tickets


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


def read(conn: Connection, since: datetime) -> tuple[list[NoticeTimes], list[TicketTimes]]:
    """Read the rows for :func:`measure`.

    Returns:
        Notices sent to clients since then, and tickets notified or closed since then.
    """
    at = to_epoch(since)
    return notices.times_of_clients(conn, at), tickets.times(conn, at)


def measure(
    sent: Iterable[NoticeTimes],
    notified: Sequence[TicketTimes],
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
    by_day: dict[date, list[NoticeTimes]] = {}
    for row in sent:
        if row.sent_at is not None:
            # By the provider's days, in which the staff works, and not by UTC.
            by_day.setdefault(datetime.fromtimestamp(row.sent_at, zone).date(), []).append(row)
    opened = _per_day((t.told_at for t in notified), zone)
    resolved = _per_day((t.closed_at for t in notified), zone)
    # Days without any event are rows as well: a gap in the table would be read as missing data.
    days, day = [], last.date()
    while day >= first.date():
        rows = by_day.get(day, [])
        days.append(
            DayStatistics(
                day=day,
                sent=len(rows),
                acknowledged=sum(r.acked_at is not None for r in rows),
                opened=opened.get(day, 0),
                resolved=resolved.get(day, 0),
                # The median, because one client on holiday would dominate a mean.
                hours_to_acknowledge=_median((r.sent_at, r.acked_at) for r in rows),
                hours_to_resolve=_median((r.sent_at, r.resolved_at) for r in rows),
            )
        )
        day -= timedelta(days=1)
    return days


def _per_day(times: Iterable[int | None], zone: tzinfo | None) -> dict[date, int]:
    return Counter(datetime.fromtimestamp(at, zone).date() for at in times if at is not None)


def _median(spans: Iterable[tuple[int | None, int | None]]) -> float | None:
    hours = [(end - start) / 3600 for start, end in spans if start is not None and end is not None]
    # None and not zero: a day without an answer is not a day of immediate answers.
    return round(statistics.median(hours), 1) if hours else None
