"""Rendering of a report as one HTML file, without scripts and remote resources.

The environment of its template, and its policy, are those of all pages
(:mod:`certmgr.pages.template`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from certmgr.pages.template import SYMBOLS, render_page
from certmgr.report.model import Bar, ClientReport, ReportEvent
from inventory.text import printable
from notifiers.wording.catalogue import Language
from notifiers.wording.english import OUTCOMES

FOLDER = Path(__file__).with_name("templates")
# Colours with enough contrast on white paper.
_FILL = {
    "rule": "#5b3a9e",
    "own": "#7a4d00",
    "certificate": "#0b4fa8",
    "order": "#8a1c4a",
    "window": "#1d5c2f",
}
# Shapes distinguish the kinds on a black-and-white print.
_SHAPE = {
    "rule": "circle",
    "own": "diamond",
    "certificate": "square",
    "order": "square",
    "window": "diamond",
}
_LEFT, _RIGHT, _BAR = 24, 696, 300  # edges of the time line and longest bar, in SVG units
_MARK_WIDTH = 27  # least distance of two marks on one level
MAX_LISTED = 8


def render(report: ClientReport, language: Language) -> str:
    """Return the page of a report."""
    kinds = {
        "rule": language("of browsers and CAs"),
        "own": language("our deadline"),
        "certificate": language("certificate"),
        "order": language("order"),
        "window": language("installation"),
    }
    return render_page(
        FOLDER,
        "report.html",
        r=report,
        _=language,
        symbol=SYMBOLS[report.state],
        kinds=kinds,
        line=time_line(report.events, report.as_of, language),
        chart=chart(report.bars),
        outcomes={k: language(v) for k, v in OUTCOMES.items()},
        listed=lambda names: _listed(names, language),
    )


def _listed(names: Sequence[str], language: Language) -> str:
    # A rule can affect hundreds of names; the table of sites has them all.
    more = len(names) - MAX_LISTED
    shown = ", ".join(names[:MAX_LISTED])
    return f"{shown} {language('and {n} more').replace('{n}', str(more))}" if more > 0 else shown


# -- drawings (pure functions)


@dataclass(frozen=True, slots=True)
class Mark:
    """One numbered mark of the time line."""

    number: int
    x: float
    y: float
    kind: str
    shape: str
    fill: str


@dataclass(frozen=True, slots=True)
class Tick:
    """One labelled tick of the axis."""

    x: float
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class TimeLine:
    """The drawing of the dates ahead."""

    height: float
    axis: float
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]


def time_line(events: Sequence[ReportEvent], now: datetime, language: Language) -> TimeLine:
    """Return the drawing of the events. The marks have the numbers of the list below it.

    A mark that would overlap another one is drawn on a higher level.
    """
    if not events:
        return TimeLine(0, 0, (), ())
    # At least a month, so that an event of tomorrow does not stretch over the whole line.
    end = max(events[-1].at, now + timedelta(days=30))
    span = (end - now).total_seconds()
    levels: list[float] = []
    positions = []
    for number, event in enumerate(events, 1):
        x = round(_LEFT + (_RIGHT - _LEFT) * (event.at - now).total_seconds() / span, 1)
        level = next((i for i, last in enumerate(levels) if x - last >= _MARK_WIDTH), len(levels))
        # The level is occupied up to this position.
        levels[level : level + 1] = [x]
        positions.append((number, x, level, event.kind))
    axis = 28.0 * len(levels) + 14
    marks = tuple(
        Mark(
            number=n, x=x, y=axis - 28 * level - 26, kind=kind, shape=_SHAPE[kind], fill=_FILL[kind]
        )
        for n, x, level, kind in positions
    )
    middle = now + (end - now) / 2
    ticks = (
        Tick(_LEFT, language("today") if (end - now).days else "", "start"),
        Tick((_LEFT + _RIGHT) / 2, language.month(middle), "middle"),
        Tick(_RIGHT, language.month(end), "end"),
    )
    return TimeLine(axis + 30, axis, marks, ticks)


@dataclass(frozen=True, slots=True)
class DrawnBar:
    """One bar of the chart, with its position."""

    name: str
    y: int
    width: float
    text: str
    kind: str
    fill: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The drawing of the days until each certificate expires."""

    height: int
    bars: tuple[DrawnBar, ...]


def chart(bars: Sequence[Bar]) -> Chart:
    """Return the drawing of the bars; a certificate that expires soon or expired has a colour."""
    # The longest bar has the whole width, and the others are drawn in proportion.
    longest = max((b.days for b in bars), default=1) or 1
    drawn = []
    for index, bar in enumerate(bars):
        # Less than 30 days is the time in which a renewal becomes urgent.
        kind, fill = (
            ("gone", "#a3161f")
            if bar.days < 0
            else ("short", "#7a4d00")
            if bar.days < 30
            else ("", "#0b4fa8")
        )
        # An expired certificate still gets a visible bar.
        width = round(max(2.0, _BAR * max(bar.days, 0) / max(longest, 1)), 1)
        drawn.append(
            DrawnBar(
                # Longer names do not fit into the column left of the bars.
                name=printable(bar.name, 36),
                y=22 * index,
                width=width,
                text=bar.text,
                kind=kind,
                fill=fill,
            )
        )
    return Chart(22 * len(bars), tuple(drawn))
