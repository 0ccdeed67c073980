"""Dates ahead as a reader sees them: the ends of many certificates by month. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certmgr.report.model import ReportEvent
from notifiers.wording.catalogue import Language
from notifiers.wording.report import ReportPhrases as P

MOST_SINGLE = 8
"""Up to this number, each end of a certificate is a separate date."""


def grouped_events(events: Sequence[ReportEvent], language: Language) -> tuple[ReportEvent, ...]:
    """Return the events in order of time, with the ends of many certificates joined by month.

    With 60 sites, other dates would be lost among theirs, and the marks of the drawing would form
    a tower. The table of sites has the end of each certificate.
    """
    months: dict[tuple[int, int], list[ReportEvent]] = {}
    shown = []
    for event in events:
        if event.kind == "certificate":
            months.setdefault((event.at.year, event.at.month), []).append(event)
        else:
            shown.append(event)
    if sum(map(len, months.values())) <= MOST_SINGLE:
        return tuple(events)
    for ends in months.values():
        shown.append(ends[0] if len(ends) == 1 else _joined(ends, language))
    return tuple(sorted(shown, key=lambda e: (e.at, e.kind, e.title)))


def _joined(ends: Sequence[ReportEvent], language: Language) -> ReportEvent:
    first, last = ends[0].at_text, ends[-1].at_text
    return replace(
        ends[0],
        at_text=first if first == last else f"{first} – {last}",
        title=language(P.certificates_end),
        affected=tuple(dict.fromkeys(n for e in ends for n in e.affected)),
    )
