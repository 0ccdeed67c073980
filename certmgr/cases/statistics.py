"""Monthly statistics of cases: time per state, time to resolve, and overdue cases per party.

All functions are pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from statistics import median

from certmgr.cases.states import OPEN, waits_for
from inventory.records import CaseEventRecord, CaseRecord
from inventory.vocabulary import CaseState

HOUR = 3600.0


@dataclass(slots=True)
class MonthStatistics:
    """The statistics of one month.

    Attributes:
        month: The month as YYYY-MM.
        opened: The number of opened cases.
        closed: The number of closed cases.
        ended: The number of declined and cancelled cases.
        states: State -> median of the hours that cases spent in it, counted when they left it.
        resolve: Median of the hours between the opening and the verification that it is live.
        overdue: Party -> number of open cases that wait for it after their due date.
    """

    month: str
    opened: int = 0
    closed: int = 0
    ended: int = 0
    states: dict[str, float] = field(default_factory=dict)
    resolve: float | None = None
    overdue: dict[str, int] = field(default_factory=dict)


def monthly_statistics(
    rows: Sequence[CaseRecord],
    events: Mapping[int, Sequence[CaseEventRecord]],
    now: datetime,
    zone: tzinfo,
) -> list[MonthStatistics]:
    """Return the statistics of all months with cases, newest month first.

    Args:
        rows: The rows of the cases.
        events: Case id -> its events, oldest first.
        now: The current time.
        zone: The time zone of the months.
    """
    months: dict[str, MonthStatistics] = {}
    hours: dict[tuple[str, str], list[float]] = {}
    resolved: dict[str, list[float]] = {}

    def month_of(at: int) -> MonthStatistics:
        name = f"{datetime.fromtimestamp(at, zone):%Y-%m}"
        return months.setdefault(name, MonthStatistics(name))

    for row in rows:
        month_of(row.opened_at).opened += 1
        since = row.opened_at
        for event in events.get(row.id, ()):
            # Notes and checks leave the state as it is, so that its time continues.
            if event.before is None or event.before == event.after:
                continue
            month = month_of(event.at)
            hours.setdefault((month.month, event.before), []).append((event.at - since) / HOUR)
            since = event.at
            if event.after == CaseState.LIVE:
                # A reopened case counts again, with the whole time since its opening.
                resolved.setdefault(month.month, []).append((event.at - row.opened_at) / HOUR)
            if event.after == CaseState.CLOSED:
                month.closed += 1
            # Not counted as closed: nothing was verified.
            elif event.after in (CaseState.DECLINED, CaseState.CANCELLED):
                month.ended += 1
        # Counted in the current month, since the state is still open.
        if row.state in OPEN and row.due_at is not None and row.due_at < now.timestamp():
            month, party = month_of(int(now.timestamp())), waits_for(row)
            month.overdue[party] = month.overdue.get(party, 0) + 1
    # The median, because one case that was forgotten for a year would distort a mean.
    for (name, state), values in hours.items():
        months[name].states[state] = round(median(values), 1)
    for name, values in resolved.items():
        months[name].resolve = round(median(values), 1)
    return sorted(months.values(), key=lambda m: m.month, reverse=True)
