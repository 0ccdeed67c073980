"""Report -> one HTML file: no script, nothing remote, a content security policy that allows its one
style sheet by hash.

Texts of rows and servers are values, never templates: the environment is sandboxed, escapes
everything and knows no undefined name.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from certmgr.report.model import Bar, ClientReport, ReportEvent
from inventory.text import printable
from notifiers.wording.catalogue import Language
from notifiers.wording.english import OUTCOMES

FOLDER = Path(__file__).with_name("templates")
SYMBOLS = {"ok": "✓", "attention": "!", "fault": "✗", "unknown": "?"}
_FILL = {
    "rule": "#5b3a9e",
    "own": "#7a4d00",
    "certificate": "#0b4fa8",
    "order": "#8a1c4a",
    "window": "#1d5c2f",
}
_SHAPE = {
    "rule": "circle",
    "own": "diamond",
    "certificate": "square",
    "order": "square",
    "window": "diamond",
}
_LEFT, _RIGHT, _BAR = 24, 696, 300
MAX_LISTED = 8


@lru_cache(maxsize=1)
def _environment() -> Any:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )


@lru_cache(maxsize=1)
def _style() -> tuple[Any, str]:
    text = (FOLDER / "style.css").read_text(encoding="utf-8")
    return (
        Markup(text),  # noqa: S704 - our own file
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
    )


def render(report: ClientReport, language: Language) -> str:
    style, style_hash = _style()
    kinds = {
        "rule": language("of browsers and CAs"),
        "own": language("our deadline"),
        "certificate": language("certificate"),
        "order": language("order"),
        "window": language("installation"),
    }
    return str(
        _environment()
        .get_template("report.html")
        .render(
            r=report,
            _=language,
            style=style,
            style_hash=style_hash,
            symbol=SYMBOLS[report.state],
            kinds=kinds,
            line=time_line(report.events, report.as_of, language),
            chart=chart(report.bars),
            outcomes={k: language(v) for k, v in OUTCOMES.items()},
            listed=lambda names: _listed(names, language),
        )
    )


def render_index(clients: Sequence[Any], as_of: str, summary: str, state: str) -> str:
    """The administrator's page over every client."""
    style, style_hash = _style()
    template = _environment().get_template("index.html")
    return str(
        template.render(
            clients=clients,
            as_of=as_of,
            summary=summary,
            state=state,
            style=style,
            style_hash=style_hash,
        )
    )


def _listed(names: Sequence[str], language: Language) -> str:
    more = len(names) - MAX_LISTED
    shown = ", ".join(names[:MAX_LISTED])
    return f"{shown} {language('and {n} more').replace('{n}', str(more))}" if more > 0 else shown


# -- drawings (pure)


@dataclass(frozen=True, slots=True)
class Mark:
    number: int
    x: float
    y: float
    kind: str
    shape: str
    fill: str


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class TimeLine:
    height: float
    axis: float
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]


def time_line(events: Sequence[ReportEvent], now: datetime, language: Language) -> TimeLine:
    """Marks with the numbers of the list below; marks that would overlap are drawn higher."""
    if not events:
        return TimeLine(0, 0, (), ())
    end = max(events[-1].at, now + timedelta(days=30))
    span = (end - now).total_seconds()
    levels: list[float] = []
    placed = []
    for number, event in enumerate(events, 1):
        x = round(_LEFT + (_RIGHT - _LEFT) * (event.at - now).total_seconds() / span, 1)
        level = next((i for i, last in enumerate(levels) if x - last >= 27), len(levels))
        levels[level : level + 1] = [x]
        placed.append((number, x, level, event.kind))
    axis = 28.0 * len(levels) + 14
    marks = tuple(
        Mark(
            number=n, x=x, y=axis - 28 * level - 26, kind=kind, shape=_SHAPE[kind], fill=_FILL[kind]
        )
        for n, x, level, kind in placed
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
    name: str
    y: int
    width: float
    text: str
    kind: str
    fill: str


@dataclass(frozen=True, slots=True)
class Chart:
    height: int
    bars: tuple[DrawnBar, ...]


def chart(bars: Sequence[Bar]) -> Chart:
    longest = max((b.days for b in bars), default=1) or 1
    drawn = []
    for index, bar in enumerate(bars):
        kind, fill = (
            ("gone", "#a3161f")
            if bar.days < 0
            else ("short", "#7a4d00")
            if bar.days < 30
            else ("", "#0b4fa8")
        )
        width = round(max(2.0, _BAR * max(bar.days, 0) / max(longest, 1)), 1)
        drawn.append(
            DrawnBar(
                name=printable(bar.name, 36),
                y=22 * index,
                width=width,
                text=bar.text,
                kind=kind,
                fill=fill,
            )
        )
    return Chart(22 * len(bars), tuple(drawn))
