"""Monthly statistics of cases: time per state, time to resolve, and overdue cases per party.

All functions are pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from statistics import median

from certmgr.cases.states import ENDED, OPEN, waits_for
from inventory.records import CaseEventRecord, CaseRecord
from inventory.vocabulary import CaseState

HOUR = 3600.0


@dataclass(slots=True)
class MonthStatistics:
    """The statistics of one month.

    Attributes:
        month: The month as YYYY-MM.
        opened: The number of opened cases.
        closed: The number of cases that were closed for the first time, as they are billed.
        ended: The number of cases that were declined or cancelled for the first time.
        reopened: The number of times that a case was reopened.
        states: Open state -> median of the hours that cases spent in it, counted when they left it.
        resolve: Median of the hours between the opening, or the last reopening, and the
            verification that it is live.
        overdue: Party -> number of open cases that wait for it after their due date.
    """

    month: str
    opened: int = 0
    closed: int = 0
    ended: int = 0
    reopened: int = 0
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
    months = _Months(zone)
    for row in rows:
        months.at(row.opened_at).opened += 1
        _count_events(months, row, events.get(row.id, ()))
        # Counted in the current month, since the state is still open.
        if row.state in OPEN and row.due_at is not None and row.due_at < now.timestamp():
            month, party = months.at(int(now.timestamp())), waits_for(row)
            month.overdue[party] = month.overdue.get(party, 0) + 1
    return months.finished()


def _count_events(months: _Months, row: CaseRecord, events: Sequence[CaseEventRecord]) -> None:
    """Count what happened in one case."""
    since, begun, counted = row.opened_at, row.opened_at, set[str]()
    for event in events:
        # Notes and checks leave the state as it is, so that its time continues.
        if event.before is None or event.before == event.after:
            continue
        month = months.at(event.at)
        # Between its end and its reopening, a case waits for no party.
        if event.before not in ENDED:
            months.hours.setdefault((month.month, event.before), []).append(
                (event.at - since) / HOUR
            )
        since = event.at
        match event.after:
            case CaseState.REOPENED:
                month.reopened += 1
                begun = event.at
            case CaseState.LIVE:
                months.resolved.setdefault(month.month, []).append((event.at - begun) / HOUR)
            # A case that was reopened and ends again is one case, as it is one installation.
            case CaseState.CLOSED if "closed" not in counted:
                month.closed += 1
                counted.add("closed")
            # Not counted as closed: nothing was verified.
            case CaseState.DECLINED | CaseState.CANCELLED if "ended" not in counted:
                month.ended += 1
                counted.add("ended")


@dataclass(slots=True)
class _Months:
    """The months that are counted.

    Attributes:
        zone: The time zone of the months.
        months: The statistics by month.
        hours: (month, state) -> the hours that cases spent in the state.
        resolved: Month -> the hours until cases were live.
    """

    zone: tzinfo
    months: dict[str, MonthStatistics] = field(default_factory=dict)
    hours: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    resolved: dict[str, list[float]] = field(default_factory=dict)

    def at(self, timestamp: int) -> MonthStatistics:
        """Return the month of a time in epoch seconds."""
        name = f"{datetime.fromtimestamp(timestamp, self.zone):%Y-%m}"
        return self.months.setdefault(name, MonthStatistics(name))

    def finished(self) -> list[MonthStatistics]:
        """Compute the medians, and return the months, the newest first."""
        # The median, because one case that was forgotten for a year would distort a mean.
        for (name, state), values in self.hours.items():
            self.months[name].states[state] = round(median(values), 1)
        for name, values in self.resolved.items():
            self.months[name].resolve = round(median(values), 1)
        return sorted(self.months.values(), key=lambda m: m.month, reverse=True)
