"""How long cases take: in each state, until they are resolved, overdue by whom; a month. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from statistics import median
from typing import Any

from certmgr.cases.states import OPEN, CaseState, waits_for

HOUR = 3600.0


@dataclass(slots=True)
class MonthStatistics:
    """Of one month.

    ``states``: hours in each state that was left in it (median); ``resolve``: hours from opening to
    seen live (median); ``overdue``: who was waited for -> how many states were left, or still
    stand, after their due date.
    """

    month: str
    opened: int = 0
    closed: int = 0
    ended: int = 0
    states: dict[str, float] = field(default_factory=dict)
    resolve: float | None = None
    overdue: dict[str, int] = field(default_factory=dict)


def measures(
    rows: Sequence[Mapping[str, Any]],
    events: Mapping[int, Sequence[Mapping[str, Any]]],
    now: datetime,
    zone: tzinfo,
) -> list[MonthStatistics]:
    """``rows``: cases. ``events``: case id -> its events. Newest month first."""
    months: dict[str, MonthStatistics] = {}
    hours: dict[tuple[str, str], list[float]] = {}
    solved: dict[str, list[float]] = {}

    def of(at: int) -> MonthStatistics:
        name = f"{datetime.fromtimestamp(at, zone):%Y-%m}"
        return months.setdefault(name, MonthStatistics(name))

    for row in rows:
        of(row["opened_at"]).opened += 1
        since = row["opened_at"]
        for event in events.get(row["id"], ()):
            if event["before"] is None or event["before"] == event["after"]:
                continue
            month = of(event["at"])
            hours.setdefault((month.month, event["before"]), []).append(
                (event["at"] - since) / HOUR
            )
            since = event["at"]
            if event["after"] == CaseState.LIVE:
                solved.setdefault(month.month, []).append((event["at"] - row["opened_at"]) / HOUR)
            if event["after"] == CaseState.CLOSED:
                month.closed += 1
            elif event["after"] in (CaseState.DECLINED, CaseState.CANCELLED):
                month.ended += 1
        if row["state"] in OPEN and row["due_at"] is not None and row["due_at"] < now.timestamp():
            month, who = of(int(now.timestamp())), waits_for(row)
            month.overdue[who] = month.overdue.get(who, 0) + 1
    for (name, state), values in hours.items():
        months[name].states[state] = round(median(values), 1)
    for name, values in solved.items():
        months[name].resolve = round(median(values), 1)
    return sorted(months.values(), key=lambda m: m.month, reverse=True)
