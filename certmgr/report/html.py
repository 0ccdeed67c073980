"""Rendering of a report as one HTML file, without scripts and remote resources.

The environment of its template, and its policy, are those of all pages
(:mod:`certmgr.pages.template`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from certmgr.pages.template import SYMBOLS, render_page
from certmgr.report.cards import (
    action_cards,
    remark_lines,
    report_ports,
    shared_instruction,
    site_rows,
)
from certmgr.report.event_groups import grouped_events
from certmgr.report.model import Bar, ClientReport, ReportEvent
from inventory.text import printable
from notifiers.wording.catalogue import Language
from notifiers.wording.report import STATES
from notifiers.wording.verdicts import OUTCOMES

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
# The classes and widths of the drawings, in SVG units. The style sheet shows one of them.
WIDE, NARROW = 720, 340
_WIDTHS = (("wide", WIDE), ("narrow", NARROW))
_EDGE, _TEXT = 24, 114  # the margin of the time line, and the room for the text after a bar
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
    events = grouped_events(report.events, language)
    return render_page(
        FOLDER,
        "report.html",
        r=report,
        _=language,
        symbol=SYMBOLS[report.state],
        kinds=kinds,
        cards=partial(action_cards, ports=report_ports(report)),
        shared=shared_instruction,
        remarks=remark_lines(report),
        rows=site_rows(report),
        tiles=[(s, language(STATES[s])) for s in ("fault", "attention", "unknown", "ok")],
        # A drawing that only shrinks is not readable on a telephone.
        events=events,
        lines=[(k, time_line(events, report.as_of, language, w)) for k, w in _WIDTHS],
        charts=[(k, chart(report.bars, w)) for k, w in _WIDTHS],
        more=lambda n: language("and {n} more").replace("{n}", str(n)),
        outcomes={k: language(v) for k, v in OUTCOMES.items()},
        listed=lambda names: _listed(names, language),
    )


def _listed(names: Sequence[str], language: Language) -> str:
    # A rule can affect hundreds of names; the table of sites has them all.
    more = len(names) - MAX_LISTED
    shown = ", ".join(names[:MAX_LISTED])
    return f"{shown} {language('and {n} more').replace('{n}', str(more))}" if more > 0 else shown


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

    width: int
    height: float
    axis: float
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]


def time_line(
    events: Sequence[ReportEvent], now: datetime, language: Language, width: int = WIDE
) -> TimeLine:
    """Return the drawing of the events. The marks have the numbers of the list below it.

    A mark that would overlap another one is drawn on a higher level.
    """
    if not events:
        return TimeLine(width, 0, 0, (), ())
    left, right = _EDGE, width - _EDGE
    # At least a month, so that an event of tomorrow does not stretch over the whole line.
    end = max(events[-1].at, now + timedelta(days=30))
    span = (end - now).total_seconds()
    levels: list[float] = []
    positions = []
    for number, event in enumerate(events, 1):
        x = round(left + (right - left) * (event.at - now).total_seconds() / span, 1)
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
    ticks = [
        Tick(left, language("today") if (end - now).days else "", "start"),
        Tick(right, language.month(end), "end"),
    ]
    # The names of three months do not fit side by side into a narrow drawing.
    if width == WIDE:
        middle = now + (end - now) / 2
        ticks.insert(1, Tick((left + right) / 2, language.month(middle), "middle"))
    return TimeLine(width, axis + 30, axis, marks, tuple(ticks))


@dataclass(frozen=True, slots=True)
class DrawnBar:
    """One bar of the chart, with its position."""

    name: str
    name_y: int
    x: int
    y: int
    width: float
    text: str
    kind: str
    fill: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The drawing of the days until each certificate expires."""

    width: int
    height: int
    bars: tuple[DrawnBar, ...]


def chart(bars: Sequence[Bar], width: int = WIDE) -> Chart:
    """Return the drawing of the bars; a certificate that expires soon or expired has a colour.

    A name stands before its bar, or above it if the drawing is narrow.
    """
    before = 300 if width == WIDE else 0
    row, longest_bar = (22 if before else 42), width - before - _TEXT - 6
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
        length = round(max(2.0, longest_bar * max(bar.days, 0) / max(longest, 1)), 1)
        drawn.append(
            DrawnBar(
                name=_cut(bar.name, (before or width) - 8),
                name_y=row * index + 15,
                x=before,
                y=row * index + (3 if before else 21),
                width=length,
                text=bar.text,
                kind=kind,
                fill=fill,
            )
        )
    return Chart(width, row * len(bars), tuple(drawn))


# The widths of characters of a font of 13 units: an upper estimate, since the font is not known.
_CHARACTER, _WIDE_CHARACTER = 8.5, 13.5


def _cut(text: str, width: float) -> str:
    """Return the text, cut with an ellipsis if it may be wider than ``width`` units."""
    shown = printable(text, 253)
    used = 0.0
    for index, character in enumerate(shown):
        is_wide = unicodedata.east_asian_width(character) in ("W", "F") or character in "mwMW@"
        used += _WIDE_CHARACTER if is_wide else _CHARACTER
        if used > width:
            return shown[: max(index - 1, 1)] + "…"
    return shown
